//! `csv`: files of delimited text.

use std::sync::Arc;

use scan::Dialect;
use serde::Deserialize;

use super::contract::Contract;
use super::delimited::{Delimited, DelimitedPart, first_record, match_header};
use super::input::{self, Part};
use super::{BuildSource, Source};
use crate::context::BuildContext;
use crate::spec::{Code, Diagnostic, Located, Text};
use crate::table::{Column, TableSchema, built_in, snake_case};

/// Reads files of delimited text, plain or packed.
///
/// Without `schema` the columns are those of the header line, as text, under SQL names
/// (`Post Town` becomes `post_town`); `contract.columns` gives them types.
///
/// ```yaml
/// sources:
///   suppressed:
///     csv: { path: ./suppression/*.csv.gz, delimiter: ";" }
///     contract:
///       columns: { email: { type: string, required: true } }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// A file, a glob, or `-` for standard input (which is read once, by a run). `.gz`, `.zst` and `.zip` are unpacked.
    pub path: Text,
    /// The one character between fields.
    #[serde(default)]
    pub delimiter: Option<Located<String>>,
    /// The one character around fields, or an empty text if there is none.
    #[serde(default)]
    pub quote: Option<Located<String>>,
    /// Whether the first line names the columns; they are `column_1`, `column_2` … otherwise.
    #[serde(default = "yes")]
    pub header: bool,
    /// A table schema: the name of a built-in one, or the path of a YAML file.
    #[serde(default)]
    pub schema: Option<Text>,
    /// Which members of a zip archive to read, as a glob; all `*.csv` otherwise.
    #[serde(default)]
    pub member: Option<Located<String>>,
}

fn yes() -> bool {
    true
}

impl BuildSource for Csv {
    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        let dialect = self.dialect(context);
        let schema = match &self.schema {
            Some(schema) => Some(load_schema(schema, context)?),
            None => None,
        };
        let member = self.member(context);
        let path = context.path(&self.path);
        let is_wanted = move |name: &str| match &member {
            Some(pattern) => pattern.matches(name),
            None => input::is_table(name),
        };
        let parts = match path.map(|path| input::find(&path, &is_wanted)) {
            Some(Ok(parts)) => parts,
            Some(Err(error)) => {
                context.found.push(not_there(error.to_string(), &self.path, context));
                Vec::new()
            }
            None => Vec::new(),
        };
        let known = schema.map(|schema| schema.columns);
        let layout = Layout { dialect, has_header: self.header, known, at: &self.path };
        layout.build(parts, contract, context, None)
    }
}

impl Csv {
    fn dialect(&self, context: &mut BuildContext<'_>) -> Dialect {
        let mut dialect = Dialect::default();
        if let Some(delimiter) = &self.delimiter {
            match delimiter.as_bytes() {
                [byte] if byte.is_ascii() => dialect.delimiter = *byte,
                _ => context.found.push(one_character("delimiter", delimiter)),
            }
        }
        if let Some(quote) = &self.quote {
            match quote.as_bytes() {
                [] => dialect.quote = None,
                [byte] if byte.is_ascii() => dialect.quote = Some(*byte),
                _ => context.found.push(one_character("quote", quote)),
            }
        }
        if !dialect.is_sound() {
            let at = self.delimiter.as_ref().or(self.quote.as_ref()).map(|text| text.at);
            let message = "fields cannot be told apart with this delimiter and quote";
            context.found.push(Diagnostic::error(Code::BadValue, message, at.unwrap_or_default()));
            return Dialect::default();
        }
        dialect
    }

    fn member(&self, context: &mut BuildContext<'_>) -> Option<glob::Pattern> {
        let member = self.member.as_ref()?;
        match glob::Pattern::new(member) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let message = format!("not a glob: {error}");
                context.found.push(Diagnostic::error(Code::BadValue, message, member.at));
                None
            }
        }
    }
}

fn one_character(what: &str, text: &Located<String>) -> Diagnostic {
    let message = format!("`{}` is not one ASCII character", text.value);
    Diagnostic::error(Code::BadValue, format!("{what}: {message}"), text.at)
}

/// A missing file stops a run, and is no more than a warning to a check.
pub(super) fn not_there(message: String, at: &Text, context: &BuildContext<'_>) -> Diagnostic {
    match context.files_must_exist {
        true => Diagnostic::error(Code::File, message, at.at()),
        false => Diagnostic::warning(Code::File, message, at.at()),
    }
}

fn load_schema(schema: &Text, context: &mut BuildContext<'_>) -> Option<TableSchema> {
    let name = context.text(schema)?;
    if let Some(schema) = built_in(&name) {
        return Some(schema);
    }
    let path = context.path(schema)?;
    let loaded = std::fs::read_to_string(&path)
        .map_err(|error| {
            format!("no built-in table schema `{name}`, and no file of that name: {error}")
        })
        .and_then(|text| {
            serde_saphyr::from_str::<TableSchema>(&text)
                .map_err(|error| format!("`{}`: {error}", path.display()))
        });
    match loaded {
        Ok(schema) => Some(schema),
        Err(message) => {
            context.found.push(Diagnostic::error(Code::File, message, schema.at()));
            None
        }
    }
}

/// How files of one source are laid out.
pub(super) struct Layout<'a> {
    /// How fields are delimited.
    pub dialect: Dialect,
    /// Whether the first line names the columns.
    pub has_header: bool,
    /// The columns, if a table schema says them.
    pub known: Option<Vec<Column>>,
    /// Where the files are named.
    pub at: &'a Text,
}

/// The column that holds the day of each file, and how to tell that day.
pub(super) type Day<'a> = Option<(&'static str, &'a dyn Fn(&Part) -> Option<i32>)>;

impl Layout<'_> {
    /// Matches each file's header with the columns, and makes the source.
    pub(super) fn build(
        self,
        parts: Vec<Part>,
        contract: &Contract,
        context: &mut BuildContext<'_>,
        day: Day<'_>,
    ) -> Option<Arc<dyn Source>> {
        let mut headers = Vec::new();
        for part in &parts {
            // A check must not wait for standard input.
            if part.is_stdin() && !context.files_must_exist {
                return None;
            }
            match first_record(part, self.dialect) {
                Ok(Some(header)) => headers.push(header),
                Ok(None) => {
                    let message = format!("`{}` is empty: not even a header", part.name());
                    context.found.push(Diagnostic::error(Code::File, message, self.at.at()));
                    return None;
                }
                Err(error) => {
                    let message = error.to_string();
                    context.found.push(Diagnostic::error(Code::File, message, self.at.at()));
                    return None;
                }
            }
        }
        if headers.is_empty() && self.known.is_none() {
            return None;
        }
        let headers = if self.has_header { headers } else { self.numbered(&headers) };
        let columns = self.columns(headers.first(), contract, context);
        let columns = contract.apply(columns, context);
        for (part, names) in parts.iter().zip(&headers) {
            self.compare(&columns, part, names, contract, context);
        }
        check_formats(&columns, self.at, context);
        let name = name_of(&parts, self.at);
        let parts = parts
            .into_iter()
            .zip(&headers)
            .map(|(part, names)| DelimitedPart {
                fields: match_header(&columns, names),
                n_fields: names.len(),
                day: day.and_then(|(_, of)| of(&part)),
                part,
            })
            .collect();
        Some(Arc::new(Delimited {
            name,
            parts,
            dialect: self.dialect,
            has_header: self.has_header,
            columns,
            day_column: day.map(|(name, _)| name),
        }))
    }

    fn numbered(&self, firsts: &[Vec<String>]) -> Vec<Vec<String>> {
        let name = |(index, known): (usize, Option<&Column>)| match known {
            Some(column) => column.header().to_owned(),
            None => format!("column_{}", index + 1),
        };
        let known = self.known.as_deref().unwrap_or_default();
        let names =
            |first: &Vec<String>| (0..first.len()).map(|i| name((i, known.get(i)))).collect();
        firsts.iter().map(names).collect()
    }

    /// Returns the columns in the file's own order, then those that it lacks.
    fn columns(
        &self,
        names: Option<&Vec<String>>,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Vec<Column> {
        let known = self.known.as_deref().unwrap_or_default();
        let Some(names) = names else { return known.to_vec() };
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in names {
            let column = match known.iter().find(|column| column.header() == name) {
                Some(column) => column.clone(),
                None => Column::text(unused(snake_case(name), &columns, known), name),
            };
            if columns.iter().any(|other| other.header() == name) {
                let message = format!("two columns are named `{name}`; only the first is read");
                contract.changed(message, self.at.at(), context);
                continue;
            }
            columns.push(column);
        }
        let missing =
            known.iter().filter(|column| !names.iter().any(|name| name == column.header()));
        columns.extend(missing.cloned());
        columns
    }

    fn compare(
        &self,
        columns: &[super::contract::CheckedColumn],
        part: &Part,
        names: &[String],
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) {
        if names.is_empty() {
            return;
        }
        let known = self.known.as_deref().unwrap_or_default();
        let lacks = columns
            .iter()
            .map(|(column, _)| column)
            .filter(|column| !column.may_be_absent)
            .find(|column| !names.iter().any(|name| name == column.header()));
        if let Some(column) = lacks {
            let message = format!("`{}` has no column `{}`", part.name(), column.header());
            contract.changed(message, self.at.at(), context);
        }
        let further = names.iter().find(|name| {
            let is_known = |column: &&Column| column.header() == name.as_str();
            self.known.is_some() && known.iter().find(is_known).is_none()
        });
        if let Some(name) = further {
            let message = format!("`{}` has a column `{name}` that is not expected", part.name());
            contract.changed(message, self.at.at(), context);
        }
    }
}

/// Names the files of a source together: their folder, or the words of the pipeline file.
fn name_of(parts: &[Part], at: &Text) -> String {
    let folder = parts.first().and_then(|part| part.path.parent());
    folder.map_or_else(|| at.raw().to_owned(), |folder| folder.display().to_string())
}

fn unused(name: String, columns: &[Column], known: &[Column]) -> String {
    let is_used = |name: &str| columns.iter().chain(known).any(|column| column.name == name);
    if !is_used(&name) {
        return name;
    }
    (2..).map(|n| format!("{name}_{n}")).find(|name| !is_used(name)).unwrap_or(name)
}

fn check_formats(
    columns: &[super::contract::CheckedColumn],
    at: &Text,
    context: &mut BuildContext<'_>,
) {
    for (column, _) in columns {
        let format = column.format.as_deref().unwrap_or("yyyy-mm-dd");
        if !crate::table::is_date_format(format) {
            let message = format!("column `{}`: `{format}` is not a date format", column.name);
            context.found.push(
                Diagnostic::error(Code::BadValue, message, at.at())
                    .help("write it with `dd`, `mm` and `yyyy`, as `dd/mm/yyyy`"),
            );
        }
    }
}
