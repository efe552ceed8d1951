//! Texts as values of any type, for rows that are written down in a pipeline file.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringViewArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use serde_json::Value;

use super::Shape;

/// Reads texts as a column of a type; `Err` is the index of the first that is no value of it.
/// Objects and lists are written as JSON.
pub fn typed_column(texts: &[Option<&str>], data_type: &DataType) -> Result<ArrayRef, usize> {
    if data_type.is_nested() {
        return nested_column(texts, data_type);
    }
    let read = |texts: &[Option<&str>]| {
        let column: ArrayRef = Arc::new(texts.iter().copied().collect::<StringViewArray>());
        let strictly = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&column, data_type, &strictly)
    };
    read(texts).map_err(|_| texts.iter().position(|text| read(&[*text]).is_err()).unwrap_or(0))
}

fn nested_column(texts: &[Option<&str>], data_type: &DataType) -> Result<ArrayRef, usize> {
    let shape = Shape::of_type(data_type).ok_or(0_usize)?;
    let mut values = Vec::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        let value: Option<Value> = match text {
            None => None,
            Some(text) => Some(serde_json::from_str(text).map_err(|_| row)?),
        };
        if value.as_ref().is_some_and(|value| shape.check(value, "").is_err()) {
            return Err(row);
        }
        values.push(value);
    }
    Ok(shape.column(&values.iter().map(Option::as_ref).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Array as _, AsArray};
    use datafusion::arrow::datatypes::Int64Type;

    #[test]
    fn reads_texts_and_names_the_one_that_does_not_fit() {
        let numbers = typed_column(&[Some("0012"), None], &DataType::Int64);
        let first = numbers.map(|n| (n.as_primitive::<Int64Type>().value(0), n.null_count()));
        assert_eq!(first, Ok((12, 1)));
        let days = [Some("2026-11-02"), None, Some("2026-11-31")];
        assert_eq!(typed_column(&days, &DataType::Date32).err(), Some(2));
        let lists = DataType::new_list(DataType::Int64, true);
        assert!(typed_column(&[Some("[1, 2]"), None], &lists).is_ok_and(|c| c.null_count() == 1));
        assert_eq!(typed_column(&[None, Some("[1, \"a\"]")], &lists).err(), Some(1));
    }
}
