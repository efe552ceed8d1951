//! A Parquet file whose columns are encoded on all cores: encoding is most of the work of writing
//! one. Each core takes the next column that nobody has taken, until the rows at hand are written.

use std::io::Write;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use datafusion::parquet::errors::Result;
use datafusion::parquet::file::writer::SerializedFileWriter;

/// Rows that are encoded at a time: enough that waiting for the last column does not matter.
const ROWS: usize = 16 << 10;

/// A Parquet file that is being written.
pub(super) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// Writers of the columns of a row group; a nested column has several.
    columns: Vec<Vec<ArrowColumnWriter>>,
    /// Rows that wait to be encoded.
    waiting: Vec<RecordBatch>,
    n_waiting: usize,
    /// Rows that the row group has or will have, with those that wait.
    n_rows: usize,
    most_rows: usize,
    n_groups: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file with row groups of `most_rows` rows.
    pub(super) fn try_new(
        out: W,
        schema: &SchemaRef,
        options: ArrowWriterOptions,
        most_rows: usize,
    ) -> Result<Self> {
        let writer = ArrowWriter::try_new_with_options(out, Arc::clone(schema), options)?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let mut file = Self {
            writer,
            factory,
            schema: Arc::clone(schema),
            columns: Vec::new(),
            waiting: Vec::new(),
            n_waiting: 0,
            n_rows: 0,
            most_rows,
            n_groups: 0,
        };
        file.begin_group()?;
        Ok(file)
    }

    fn begin_group(&mut self) -> Result<()> {
        let descriptor = self.writer.schema_descr();
        let mut columns: Vec<Vec<ArrowColumnWriter>> = Vec::new();
        columns.resize_with(self.schema.fields().len(), Vec::new);
        let writers = self.factory.create_column_writers(self.n_groups)?;
        for (leaf, writer) in writers.into_iter().enumerate() {
            columns[descriptor.get_column_root_idx(leaf)].push(writer);
        }
        self.columns = columns;
        self.n_rows = 0;
        Ok(())
    }

    /// Adds rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let n = (batch.num_rows() - from).min(self.most_rows - self.n_rows);
            self.waiting.push(batch.slice(from, n));
            from += n;
            self.n_waiting += n;
            self.n_rows += n;
            if self.n_rows == self.most_rows {
                self.end_group()?;
                self.begin_group()?;
            } else if self.n_waiting >= ROWS {
                self.encode()?;
            }
        }
        Ok(())
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.n_waiting = 0;
        let columns = self.schema.fields().iter().zip(&mut self.columns).enumerate();
        let work = columns.map(|(index, (field, writers))| {
            let arrays: Vec<&ArrayRef> = waiting.iter().map(|rows| rows.column(index)).collect();
            move || encode_column(field, writers, &arrays)
        });
        on_all_cores(work)
    }

    fn end_group(&mut self) -> Result<()> {
        self.encode()?;
        let mut group = self.writer.next_row_group()?;
        for writer in self.columns.drain(..).flatten() {
            writer.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.n_groups += 1;
        Ok(())
    }

    /// Ends the file and returns what it was written to.
    pub(super) fn close(mut self) -> Result<W> {
        if self.n_rows > 0 {
            self.end_group()?;
        }
        self.writer.into_inner()
    }
}

fn encode_column(
    field: &FieldRef,
    writers: &mut [ArrowColumnWriter],
    arrays: &[&ArrayRef],
) -> Result<()> {
    for array in arrays {
        for (leaf, writer) in compute_leaves(field, array)?.iter().zip(writers.iter_mut()) {
            writer.write(leaf)?;
        }
    }
    Ok(())
}

/// Does pieces of work on all cores; returns when all are done, with the first error.
fn on_all_cores<F: FnOnce() -> Result<()> + Send>(
    work: impl Iterator<Item = F> + Send,
) -> Result<()> {
    let n_cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let work = Mutex::new(work);
    let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take_all = || -> Result<()> {
        while let Some(piece) = next() {
            piece()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..n_cores).map(|_| scope.spawn(take_all)).collect();
        let mut done = take_all();
        for other in others {
            let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done = done.and(theirs);
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, ListArray, StringViewArray, StructArray};
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::datatypes::{Field, Int64Type, Schema};
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn rows(n: i64) -> RecordBatch {
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
        let text: ArrayRef = Arc::new(
            (0..n).map(|n| (n % 3 > 0).then(|| format!("text {n}"))).collect::<StringViewArray>(),
        );
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..n).map(|n| Some((0..n % 4).map(Some))),
        ));
        let pair = StructArray::from(vec![
            (Arc::new(Field::new("n", number.data_type().clone(), true)), Arc::clone(&number)),
            (Arc::new(Field::new("t", text.data_type().clone(), true)), Arc::clone(&text)),
        ]);
        let pair: ArrayRef = Arc::new(pair);
        let columns = [("number", number), ("text", text), ("list", list), ("pair", pair)];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn every_row_comes_back_in_its_place_in_groups_of_the_size_asked_for() {
        let all = rows(2500);
        let file = tempfile::tempfile().unwrap();
        let options = ArrowWriterOptions::new();
        let mut writer =
            ParquetFile::try_new(file.try_clone().unwrap(), &all.schema(), options, 1000).unwrap();
        for from in (0..2500).step_by(700) {
            writer.write(&all.slice(from, 700.min(2500 - from))).unwrap();
        }
        writer.close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let groups = reader.metadata().row_groups().iter().map(|group| group.num_rows());
        assert_eq!(groups.collect::<Vec<_>>(), [1000, 1000, 500]);
        let read: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
        let schema: Arc<Schema> = all.schema();
        assert_eq!(concat_batches(&schema, &read).unwrap(), all);
    }

    #[test]
    fn an_empty_file_still_has_its_columns() {
        let file = tempfile::tempfile().unwrap();
        let schema = rows(0).schema();
        let options = ArrowWriterOptions::new();
        let writer = ParquetFile::try_new(file.try_clone().unwrap(), &schema, options, 1000);
        writer.unwrap().close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!((reader.metadata().num_row_groups(), reader.schema().fields().len()), (0, 4));
    }

    #[test]
    fn an_error_on_any_core_is_an_error() {
        let broken = || datafusion::parquet::errors::ParquetError::General("broken".to_owned());
        let work = (0..9).map(|n| move || if n == 7 { Err(broken()) } else { Ok(()) });
        assert!(on_all_cores(work).is_err());
    }
}
