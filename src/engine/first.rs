//! The first row of each key, in memory that does not grow with the rows.
//!
//! Rows are landed as they come, and beside them their keys and ranks. Then the keys are compared,
//! as many at a time as fit; a key always falls into the same share of them. Last the rows are
//! read again, and those that were picked go on in the order in which they came.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::BooleanBufferBuilder;
use datafusion::arrow::array::{ArrayRef, AsArray, BinaryBuilder, BooleanArray, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{SortOptions, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::land::Landed;
use crate::error::{Error, Result};

/// Rows whose keys are compared at a time: about 32 MiB of keys and ranks.
const AT_A_TIME: usize = 256 << 10;

/// Picks the first row of each key.
pub(super) struct First {
    /// Of the node, for its files.
    pub(super) name: String,
    /// The columns of the key, by index.
    pub(super) by: Vec<usize>,
    /// The directions of the last columns, which are the order.
    pub(super) order: Vec<SortOptions>,
    /// The columns that are wanted.
    pub(super) projection: Vec<usize>,
    /// Where rows are landed.
    pub(super) folder: Arc<OnceLock<PathBuf>>,
}

impl First {
    /// Returns the first rows of a stream: all of them when the stream has ended.
    pub(super) fn of(
        self,
        rows: SendableRecordBatchStream,
    ) -> impl Stream<Item = PlanResult<RecordBatch>> + Send {
        futures::stream::once(self.pick(rows)).try_flatten()
    }

    async fn pick(
        self,
        mut input: SendableRecordBatchStream,
    ) -> PlanResult<impl Stream<Item = PlanResult<RecordBatch>> + Send> {
        let schema = input.schema();
        let wanted = Arc::new(schema.project(&self.projection)?);
        let rows = Landed::new(wanted, &format!("{}.rows", self.name), Arc::clone(&self.folder));
        let keys = Landed::new(keys_schema(), &format!("{}.keys", self.name), self.folder);
        let ranker = Ranker::new(&schema, self.by, &self.order)?;
        let mut n_rows = 0;
        while let Some(batch) = input.next().await {
            let batch = batch?;
            n_rows += batch.num_rows();
            keys.push(&ranker.keys(&batch)?)?;
            rows.push(&batch.project(&self.projection)?)?;
        }
        keys.close()?;
        rows.close()?;
        let shares = n_rows.div_ceil(AT_A_TIME) as u64;
        let picked = tokio::task::spawn_blocking(move || firsts(&keys, n_rows, shares)).await;
        let picked =
            picked.map_err(|error| Error::internal("keys were compared").because(error))??;
        let all: Vec<usize> = (0..self.projection.len()).collect();
        let mut n_read = 0;
        let kept = rows.read(&all)?.map(move |batch| {
            let batch = batch?;
            let mask = BooleanArray::new(picked.slice(n_read, batch.num_rows()), None);
            n_read += batch.num_rows();
            Ok(filter_record_batch(&batch, &mask)?)
        });
        Ok(futures::stream::iter(kept))
    }
}

fn keys_schema() -> Arc<Schema> {
    let field = |name| Field::new(name, DataType::Binary, false);
    Arc::new(Schema::new(vec![field("key"), field("rank")]))
}

/// Writes keys, and ranks, as bytes: equal when they are equal, in order when they are in order.
struct Ranker {
    by: Vec<usize>,
    key: RowConverter,
    order: RowConverter,
    all: RowConverter,
    n_columns: usize,
}

/// Returns what makes ranks of the last columns of rows, which are their order.
pub(super) fn order_converter(schema: &Schema, order: &[SortOptions]) -> PlanResult<RowConverter> {
    let fields = &schema.fields()[schema.fields().len() - order.len()..];
    let field = |(field, options): (&Arc<Field>, &SortOptions)| {
        SortField::new_with_options(field.data_type().clone(), *options)
    };
    Ok(RowConverter::new(fields.iter().zip(order).map(field).collect())?)
}

impl Ranker {
    fn new(schema: &Schema, by: Vec<usize>, order: &[SortOptions]) -> PlanResult<Self> {
        let n_columns = schema.fields().len() - order.len();
        let field = |index: usize| SortField::new(schema.field(index).data_type().clone());
        Ok(Self {
            key: RowConverter::new(by.iter().map(|&index| field(index)).collect())?,
            order: order_converter(schema, order)?,
            all: RowConverter::new((0..n_columns).map(field).collect())?,
            by,
            n_columns,
        })
    }

    /// Returns the key and rank of each row. A rank ends in a hash of the whole row, so that it
    /// depends on nothing but the row.
    fn keys(&self, batch: &RecordBatch) -> PlanResult<RecordBatch> {
        let columns = batch.columns();
        let key_columns: Vec<ArrayRef> =
            self.by.iter().map(|&index| Arc::clone(&columns[index])).collect();
        let (own, order) = columns.split_at(self.n_columns);
        let keys = self.key.convert_columns(&key_columns)?;
        let whole = self.all.convert_columns(own)?;
        let order: Option<Rows> = match order {
            [] => None,
            order => Some(self.order.convert_columns(order)?),
        };
        let mut key = BinaryBuilder::new();
        let mut rank = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for row in 0..batch.num_rows() {
            key.append_value(keys.row(row).as_ref());
            bytes.clear();
            if let Some(order) = &order {
                bytes.extend_from_slice(order.row(row).as_ref());
            }
            bytes.extend_from_slice(&hash(whole.row(row).as_ref()).to_be_bytes());
            rank.append_value(&bytes);
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(key.finish()), Arc::new(rank.finish())];
        Ok(RecordBatch::try_new(keys_schema(), columns)?)
    }
}

/// The same in every run.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

type Bytes = Box<[u8]>;

/// Finds the first row of each key, a share of the keys after the other.
fn firsts(keys: &Landed, n_rows: usize, shares: u64) -> Result<BooleanBuffer> {
    let mut picked = BooleanBufferBuilder::new(n_rows);
    picked.append_n(n_rows, false);
    for share in 0..shares {
        let mut best: HashMap<Bytes, (Bytes, usize)> = HashMap::new();
        let mut row = 0;
        for batch in keys.read(&[0, 1])? {
            let batch = batch?;
            let (keys, ranks) =
                (batch.column(0).as_binary::<i32>(), batch.column(1).as_binary::<i32>());
            for (key, rank) in keys.iter().flatten().zip(ranks.iter().flatten()) {
                if hash(key) % shares == share {
                    match best.entry(key.into()) {
                        Entry::Vacant(free) => {
                            free.insert((rank.into(), row));
                        }
                        Entry::Occupied(mut taken) if *rank < *taken.get().0 => {
                            taken.insert((rank.into(), row));
                        }
                        Entry::Occupied(_) => {}
                    }
                }
                row += 1;
            }
        }
        for (_, row) in best.into_values() {
            picked.set_bit(row, true);
        }
    }
    Ok(picked.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, StringViewArray};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use std::collections::BTreeMap;

    type Row = (Option<String>, Option<i64>);

    /// Rows in batches of 7: a key, and a number that is also the order.
    fn batches(rows: &[Row]) -> Vec<RecordBatch> {
        let batch = |rows: &[Row]| {
            let keys: StringViewArray = rows.iter().map(|(key, _)| key.as_deref()).collect();
            let numbers: Int64Array = rows.iter().map(|(_, number)| *number).collect();
            let columns: [(&str, ArrayRef); 3] = [
                ("key", Arc::new(keys)),
                ("number", Arc::new(numbers.clone())),
                ("__order_0", Arc::new(numbers)),
            ];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, c)| (name, c, true)))
        };
        rows.chunks(7).map(|rows| batch(rows).unwrap_or_else(|e| panic!("{e}"))).collect()
    }

    fn rows() -> Vec<Row> {
        let key = |n: i64| (n % 5 != 0).then(|| format!("a key longer than a view {}", n % 11));
        (0..200).map(|n| (key(n), (n % 7 != 0).then_some(n * 37 % 101))).collect()
    }

    #[tokio::test]
    async fn picks_what_a_plain_search_picks() {
        let rows = rows();
        let batches = batches(&rows);
        let schema = batches[0].schema();
        let stream = futures::stream::iter(batches.into_iter().map(Ok));
        let first = First {
            name: "t".to_owned(),
            by: vec![0],
            order: vec![SortOptions { descending: true, nulls_first: false }],
            projection: vec![1, 0],
            folder: Arc::default(),
        };
        let picked: Vec<RecordBatch> = first
            .of(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
            .try_collect()
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let mut found = Vec::new();
        for batch in &picked {
            let numbers = batch.column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>();
            let keys = batch.column(1).as_string_view();
            found.extend(keys.iter().map(|key| key.map(str::to_owned)).zip(numbers));
        }
        let mut expected: BTreeMap<Option<String>, Option<i64>> = BTreeMap::new();
        for (key, number) in rows {
            let best = expected.entry(key).or_default();
            *best = (*best).max(number);
        }
        found.sort();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn picks_the_same_in_any_number_of_shares() {
        let batches = batches(&rows());
        let options = [SortOptions { descending: false, nulls_first: true }];
        let landed = Landed::new(keys_schema(), "t", Arc::default());
        let push = || -> Result<()> {
            let ranker = Ranker::new(&batches[0].schema(), vec![0], &options)?;
            for batch in &batches {
                landed.push(&ranker.keys(batch)?)?;
            }
            landed.close()
        };
        push().unwrap_or_else(|e| panic!("{e}"));
        let picked = |shares| firsts(&landed, 200, shares).unwrap_or_else(|e| panic!("{e}"));
        // Eleven keys, and null.
        assert_eq!(picked(1).count_set_bits(), 12);
        for shares in [2, 3, 50] {
            assert_eq!(picked(shares), picked(1));
        }
    }
}
