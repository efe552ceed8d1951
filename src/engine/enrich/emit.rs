//! Joins answers back to the rows whose keys they are of.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int32Array, ListArray, RecordBatch, RecordBatchOptions, StringViewArray, StructArray,
    UInt16Array, UInt32Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::Result as PlanResult;

use super::calls::Failed;
use super::keys::{RowKey, keys_of};
use crate::engine::land::Tally;
use crate::error::{Error, Result};
use crate::spec::{AnswerRows, OnError, OnMissing, Row};
use crate::state::Answer;
use crate::table::{REASON, compact, typed_column};
use crate::transforms::Enrichment;

/// What `.rejected` of a look-up says of the last response.
const STATUS: &str = "http_status";
/// What it says of the calls that were made.
const ATTEMPTS: &str = "attempts";

/// Returns the columns of a port of a look-up: those of its input, and why a row is there.
pub(in crate::engine) fn port_schema(input: &Schema, port: &str) -> SchemaRef {
    let mut fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone()).collect();
    if port != "pending" {
        fields.push(Field::new(REASON, DataType::Utf8View, false));
    }
    if port == "rejected" {
        fields.push(Field::new(STATUS, DataType::Int64, true));
        fields.push(Field::new(ATTEMPTS, DataType::Int64, false));
    }
    Arc::new(Schema::new(fields))
}

/// Sends rows on with the answers to their keys.
pub(super) struct Emitter<'a> {
    pub(super) enrichment: &'a Enrichment,
    pub(super) tally: &'a Tally,
    /// Why keys got no answer.
    pub(super) failed: &'a HashMap<String, Failed>,
    /// The columns that are wanted, of those of the input and then those that are added.
    pub(super) projection: &'a [usize],
    /// The columns of the output.
    pub(super) schema: SchemaRef,
}

/// Where each row of a batch goes.
#[derive(Default)]
struct Places<'a> {
    /// Rows that go on, by index, and the answers that they go with.
    on: Vec<(u32, &'a [Row])>,
    rejected: Vec<(u32, Failed)>,
    missing: Vec<(u32, String)>,
    pending: Vec<u32>,
}

impl Emitter<'_> {
    /// Returns the keys of a batch.
    pub(super) fn keys(&self, batch: &RecordBatch) -> PlanResult<Vec<RowKey>> {
        keys_of(batch, &self.enrichment.by, self.enrichment.lookup.as_ref())
    }

    /// Divides a batch of input columns; rows that go on are returned.
    pub(super) fn emit(
        &self,
        batch: &RecordBatch,
        keys: &[RowKey],
        answers: &HashMap<String, Answer>,
    ) -> PlanResult<RecordBatch> {
        let places = self.places(keys, answers)?;
        self.set_aside(batch, &places)?;
        let wanted = match self.enrichment.rows {
            AnswerRows::List => self.with_lists(batch, &places.on)?,
            AnswerRows::Each | AnswerRows::First => self.with_rows(batch, &places.on)?,
        };
        self.tally.accept(wanted.num_rows() as u64);
        Ok(compact(&wanted))
    }

    fn places<'a>(
        &self,
        keys: &[RowKey],
        answers: &'a HashMap<String, Answer>,
    ) -> Result<Places<'a>> {
        let mut places = Places::default();
        let mut n_kept = 0;
        for (row, key) in (0u32..).zip(keys) {
            let missing = match key {
                RowKey::Null => Some("null"),
                RowKey::Impossible(why) => {
                    let failed = Failed { reason: why.clone(), ..Failed::default() };
                    n_kept += self.fail(row, failed, &mut places)?;
                    continue;
                }
                RowKey::Key(key) => match (answers.get(key), self.failed.get(key)) {
                    (Some(Answer { missing: None, rows, .. }), _) => {
                        places.on.push((row, rows));
                        continue;
                    }
                    (Some(Answer { missing, .. }), _) => missing.as_deref(),
                    (None, Some(failed)) => {
                        n_kept += self.fail(row, failed.clone(), &mut places)?;
                        continue;
                    }
                    (None, None) => {
                        places.pending.push(row);
                        continue;
                    }
                },
            };
            places.missing.push((row, missing.unwrap_or("unknown").to_owned()));
            if self.enrichment.on_missing == OnMissing::Keep {
                places.on.push((row, &[]));
            }
        }
        if n_kept > 0 {
            self.tally.warn("no answer", n_kept);
        }
        Ok(places)
    }

    fn fail(&self, row: u32, failed: Failed, places: &mut Places<'_>) -> Result<u64> {
        match self.enrichment.on_error {
            OnError::Reject => places.rejected.push((row, failed)),
            OnError::Keep => {
                places.on.push((row, &[]));
                return Ok(1);
            }
            OnError::Stop => {
                let message = format!("no answer after {} calls", failed.attempts);
                return Err(Error::run(message).because(failed.reason));
            }
        }
        Ok(0)
    }

    /// Puts rows that do not go on where their ports are.
    fn set_aside(&self, batch: &RecordBatch, places: &Places<'_>) -> PlanResult<()> {
        let n_input = batch.num_columns() - self.enrichment.order.len();
        let input: Vec<usize> = (0..n_input).collect();
        let input = batch.project(&input)?;
        let part =
            |rows: Vec<u32>, port: &str, columns: Vec<ArrayRef>| -> PlanResult<RecordBatch> {
                let rows = take_record_batch(&input, &UInt32Array::from(rows))?;
                let mut all = rows.columns().to_vec();
                all.extend(columns);
                let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
                let schema = port_schema(&input.schema(), port);
                Ok(RecordBatch::try_new_with_options(schema, all, &options)?)
            };
        if !places.rejected.is_empty() {
            let rows = places.rejected.iter().map(|(row, _)| *row).collect();
            let all = || places.rejected.iter().map(|(_, failed)| failed);
            let reasons: StringViewArray = all().map(|failed| Some(&*failed.reason)).collect();
            let statuses: UInt16Array = all().map(|failed| failed.status).collect();
            let attempts: Int32Array =
                all().map(|failed| i32::try_from(failed.attempts).ok()).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(reasons),
                cast(&statuses, &DataType::Int64)?,
                cast(&attempts, &DataType::Int64)?,
            ];
            let counts = count(all().map(|failed| failed.reason.as_str()));
            self.tally.reject(part(rows, "rejected", columns)?, counts)?;
        }
        if !places.missing.is_empty() {
            let rows = places.missing.iter().map(|(row, _)| *row).collect();
            let words = || places.missing.iter().map(|(_, word)| word.as_str());
            let reasons: ArrayRef = Arc::new(words().map(Some).collect::<StringViewArray>());
            self.tally.miss(&part(rows, "missing", vec![reasons])?)?;
        }
        if !places.pending.is_empty() {
            self.tally.leave(&part(places.pending.clone(), "pending", Vec::new())?)?;
        }
        Ok(())
    }

    /// Returns rows with one row of their answers each.
    fn with_rows(&self, batch: &RecordBatch, on: &[(u32, &[Row])]) -> PlanResult<RecordBatch> {
        let mut indices = Vec::new();
        let mut rows: Vec<Option<&Row>> = Vec::new();
        for (index, answer) in on {
            let answer = match self.enrichment.rows {
                AnswerRows::First => &answer[..answer.len().min(1)],
                _ => answer,
            };
            if answer.is_empty() {
                indices.push(*index);
                rows.push(None);
            }
            indices.extend(answer.iter().map(|_| *index));
            rows.extend(answer.iter().map(Some));
        }
        self.join(batch, &indices, |column| self.column(column, &rows))
    }

    /// Returns rows with their whole answers as lists.
    fn with_lists(&self, batch: &RecordBatch, on: &[(u32, &[Row])]) -> PlanResult<RecordBatch> {
        let indices: Vec<u32> = on.iter().map(|(row, _)| *row).collect();
        let lists = |_: usize| {
            let rows: Vec<Option<&Row>> =
                on.iter().flat_map(|(_, rows)| rows.iter().map(Some)).collect();
            let columns = self.enrichment.lookup.columns();
            let fields = columns.iter().map(|c| Field::new(&c.name, c.kind.data_type(), true));
            let fields: Fields = fields.collect();
            let arrays = (0..columns.len()).map(|column| self.column(column, &rows));
            let arrays = arrays.collect::<PlanResult<Vec<_>>>()?;
            let answers: ArrayRef = Arc::new(StructArray::try_new(fields.clone(), arrays, None)?);
            let offsets = OffsetBuffer::from_lengths(on.iter().map(|(_, rows)| rows.len()));
            let nulls = NullBuffer::from_iter(on.iter().map(|(_, rows)| !rows.is_empty()));
            let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
            Ok(Arc::new(ListArray::try_new(item, offsets, answers, Some(nulls))?) as ArrayRef)
        };
        self.join(batch, &indices, lists)
    }

    /// Puts columns of the input and columns that are added beside each other, those that are wanted.
    fn join(
        &self,
        batch: &RecordBatch,
        indices: &[u32],
        added: impl Fn(usize) -> PlanResult<ArrayRef>,
    ) -> PlanResult<RecordBatch> {
        let n_input = batch.num_columns() - self.enrichment.order.len();
        let from_input: Vec<usize> =
            self.projection.iter().copied().filter(|&index| index < n_input).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let input =
            take_record_batch(&batch.project(&from_input)?, &UInt32Array::from(indices.to_vec()))?;
        let mut input = input.columns().iter();
        let mut columns = Vec::with_capacity(self.projection.len());
        for &index in self.projection {
            match index < n_input {
                true => columns.extend(input.next().cloned()),
                false => columns.push(added(index - n_input)?),
            }
        }
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Makes a column of a look-up of the texts in rows.
    fn column(&self, column: usize, rows: &[Option<&Row>]) -> PlanResult<ArrayRef> {
        let texts = rows.iter().map(|row| row.and_then(|row| row.get(column)?.as_deref()));
        let of: Vec<Option<&str>> = texts.collect();
        let known = &self.enrichment.lookup.columns()[column];
        typed_column(&of, &known.kind.data_type()).map_err(|row| {
            let value = of.get(row).copied().flatten().unwrap_or_default();
            let message = format!("an answer holds `{value}` in `{}`", known.name);
            Error::internal(message).into()
        })
    }
}

fn count<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(String, u64)> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts.into_iter().map(|(word, n)| (word.to_owned(), n)).collect()
}
