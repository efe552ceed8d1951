//! The types of the columns of a CSV file, from all of its values.

use std::path::Path;

use datafusion::arrow::datatypes::{DataType, Field, Schema};

/// The types that a column may have, the narrowest first.
const TYPES: [DataType; 4] =
    [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Date32];

/// Reads a whole CSV file and gives each column the type that every value of it has, and that
/// would be written back as it stands: a number with leading zeros is text. A column without
/// values is text.
pub fn infer_csv(file: &Path) -> csv::Result<Schema> {
    let mut reader = csv::Reader::from_path(file)?;
    let names = reader.headers()?.clone();
    let mut possible = vec![[true; TYPES.len()]; names.len()];
    let mut has_values = vec![false; names.len()];
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        for (index, value) in record.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            has_values[index] = true;
            for (is_possible, kind) in possible[index].iter_mut().zip(&TYPES) {
                *is_possible = *is_possible && is_a(kind, value);
            }
        }
    }
    let field = |(index, name): (usize, &str)| {
        let possible = TYPES.iter().zip(&possible[index]).find(|(_, is_possible)| **is_possible);
        let kind = possible.filter(|_| has_values[index]).map(|(kind, _)| kind.clone());
        Field::new(name, kind.unwrap_or(DataType::Utf8View), true)
    };
    Ok(Schema::new(names.iter().enumerate().map(field).collect::<Vec<_>>()))
}

fn is_a(kind: &DataType, value: &str) -> bool {
    match kind {
        DataType::Int64 => value.parse::<i64>().is_ok_and(|n| n.to_string() == value),
        DataType::Float64 => {
            let digits = value.trim_start_matches('-');
            let has_leading_zero =
                digits.starts_with('0') && !matches!(digits, "0") && !digits.starts_with("0.");
            digits.starts_with(|c: char| c.is_ascii_digit())
                && !has_leading_zero
                && value.parse::<f64>().is_ok_and(f64::is_finite)
        }
        DataType::Boolean => matches!(value, "true" | "false"),
        _ => value.len() == 10 && value.parse::<jiff::civil::Date>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_column_the_type_that_all_its_values_have() {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        let path = folder.path().join("t.csv");
        let text = "number,n,share,late,day,none,mixed\n\
                    00000006,6,0.5,true,2026-11-01,,2026-11-01\n\
                    90000001,-7,3,,,,SC1\n";
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{e}"));
        let schema = infer_csv(&path).unwrap_or_else(|e| panic!("{e}"));
        let types: Vec<_> = schema.fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(
            types,
            ["Utf8View", "Int64", "Float64", "Boolean", "Date32", "Utf8View", "Utf8View"]
        );
    }
}
