//! Rows divided by the rules of `validate`: those that go on, and those that are rejected.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringViewBuilder,
};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result as PlanResult;

use super::land::Tally;
use crate::error::Error;
use crate::table::{REASON, compact};
use crate::transforms::{Otherwise, Rule};

/// Returns the columns of a divided node's port `.rejected`: its own, and the reason.
pub(super) fn rejected_schema(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(REASON, DataType::Utf8View, false));
    Arc::new(Schema::new(fields))
}

/// Divides rows by rules.
pub(super) struct Divide {
    pub(super) rules: Arc<[Rule]>,
    pub(super) tally: Arc<Tally>,
    /// The columns that are wanted.
    pub(super) projection: Vec<usize>,
    /// The columns of rejected rows.
    pub(super) rejected: SchemaRef,
}

impl Divide {
    /// Sets rows aside that break a rule, and returns the others.
    pub(super) fn divide(&self, batch: &RecordBatch) -> PlanResult<RecordBatch> {
        let n_columns = batch.num_columns() - self.rules.len();
        let mut broken: Vec<Option<usize>> = vec![None; batch.num_rows()];
        for (index, rule) in self.rules.iter().enumerate() {
            let keeps = batch.column(n_columns + index).as_boolean();
            let breaks = |row: usize| keeps.is_null(row) || !keeps.value(row);
            let rows = (0..batch.num_rows()).filter(|&row| breaks(row));
            match rule.otherwise {
                Otherwise::Reject => {
                    for row in rows {
                        broken[row].get_or_insert(index);
                    }
                }
                Otherwise::Warn | Otherwise::Stop => {
                    let n_rows = rows.count() as u64;
                    if n_rows > 0 {
                        self.tally.warn(&rule.name, n_rows);
                    }
                    if rule.otherwise == Otherwise::Stop && rule.at_most.is_none() && n_rows > 0 {
                        let message = format!("rows break the rule `{}`", rule.name);
                        return Err(Error::run(message).into());
                    }
                }
            }
        }
        let n_rejected = broken.iter().filter(|broken| broken.is_some()).count();
        self.tally.accept((batch.num_rows() - n_rejected) as u64);
        // Compact: operators that hold rows (a sort, a join) would else be charged for the larger
        // buffers that the rows were filtered from, and run out of memory over a fraction of it.
        if n_rejected == 0 {
            return Ok(compact(&batch.project(&self.projection)?));
        }
        self.reject(batch, n_columns, &broken)?;
        let kept: BooleanArray = broken.iter().map(|broken| Some(broken.is_none())).collect();
        Ok(compact(&filter_record_batch(&batch.project(&self.projection)?, &kept)?))
    }

    fn reject(
        &self,
        batch: &RecordBatch,
        n_columns: usize,
        broken: &[Option<usize>],
    ) -> PlanResult<()> {
        let mut counts = vec![0u64; self.rules.len()];
        let mut reasons = StringViewBuilder::new();
        for &rule in broken.iter().flatten() {
            counts[rule] += 1;
            reasons.append_value(&self.rules[rule].name);
        }
        let mask: BooleanArray = broken.iter().map(|broken| Some(broken.is_some())).collect();
        let own: Vec<usize> = (0..n_columns).collect();
        let rows = filter_record_batch(&batch.project(&own)?, &mask)?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(reasons.finish()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows =
            RecordBatch::try_new_with_options(Arc::clone(&self.rejected), columns, &options)?;
        let by_name = self.rules.iter().zip(counts).filter(|(_, n)| *n > 0);
        let by_name = by_name.map(|(rule, n)| (rule.name.clone(), n));
        Ok(self.tally.reject(rows, by_name)?)
    }
}
