//! Texts as values of any type, for rows that are written down in a pipeline file.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringViewArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;

/// Reads texts as a column of a type; `Err` is the index of the first that is no value of it.
pub fn typed_column(texts: &[Option<&str>], data_type: &DataType) -> Result<ArrayRef, usize> {
    let read = |texts: &[Option<&str>]| {
        let column: ArrayRef = Arc::new(texts.iter().copied().collect::<StringViewArray>());
        let strictly = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&column, data_type, &strictly)
    };
    read(texts).map_err(|_| texts.iter().position(|text| read(&[*text]).is_err()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;

    #[test]
    fn reads_texts_and_names_the_one_that_does_not_fit() {
        let numbers = typed_column(&[Some("0012"), None], &DataType::Int64);
        let first = numbers.map(|n| (n.as_primitive::<Int64Type>().value(0), n.null_count()));
        assert_eq!(first, Ok((12, 1)));
        let days = [Some("2026-11-02"), None, Some("2026-11-31")];
        assert_eq!(typed_column(&days, &DataType::Date32).err(), Some(2));
    }
}
