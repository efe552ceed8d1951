//! The files of a source and their columns: found, their headers matched with what is expected.
//! What `csv` and `companies_house_bulk` have in common before a row is read.

use std::sync::Arc;

use scan::Dialect;

use super::Source;
use super::contract::{CheckedColumn, Contract};
use super::delimited::{Delimited, DelimitedPart, first_record, match_header};
use super::input::{self, Part};
use super::replayed::Replayed;
use crate::context::{BuildContext, Files, KeptRow};
use crate::fetch::unknown_scheme;
use crate::spec::{Code, Diagnostic, Text};
use crate::table::{Column, is_date_format, snake_case};

/// Finds the parts that a path means; notes when they are not there. What is elsewhere is only
/// there when a run has got it.
pub(super) fn find_parts(
    path: &Text,
    is_elsewhere: fn(&str) -> bool,
    is_wanted: &dyn Fn(&str) -> bool,
    context: &mut BuildContext<'_>,
) -> Vec<Part> {
    let text = path.resolve(context.scope).ok().flatten().unwrap_or_default();
    if let Some(scheme) = unknown_scheme(&text) {
        let message = format!("files are not read from `{scheme}://`");
        let fault = Diagnostic::error(Code::BadValue, message, path.at());
        let help = "`https://` is; an object store gives such an address for a file";
        context.found.push(fault.help(help));
        return Vec::new();
    }
    let path_given = match context.fetched {
        _ if context.files == Files::AreNotRead => None,
        Some(fetched) => Some(fetched.to_owned()),
        None if is_elsewhere(&text) => {
            if context.files == Files::MustExist {
                let fault = Diagnostic::error(Code::File, "the file was not downloaded", path.at());
                context.found.push(fault);
            }
            None
        }
        None => context.path(path),
    };
    match path_given.map(|path| input::find(&path, is_wanted)) {
        Some(Ok(parts)) => parts,
        Some(Err(error)) => {
            context.found.push(not_there(error.to_string(), path, context));
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// A missing file stops a run, and is no more than a warning to a check.
pub(super) fn not_there(message: String, at: &Text, context: &BuildContext<'_>) -> Diagnostic {
    match context.files {
        Files::MustExist => Diagnostic::error(Code::File, message, at.at()),
        _ => Diagnostic::warning(Code::File, message, at.at()),
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
        let headers = self.headers(&parts, context)?;
        let (parts, headers) = match context.kept {
            Some(kept) => self.kept_parts(kept, &parts, headers),
            None => (parts, headers),
        };
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
        let source = Delimited {
            name,
            parts,
            dialect: self.dialect,
            has_header: self.has_header,
            columns,
            day_column: day.map(|(name, _)| name),
        };
        Some(match context.kept {
            Some(kept) => Arc::new(Replayed::new(source, kept)),
            None => Arc::new(source),
        })
    }

    /// Reads the first record of each file; notes one that has none.
    fn headers(&self, parts: &[Part], context: &mut BuildContext<'_>) -> Option<Vec<Vec<String>>> {
        let mut headers = Vec::new();
        for part in parts {
            // A check must not wait for standard input.
            if part.is_stdin() && context.files != Files::MustExist {
                return None;
            }
            let message = match first_record(part, self.dialect) {
                Ok(Some(header)) => {
                    headers.push(header);
                    continue;
                }
                Ok(None) => format!("`{}` is empty: not even a header", part.name()),
                Err(error) => error.to_string(),
            };
            context.found.push(Diagnostic::error(Code::File, message, self.at.at()));
            return None;
        }
        Some(headers)
    }

    /// Returns the files from which kept rows came, each with its first record: that of the file
    /// while it is there, or else that of the source's first file, or else the table schema.
    fn kept_parts(
        &self,
        kept: &[KeptRow],
        current: &[Part],
        headers: Vec<Vec<String>>,
    ) -> (Vec<Part>, Vec<Vec<String>>) {
        let known = |columns: &Vec<Column>| columns.iter().map(|c| c.header().to_owned()).collect();
        let stand_in = headers.into_iter().next().or_else(|| self.known.as_ref().map(known));
        let mut names: Vec<&str> = kept.iter().map(|row| row.file.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut parts = Vec::new();
        for name in names {
            let part = match (name, current.first()) {
                ("", Some(first)) => first.clone(),
                _ => Part::named(name),
            };
            let own = part.path.is_file().then(|| first_record(&part, self.dialect).ok().flatten());
            if let Some(header) = own.flatten().or_else(|| stand_in.clone()) {
                parts.push((part, header));
            }
        }
        parts.into_iter().unzip()
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
        columns: &[CheckedColumn],
        part: &Part,
        names: &[String],
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) {
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

fn check_formats(columns: &[CheckedColumn], at: &Text, context: &mut BuildContext<'_>) {
    for (column, _) in columns {
        let format = column.format();
        if !is_date_format(format) {
            let message = format!("column `{}`: `{format}` is not a date format", column.name);
            context.found.push(
                Diagnostic::error(Code::BadValue, message, at.at())
                    .help("write it with `dd`, `mm` and `yyyy`, as `dd/mm/yyyy`"),
            );
        }
    }
}
