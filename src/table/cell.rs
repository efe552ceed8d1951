//! One value of a column as plain data, for sinks that write row by row.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use std::sync::Arc;

/// A value in one of the few forms that text files and SQLite know.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A whole number; booleans are 0 and 1.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// A day, or a moment in UTC, as ISO 8601.
    Owned(String),
}

/// Casts each column to one of the types that [`cell`] reads; what is none of them becomes text.
pub fn plain_types(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let plain = plain_type(field.data_type());
        fields.push(Field::new(field.name(), plain.clone(), true));
        columns.push(if *field.data_type() == plain {
            Arc::clone(column)
        } else {
            cast(column, &plain)?
        });
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Returns the type that a column gets in [`plain_types`].
pub fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Boolean => DataType::Boolean,
        DataType::Date32 => DataType::Date32,
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        // A larger number than SQLite's is kept exactly, as text.
        _ => DataType::Utf8View,
    }
}

/// Returns the value at a row of a column that went through [`plain_types`].
pub fn cell(column: &dyn Array, row: usize) -> Cell<'_> {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::Boolean => Cell::Int(i64::from(column.as_boolean().value(row))),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => match column.as_primitive::<Date32Type>().value_as_date(row) {
            Some(date) => Cell::Owned(date.to_string()),
            None => Cell::Null,
        },
        DataType::Timestamp(_, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            match jiff::Timestamp::from_microsecond(micros) {
                Ok(moment) => Cell::Owned(moment.to_string()),
                Err(_) => Cell::Null,
            }
        }
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row)),
        _ => Cell::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{
        BooleanArray, Date32Array, StringArray, TimestampSecondArray, UInt64Array,
    };

    #[test]
    fn writes_values_in_plain_forms() {
        let batch = RecordBatch::try_from_iter([
            ("b", Arc::new(BooleanArray::from(vec![true])) as _),
            ("d", Arc::new(Date32Array::from(vec![19_782])) as _),
            ("t", Arc::new(TimestampSecondArray::from(vec![0])) as _),
            ("s", Arc::new(StringArray::from(vec!["x"])) as _),
            ("u", Arc::new(UInt64Array::from(vec![u64::MAX])) as _),
        ]);
        let plain = batch.and_then(|batch| plain_types(&batch));
        let cells: Vec<_> = plain
            .iter()
            .flat_map(|batch| batch.columns().iter().map(|c| format!("{:?}", cell(c, 0))))
            .collect();
        assert_eq!(
            cells,
            [
                "Int(1)",
                "Owned(\"2024-02-29\")",
                "Owned(\"1970-01-01T00:00:00Z\")",
                "Text(\"x\")",
                "Text(\"18446744073709551615\")",
            ]
        );
    }
}
