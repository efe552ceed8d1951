//! The keys of rows, each once, in the order in which they are asked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMillisecondType};
use datafusion::arrow::row::RowConverter;
use datafusion::common::Result as PlanResult;

use crate::engine::first::order_converter;
use crate::lookups::{Key, Lookup};

/// The key of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowKey {
    /// A key, as it stands in the ledger: a JSON array of texts.
    Key(String),
    /// None: a column of it is null.
    Null,
    /// Nothing that the API could know, and why.
    Impossible(String),
}

impl Wanted {
    /// Says whether an answer that was given then is as good as asking.
    pub(super) fn is_met(&self, answered_at: Option<i64>) -> bool {
        answered_at.is_some_and(|at| self.newest.is_none_or(|newest| at >= newest))
    }
}

/// Returns the key of each row of a batch.
pub(super) fn keys_of(
    batch: &RecordBatch,
    by: &[usize],
    lookup: &dyn Lookup,
) -> PlanResult<Vec<RowKey>> {
    let columns = by.iter().map(|&index| cast(batch.column(index), &DataType::Utf8View));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let columns: Vec<_> = columns.iter().map(|column| column.as_string_view()).collect();
    let key = |row: usize| {
        if columns.iter().any(|column| column.is_null(row)) {
            return RowKey::Null;
        }
        let values: Vec<&str> = columns.iter().map(|column| column.value(row)).collect();
        match lookup.key(&values) {
            Ok(key) => RowKey::Key(serde_json::Value::from(key).to_string()),
            Err(why) => RowKey::Impossible(why),
        }
    };
    Ok((0..batch.num_rows()).map(key).collect())
}

/// Reads a key as it stands in the ledger.
pub(super) fn read_key(text: &str) -> Key {
    serde_json::from_str(text).unwrap_or_default()
}

/// Distinct keys, with the first rank of each and the moment of its newest row.
pub(super) struct Distinct {
    ranker: Option<(RowConverter, usize)>,
    /// The column by which rows are newer.
    newer_by: Option<usize>,
    keys: HashMap<String, Place>,
}

/// Where a key stands among the others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rank: Vec<u8>,
    nth: usize,
    /// In milliseconds since 1970.
    newest: Option<i64>,
}

/// A key that is to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: String,
    /// An answer before this moment, in milliseconds since 1970, is too old.
    pub(super) newest: Option<i64>,
}

impl Distinct {
    /// Begins without keys. The last columns of rows are their order, one for each direction.
    pub(super) fn new(
        schema: &Schema,
        order: &[SortOptions],
        newer_by: Option<usize>,
    ) -> PlanResult<Self> {
        let first = schema.fields().len() - order.len();
        let ranker = match order {
            [] => None,
            order => Some((order_converter(schema, order)?, first)),
        };
        Ok(Self { ranker, newer_by, keys: HashMap::new() })
    }

    /// Adds the keys of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch, keys: Vec<RowKey>) -> PlanResult<()> {
        let ranks = match &self.ranker {
            Some((converter, first)) => {
                let order: Vec<_> = batch.columns()[*first..].iter().map(Arc::clone).collect();
                Some(converter.convert_columns(&order)?)
            }
            None => None,
        };
        let moments = match self.newer_by {
            Some(column) => {
                let moments = DataType::Timestamp(TimeUnit::Millisecond, None);
                Some(cast(batch.column(column), &moments)?)
            }
            None => None,
        };
        let moments =
            moments.as_ref().map(|moments| moments.as_primitive::<TimestampMillisecondType>());
        for (row, key) in keys.into_iter().enumerate() {
            let RowKey::Key(key) = key else { continue };
            let rank = ranks.as_ref().map(|ranks| ranks.row(row).as_ref().to_vec());
            let rank = rank.unwrap_or_default();
            let newest = moments.filter(|moments| moments.is_valid(row)).map(|m| m.value(row));
            let nth = self.keys.len();
            match self.keys.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(Place { rank, nth, newest });
                }
                Entry::Occupied(mut entry) => {
                    let place = entry.get_mut();
                    place.newest = place.newest.max(newest);
                    if rank < place.rank {
                        place.rank = rank;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the keys in the order in which they are asked.
    pub(super) fn in_order(self) -> Vec<Wanted> {
        let mut keys: Vec<(String, Place)> = self.keys.into_iter().collect();
        keys.sort_by(|a, b| a.1.cmp(&b.1));
        let wanted = |(key, place): (String, Place)| Wanted { key, newest: place.newest };
        keys.into_iter().map(wanted).collect()
    }
}
