//! Rows that are written down in a test and stand in for a source.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt as _;

use super::{Batch, BatchStream, Contract, Source};
use crate::context::ReadContext;
use crate::error::Error;
use crate::spec::{Code, Diagnostic, TestRows};
use crate::table::typed_column;

/// Rows in place of a source.
#[derive(Clone, Debug)]
pub struct Given {
    rows: RecordBatch,
    /// What reports say of it.
    name: &'static str,
}

impl Given {
    /// Reads rows as a source with the columns `known` would have delivered them. A source whose
    /// columns only its file could tell has those of its contract and those that are given, as
    /// text unless the contract says otherwise.
    pub fn new(
        known: Option<SchemaRef>,
        contract: &Contract,
        given: Option<&TestRows>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let is_known = known.is_some();
        let mut fields: Vec<Field> = match &known {
            Some(schema) => schema.fields().iter().map(|field| field.as_ref().clone()).collect(),
            None => contract.fields(),
        };
        let mut found = Vec::new();
        for name in given.iter().flat_map(|rows| &rows.columns) {
            if fields.iter().any(|field| *field.name() == name.value) {
                continue;
            }
            if is_known {
                let message = format!("the source has no column `{}`", name.value);
                let fault = Diagnostic::error(Code::UnknownColumn, message, name.at);
                let names = fields.iter().map(|field| field.name().as_str());
                found.push(fault.suggest(name, "columns", names));
            } else {
                fields.push(Field::new(&name.value, DataType::Utf8View, true));
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let n_rows = given.map_or(0, |given| given.rows.len());
        let mut columns = Vec::with_capacity(fields.len());
        for field in &fields {
            let texts = match given {
                Some(given) => given.column(field.name()),
                None => Vec::new(),
            };
            match typed_column(&texts, field.data_type()) {
                Ok(column) => columns.push(column),
                Err(row) => found.extend(given.map(|given| {
                    given.misfit(row, field.name(), texts[row], &field.data_type().to_string())
                })),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows =
            RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        match rows {
            Ok(rows) if found.is_empty() => Ok(Self { rows, name: "given" }),
            _ => Err(found),
        }
    }
}

impl Given {
    /// Stands in for something that is not there yet.
    pub(super) fn nothing(contract: &Contract) -> Result<Self, Vec<Diagnostic>> {
        Self::new(None, contract, None).map(|nothing| Self { name: "not there yet", ..nothing })
    }
}

impl Source for Given {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let n_rows = context.limit.map_or(usize::MAX, |limit| limit as usize);
        let rows = self.rows.slice(0, n_rows.min(self.rows.num_rows()));
        let batch = rows
            .project(&context.projection)
            .map(Batch::new)
            .map_err(|error| Error::internal("a projection").because(error));
        futures::stream::once(async move { batch }).boxed()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn fingerprint(&self) -> String {
        format!("{:?}", self.rows)
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}
