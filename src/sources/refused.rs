//! Rows that a source refuses, as they go to its port `.rejected`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};

use crate::error::{Error, Result};
use crate::table::rejected_schema;

/// A row that is refused.
pub(super) struct Refused {
    /// Its line in the file, or which row it is, from 1.
    pub(super) line: u64,
    /// Why, in lowercase words.
    pub(super) reason: String,
    /// The row as it was read.
    pub(super) raw: String,
}

/// Makes rows of [`rejected_schema`]; `None` when nothing was refused.
pub(super) fn rejected(file: &str, refused: &[Refused]) -> Result<Option<RecordBatch>> {
    if refused.is_empty() {
        return Ok(None);
    }
    let columns: [ArrayRef; 4] = [
        Arc::new(StringViewArray::from_iter_values(refused.iter().map(|_| file))),
        Arc::new(Int64Array::from_iter_values(refused.iter().map(|row| row.line as i64))),
        Arc::new(StringViewArray::from_iter_values(refused.iter().map(|row| &row.reason))),
        Arc::new(StringViewArray::from_iter_values(refused.iter().map(|row| &row.raw))),
    ];
    RecordBatch::try_new(rejected_schema(), columns.to_vec())
        .map(Some)
        .map_err(|e| Error::internal("rejects do not fit their schema").because(e))
}
