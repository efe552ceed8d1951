//! `csv`: files of delimited text.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use scan::Dialect;
use schemars::JsonSchema;
use serde::Deserialize;

use super::contract::Contract;
use super::layout::{Layout, find_parts};
use super::{BuildSource, Elsewhere, Source, input, looked_into};
use crate::context::{BuildContext, FetchContext, download_folder, read_text};
use crate::error::{Error, Result};
use crate::fetch::{Kept, file_name, is_address};
use crate::spec::{Code, Diagnostic, Located, Scope, Text};
use crate::table::{TableSchema, built_in};

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
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Csv {
    /// A file, a glob, an `https://` address, or `-` for standard input (which is read once, by a
    /// run). `.gz`, `.zst` and `.zip` are unpacked.
    pub path: Text,
    /// The folder that keeps a downloaded file; `downloads` beside the pipeline file otherwise.
    #[serde(default)]
    pub download_to: Option<Text>,
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

#[async_trait]
impl BuildSource for Csv {
    fn takes_kept_rows(&self) -> bool {
        true
    }

    fn elsewhere(&self, scope: &Scope) -> Option<Elsewhere> {
        let from = self.path.resolve(scope).ok().flatten().filter(|path| is_address(path))?;
        let kept = download_folder(self.download_to.as_ref(), scope).join(file_name(&from));
        Some(Elsewhere { from, kept: kept.is_file().then_some(kept) })
    }

    fn looks_into(&self, scope: &Scope) -> Vec<PathBuf> {
        let is_file = |text: &&Text| {
            let text = text.resolve(scope).ok().flatten().unwrap_or_default();
            text != "-" && !is_address(&text) && built_in(&text).is_none()
        };
        let files = std::iter::once(&self.path).chain(&self.schema).filter(is_file);
        files.flat_map(|text| looked_into(text, scope)).collect()
    }

    async fn fetch(&self, context: &FetchContext<'_>) -> Result<Option<Kept>> {
        let Some(address) = context.text(&self.path).filter(|path| is_address(path)) else {
            return Ok(None);
        };
        let folder = context.folder(self.download_to.as_ref());
        let kept = context.file(&address, &folder, &input::check_whole).await?;
        let missing = || Error::external(format!("`{address}`: there is no such file"));
        kept.ok_or_else(missing).map(Some)
    }

    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if let Some(folder) = &self.download_to {
            context.output(folder)?;
        }
        let dialect = self.dialect(context);
        let schema = match &self.schema {
            Some(schema) => Some(load_schema(schema, context)?),
            None => None,
        };
        let member = self.member(context);
        let is_wanted = move |name: &str| match &member {
            Some(pattern) => pattern.matches(name),
            None => input::is_table(name),
        };
        let parts = find_parts(&self.path, is_address, &is_wanted, context);
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

fn load_schema(schema: &Text, context: &mut BuildContext<'_>) -> Option<TableSchema> {
    let name = context.text(schema)?;
    if let Some(schema) = built_in(&name) {
        return Some(schema);
    }
    let path = context.path(schema)?;
    let loaded = read_text(&path)
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
