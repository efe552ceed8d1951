//! Rows that are kept for long must not keep alive the blocks that they were read in.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::DataType;

/// Copies the texts of a batch into buffers of their own. A filtered batch of text views points
/// into the megabytes that it was filtered from, however few rows are left.
pub fn compact(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let compact = RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options);
    // The same types and lengths as before: it cannot fail, and if it did nothing would be lost.
    compact.unwrap_or_else(|_| batch.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{BooleanArray, StringViewArray};
    use datafusion::arrow::compute::filter_record_batch;

    #[test]
    fn lets_go_of_what_was_filtered_out() {
        let texts: StringViewArray =
            (0..1000).map(|n| Some(format!("a text that is longer than a view {n}"))).collect();
        let batch = RecordBatch::try_from_iter([("t", Arc::new(texts) as ArrayRef)]);
        let keep: BooleanArray = (0..1000).map(|n| Some(n == 7)).collect();
        let filtered = batch.and_then(|batch| filter_record_batch(&batch, &keep));
        let Ok(filtered) = filtered else { panic!("a batch") };
        let kept = compact(&filtered);
        assert_eq!(kept, filtered);
        assert!(filtered.get_array_memory_size() > 30_000);
        assert!(kept.get_array_memory_size() < 1_000);
    }
}
