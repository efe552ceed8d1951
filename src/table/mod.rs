//! Arrow's words: column types, table schemas, and how text becomes typed columns and back.

mod builders;
mod cell;
mod checker;
mod compact;
mod infer;
mod nested;
mod parse;
mod schema;
mod texts;
mod typed;

pub use builders::{Place, RowBuilder};
pub use cell::{Cell, Cells, cell, plain_type, plain_types};
pub use checker::RowFault;
pub use compact::compact;
pub use infer::infer_csv;
pub use nested::{Shape, micros};
pub use parse::{date_in, days_since_1970, is_date_format};
pub use schema::{Column, ColumnType, TableSchema, built_in, rejected_schema, snake_case};
pub use texts::Texts;
pub use typed::typed_column;

/// Name of the column of a rejected row that says why it was rejected.
pub const REASON: &str = "reason";

/// What Hive writes in the name of a partition's folder for null.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";
