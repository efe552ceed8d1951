//! A condition on one text column, which a source may ask before it makes a row.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, BooleanArray, StringViewArray};

use crate::error::{Error, Result};

/// What a condition does: texts in, for each whether it holds; `None` when that cannot be said.
type Test = dyn Fn(StringViewArray) -> Option<BooleanArray> + Send + Sync;

/// A condition of the plan on one text column. Rows for which it does not hold are left out.
#[derive(Clone)]
pub struct Condition {
    /// The column, as an index into the source's schema.
    pub column: usize,
    /// Whether there are texts over which it fails: then the plan asks again of the rows that are
    /// not left out, and fails itself.
    pub may_fail: bool,
    /// The condition as SQL, to be shown.
    shown: String,
    test: Arc<Test>,
}

impl Condition {
    /// Makes a condition on a column.
    pub fn new(
        column: usize,
        may_fail: bool,
        shown: String,
        test: impl Fn(StringViewArray) -> Option<BooleanArray> + Send + Sync + 'static,
    ) -> Self {
        Self { column, may_fail, shown, test: Arc::new(test) }
    }

    /// Says of each text whether its row is wanted. Where a condition fails that may the row is: the
    /// plan will fail over it too, unless the row is refused before.
    pub fn keeps(&self, texts: &[Option<&str>]) -> Result<Vec<bool>> {
        let array: StringViewArray = texts.iter().copied().collect();
        match (self.test)(array) {
            Some(holds) if holds.len() == texts.len() => {
                let holds = (0..holds.len()).map(|row| holds.is_valid(row) && holds.value(row));
                Ok(holds.collect())
            }
            _ if !self.may_fail => Err(Error::internal(format!("`{self}` fails over a text"))),
            _ if texts.len() > 1 => {
                let alone = texts.iter().map(|text| Ok(self.keeps(&[*text])? == [true]));
                alone.collect()
            }
            _ => Ok(vec![true; texts.len()]),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({self})")
    }
}
