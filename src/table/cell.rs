//! One value of a column as plain data, for sinks that write row by row.

use datafusion::arrow::array::{
    Array, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
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

/// The values of a column that went through [`plain_types`].
#[derive(Clone, Copy, Debug)]
pub enum Cells<'a> {
    /// Truth values.
    Bool(&'a BooleanArray),
    /// Whole numbers.
    Int(&'a Int64Array),
    /// Numbers.
    Float(&'a Float64Array),
    /// Days.
    Date(&'a Date32Array),
    /// Moments.
    Moment(&'a TimestampMicrosecondArray),
    /// Texts.
    Text(&'a StringViewArray),
    /// Nothing that [`plain_types`] makes.
    None,
}

impl<'a> Cells<'a> {
    /// Finds out once what the values of a column are.
    pub fn of(column: &'a dyn Array) -> Self {
        match column.data_type() {
            DataType::Boolean => Self::Bool(column.as_boolean()),
            DataType::Int64 => Self::Int(column.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>()),
            DataType::Date32 => Self::Date(column.as_primitive::<Date32Type>()),
            DataType::Timestamp(_, _) => column
                .as_primitive_opt::<TimestampMicrosecondType>()
                .map_or(Self::None, Self::Moment),
            DataType::Utf8View => Self::Text(column.as_string_view()),
            _ => Self::None,
        }
    }

    /// Returns the value at a row.
    #[inline]
    pub fn get(self, row: usize) -> Cell<'a> {
        match self {
            Self::Text(texts) if texts.is_valid(row) => Cell::Text(texts.value(row)),
            Self::Int(numbers) if numbers.is_valid(row) => Cell::Int(numbers.value(row)),
            Self::Float(numbers) if numbers.is_valid(row) => Cell::Float(numbers.value(row)),
            Self::Bool(values) if values.is_valid(row) => Cell::Int(i64::from(values.value(row))),
            Self::Date(days) if days.is_valid(row) => {
                days.value_as_date(row).map_or(Cell::Null, |day| Cell::Owned(day.to_string()))
            }
            Self::Moment(moments) if moments.is_valid(row) => {
                let moment = jiff::Timestamp::from_microsecond(moments.value(row));
                moment.map_or(Cell::Null, |moment| Cell::Owned(moment.to_string()))
            }
            _ => Cell::Null,
        }
    }
}

/// Returns the value at a row of a column that went through [`plain_types`].
pub fn cell(column: &dyn Array, row: usize) -> Cell<'_> {
    Cells::of(column).get(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{StringArray, TimestampSecondArray, UInt64Array};

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
