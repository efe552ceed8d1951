//! A Parquet file whose columns are encoded on all cores: encoding is most of the work of writing
//! one. Each core takes the next column that nobody has taken, until the rows at hand are written.
//!
//! The first rows also tell which columns of text repeat themselves. Others get no dictionary: it
//! would be filled and thrown away again in every row group.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use datafusion::parquet::schema::types::ColumnPath;

use crate::cores;

/// Rows that are encoded at a time: enough that waiting for the last column does not matter.
const ROWS: usize = 16 << 10;

/// A Parquet file that is being written.
pub(super) struct ParquetFile<W: Write + Send> {
    /// Where it goes, until the first rows are there.
    out: Option<W>,
    properties: WriterProperties,
    open: Option<Open<W>>,
    schema: SchemaRef,
    /// Writers of the columns of a row group; a nested column has several.
    columns: Vec<Vec<ArrowColumnWriter>>,
    /// Rows that wait to be encoded.
    waiting: Vec<RecordBatch>,
    n_waiting: usize,
    /// Rows that the row group has or will have, with those that wait.
    n_rows: usize,
}

/// A file that has begun.
struct Open<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    n_groups: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file.
    pub(super) fn new(out: W, schema: &SchemaRef, properties: WriterProperties) -> Self {
        Self {
            out: Some(out),
            properties,
            open: None,
            schema: Arc::clone(schema),
            columns: Vec::new(),
            waiting: Vec::new(),
            n_waiting: 0,
            n_rows: 0,
        }
    }

    /// Returns the rows of a whole row group.
    fn most_rows(&self) -> usize {
        self.properties.max_row_group_row_count().unwrap_or(usize::MAX)
    }

    /// Opens the file, if that was not done, with what the rows that wait tell.
    fn open(&mut self) -> Result<&mut Open<W>> {
        if let Some(out) = self.out.take() {
            let mut properties = self.properties.clone().into_builder();
            for (index, field) in self.schema.fields().iter().enumerate() {
                let columns = self.waiting.iter().map(|rows| rows.column(index));
                if is_varied(columns) {
                    let path = ColumnPath::from(vec![field.name().clone()]);
                    properties = properties.set_column_dictionary_enabled(path, false);
                }
            }
            // Without Arrow's own schema in the file every reader sees plain text, not text views.
            let options = ArrowWriterOptions::new()
                .with_properties(properties.build())
                .with_skip_arrow_metadata(true);
            let schema = Arc::clone(&self.schema);
            let writer = ArrowWriter::try_new_with_options(out, schema, options)?;
            let (writer, factory) = writer.into_serialized_writer()?;
            self.open = Some(Open { writer, factory, n_groups: 0 });
        }
        let closed = || ParquetError::General("the file is closed".to_owned());
        self.open.as_mut().ok_or_else(closed)
    }

    fn begin_group(&mut self) -> Result<()> {
        let mut columns: Vec<Vec<ArrowColumnWriter>> = Vec::new();
        columns.resize_with(self.schema.fields().len(), Vec::new);
        let open = self.open()?;
        let writers = open.factory.create_column_writers(open.n_groups)?;
        let descriptor = open.writer.schema_descr();
        for (leaf, writer) in writers.into_iter().enumerate() {
            columns[descriptor.get_column_root_idx(leaf)].push(writer);
        }
        self.columns = columns;
        Ok(())
    }

    /// Adds rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let n = (batch.num_rows() - from).min(self.most_rows() - self.n_rows);
            self.waiting.push(batch.slice(from, n));
            from += n;
            self.n_waiting += n;
            self.n_rows += n;
            if self.n_rows == self.most_rows() {
                self.end_group()?;
            } else if self.n_waiting >= ROWS {
                self.encode()?;
            }
        }
        Ok(())
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        if self.columns.is_empty() {
            self.begin_group()?;
        }
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
        let columns = std::mem::take(&mut self.columns);
        let open = self.open()?;
        let mut group = open.writer.next_row_group()?;
        for writer in columns.into_iter().flatten() {
            writer.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        open.n_groups += 1;
        self.n_rows = 0;
        Ok(())
    }

    /// Ends the file and returns what it was written to.
    pub(super) fn close(mut self) -> Result<W> {
        if self.n_rows > 0 {
            self.end_group()?;
        }
        self.open()?;
        let closed = || ParquetError::General("the file is closed".to_owned());
        self.open.ok_or_else(closed)?.writer.into_inner()
    }
}

/// Says whether most values of a column of text stand there once.
fn is_varied<'a>(columns: impl Iterator<Item = &'a ArrayRef>) -> bool {
    const ENOUGH: usize = 1000;
    let texts = columns.filter_map(|column| column.as_string_view_opt());
    let mut n_texts = 0;
    let mut distinct = ahash::AHashSet::new();
    for text in texts.flat_map(|column| column.iter().flatten()) {
        n_texts += 1;
        distinct.insert(text);
    }
    n_texts >= ENOUGH && distinct.len() > n_texts / 2
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

/// Does pieces of work on all cores that are free; returns when all are done, with the first error.
fn on_all_cores<F: FnOnce() -> Result<()> + Send>(
    work: impl Iterator<Item = F> + Send,
) -> Result<()> {
    let n_cores = cores::free();
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
    use datafusion::arrow::datatypes::{Field, Int64Type};
    use datafusion::arrow::util::pretty::pretty_format_batches;
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

    fn properties() -> WriterProperties {
        WriterProperties::builder().set_max_row_group_row_count(Some(1000)).build()
    }

    #[test]
    fn every_row_comes_back_in_its_place_in_groups_of_the_size_asked_for() {
        let all = rows(2500);
        let file = tempfile::tempfile().unwrap();
        let out = file.try_clone().unwrap();
        let mut writer = ParquetFile::new(out, &all.schema(), properties());
        for from in (0..2500).step_by(700) {
            writer.write(&all.slice(from, 700.min(2500 - from))).unwrap();
        }
        writer.close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let groups = reader.metadata().row_groups().iter().map(|group| group.num_rows());
        assert_eq!(groups.collect::<Vec<_>>(), [1000, 1000, 500]);
        let read: Vec<RecordBatch> = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
        let read = concat_batches(&read[0].schema(), &read).unwrap();
        // Names of the fields in lists and whether they may be null are Arrow's own.
        let shown = |rows| pretty_format_batches(&[rows]).unwrap().to_string();
        assert_eq!(shown(read), shown(all));
    }

    #[test]
    fn only_columns_that_repeat_themselves_get_a_dictionary() {
        let many: StringViewArray = (0..4000).map(|n| Some(format!("text {n}"))).collect();
        let few: StringViewArray = (0..4000).map(|n| Some(format!("text {}", n % 9))).collect();
        let columns: [(&str, ArrayRef); 2] = [("many", Arc::new(many)), ("few", Arc::new(few))];
        let all = RecordBatch::try_from_iter(columns).unwrap();
        let file = tempfile::tempfile().unwrap();
        let out = file.try_clone().unwrap();
        let mut writer = ParquetFile::new(out, &all.schema(), properties());
        writer.write(&all).unwrap();
        writer.close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for group in reader.metadata().row_groups() {
            let has = |column: usize| group.column(column).dictionary_page_offset().is_some();
            assert_eq!((has(0), has(1)), (false, true));
        }
    }

    #[test]
    fn an_empty_file_still_has_its_columns() {
        let file = tempfile::tempfile().unwrap();
        let schema = rows(0).schema();
        let out = file.try_clone().unwrap();
        ParquetFile::new(out, &schema, properties()).close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!((reader.metadata().num_row_groups(), reader.schema().fields().len()), (0, 4));
    }

    #[test]
    fn an_error_on_any_core_is_an_error() {
        let broken = || ParquetError::General("broken".to_owned());
        let work = (0..9).map(|n| move || if n == 7 { Err(broken()) } else { Ok(()) });
        assert!(on_all_cores(work).is_err());
    }
}
