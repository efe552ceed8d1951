//! The terminal: the only place that writes to standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::Table;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Format;
use crate::error::{Error, Result};

/// Writes a line for people to standard error. A closed terminal is no reason to fail.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes data to standard output. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Takes away what a terminal shows; a file or a pipe keeps everything.
pub(super) fn clear() {
    if io::stdout().is_terminal() {
        print("\x1b[2J\x1b[H");
    }
}

/// Writes texts as a table.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    format!("{table}\n")
}

/// Says whether a person reads standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes rows as they come.
pub(super) struct RowsOut {
    format: Format,
    schema: SchemaRef,
    table: Vec<RecordBatch>,
    n_rows: usize,
}

impl RowsOut {
    /// Begins; without a format people get a table and programs get JSON lines.
    pub(super) fn new(format: Option<Format>, schema: SchemaRef) -> Self {
        let default = if io::stdout().is_terminal() { Format::Table } else { Format::Ndjson };
        Self { format: format.unwrap_or(default), schema, table: Vec::new(), n_rows: 0 }
    }

    /// Writes rows; `false` when nobody reads any more.
    pub(super) fn write(&mut self, batch: RecordBatch) -> Result<bool> {
        let is_first = self.n_rows == 0;
        self.n_rows += batch.num_rows();
        let mut bytes = Vec::new();
        match self.format {
            Format::Table | Format::Json => {
                self.table.push(batch);
                return Ok(true);
            }
            Format::Ndjson => {
                let mut writer = with_nulls().build::<_, LineDelimited>(&mut bytes);
                writer.write(&batch).and_then(|()| writer.finish()).map_err(cannot_show)?;
            }
            // Without rows the header would come again with the next ones.
            Format::Csv if batch.num_rows() == 0 => {}
            Format::Csv => self.csv(&batch, is_first, &mut bytes)?,
        }
        Ok(io::stdout().write_all(&bytes).is_ok())
    }

    /// Ends the output.
    pub(super) fn finish(self) -> Result<()> {
        match self.format {
            Format::Ndjson => {}
            Format::Csv if self.n_rows > 0 => {}
            Format::Csv => {
                let mut bytes = Vec::new();
                self.csv(&RecordBatch::new_empty(self.schema.clone()), true, &mut bytes)?;
                let _ = io::stdout().write_all(&bytes);
            }
            Format::Json => {
                let mut writer = with_nulls().build::<_, JsonArray>(Vec::new());
                for batch in &self.table {
                    writer.write(batch).map_err(cannot_show)?;
                }
                writer.finish().map_err(cannot_show)?;
                let bytes = writer.into_inner();
                print(&String::from_utf8_lossy(if bytes.is_empty() { b"[]" } else { &bytes }));
                print("\n");
            }
            Format::Table => {
                let n_rows = self.n_rows;
                print(&format!("{}\n", self.into_table()?));
                print(&format!("{n_rows} row{}\n", if n_rows == 1 { "" } else { "s" }));
            }
        }
        Ok(())
    }

    fn csv(&self, batch: &RecordBatch, is_first: bool, bytes: &mut Vec<u8>) -> Result<()> {
        let mut writer = csv::Writer::from_writer(bytes);
        let failed = |e: csv::Error| Error::internal("rows cannot be shown").because(e);
        if is_first {
            let names = self.schema.fields().iter().map(|field| field.name());
            writer.write_record(names).map_err(failed)?;
        }
        let options = FormatOptions::default();
        let columns = formatters(batch, &options)?;
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            writer.write_record(values).map_err(failed)?;
        }
        writer.flush().map_err(|e| Error::internal("rows cannot be shown").because(e))
    }

    fn into_table(self) -> Result<Table> {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
        table.set_header(self.schema.fields().iter().map(|field| printable(field.name())));
        let options = FormatOptions::default();
        for batch in &self.table {
            let columns = formatters(batch, &options)?;
            for row in 0..batch.num_rows() {
                table.add_row(columns.iter().map(|c| printable(&c.value(row).to_string())));
            }
        }
        Ok(table)
    }
}

/// JSON in which every row has every column.
fn with_nulls() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true)
}

/// Replaces control characters: a name in the register must not be able to steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '�' } else { c }).collect()
}

fn formatters<'a>(
    batch: &'a RecordBatch,
    options: &'a FormatOptions<'a>,
) -> Result<Vec<ArrayFormatter<'a>>> {
    let columns = batch.columns().iter();
    columns
        .map(|column| ArrayFormatter::try_new(column.as_ref(), options).map_err(cannot_show))
        .collect()
}

fn cannot_show(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::run("rows cannot be shown").because(error)
}
