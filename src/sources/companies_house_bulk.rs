//! `companies_house_bulk`: the monthly register of live companies.

use std::sync::Arc;

use scan::Dialect;
use serde::Deserialize;

use super::contract::Contract;
use super::input::{self, Part};
use super::layout::{Layout, find_parts};
use super::{BuildSource, Source};
use crate::context::BuildContext;
use crate::spec::{Code, Diagnostic, Text};
use crate::table::{built_in, days_since_1970};

/// Reads a snapshot of the register ("BasicCompanyData") that Companies House publishes each
/// month: one row a live company. Its 55 columns keep the order of the file and get the names of
/// `schemas/basic_company_data.yaml`; files from before 2016 have 53, the other two are null. The
/// last column is `snapshot_date`, from the name of the file.
///
/// ```yaml
/// sources:
///   register:
///     companies_house_bulk: { file: ./BasicCompanyDataAsOneFile-2026-11-01.zip }
///     contract: { on_bad_row: reject, at_most: 1% }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompaniesHouseBulk {
    /// The snapshot as published (`.zip`), unpacked (`.csv`), or a glob of its parts.
    pub file: Text,
    /// The day of the snapshot, if the file's name does not hold it.
    #[serde(default)]
    pub snapshot_date: Option<Text>,
}

impl BuildSource for CompaniesHouseBulk {
    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if self.file.raw() == "latest" || self.file.raw().contains("://") {
            let message = "fetching the file is reserved for a later version";
            let fault = Diagnostic::error(Code::Reserved, message, self.file.at());
            context.found.push(fault.help(
                "download it from http://download.companieshouse.gov.uk/en_output.html and give its path",
            ));
            return None;
        }
        let given = self.given_date(context);
        let parts = find_parts(&self.file, &input::is_table, context);
        let day = |part: &Part| given.or_else(|| date_in_name(part));
        if let Some(part) = parts.iter().find(|part| day(part).is_none()) {
            let message = format!("no date in the name `{}`: `snapshot_date` is null", part.name());
            let fault = Diagnostic::warning(Code::File, message, self.file.at());
            context.found.push(fault.help("give it: `snapshot_date: 2026-11-01`"));
        }
        let mut days: Vec<i32> = parts.iter().filter_map(day).collect();
        days.dedup();
        if days.len() > 1 {
            let names: Vec<String> = parts.iter().map(Part::file_name).collect();
            let names = crate::spec::list(names.iter().map(String::as_str));
            let message = format!("files of several snapshots: {names}");
            let fault = Diagnostic::error(Code::File, message, self.file.at());
            context.found.push(fault.help("name the file, or the parts, of one month"));
        }
        let known = built_in("basic_company_data").map(|schema| schema.columns);
        let layout =
            Layout { dialect: Dialect::default(), has_header: true, known, at: &self.file };
        layout.build(parts, contract, context, Some(("snapshot_date", &day)))
    }
}

impl CompaniesHouseBulk {
    fn given_date(&self, context: &mut BuildContext<'_>) -> Option<i32> {
        let text = self.snapshot_date.as_ref()?;
        match context.text(text)?.parse() {
            Ok(date) => Some(days_since_1970(date)),
            Err(_) => {
                let message = format!("`{}` is not a date such as `2026-11-01`", text.raw());
                context.found.push(Diagnostic::error(Code::BadValue, message, text.at()));
                None
            }
        }
    }
}

/// Finds the day in `BasicCompanyData-2026-11-01-part1_7.csv`, in the name of the file or else of
/// the archive around it.
fn date_in_name(part: &Part) -> Option<i32> {
    let archive = part.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    [part.file_name(), archive].iter().find_map(|name| date_in(name))
}

fn date_in(name: &str) -> Option<i32> {
    let starts = name.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(start, _)| start);
    for start in starts {
        let date = name.get(start..start + 10).and_then(|text| text.parse().ok());
        if let Some(date) = date {
            return Some(days_since_1970(date));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_day_in_the_name() {
        assert_eq!(date_in("BasicCompanyDataAsOneFile-1970-01-02.zip"), Some(1));
        assert_eq!(date_in("BasicCompanyData-1970-01-02-part1_7.csv"), Some(1));
        assert_eq!(date_in("register-2026.csv"), None);
        assert_eq!(date_in("é1970-01-02é"), Some(1));
        assert_eq!(date_in("1970-13-02"), None);
    }
}
