//! `companies_house_bulk`: the monthly register of live companies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use scan::Dialect;
use schemars::JsonSchema;
use serde::Deserialize;

use super::contract::Contract;
use super::input::{self, Part};
use super::layout::{Layout, find_parts};
use super::{BuildSource, Elsewhere, Source, looked_into};
use crate::context::{BuildContext, FetchContext, Fills, download_folder};
use crate::error::{Error, Result};
use crate::fetch::{Kept, file_name, is_address};
use crate::spec::{Code, Diagnostic, Located, Scope, Share, Text, is_id};
use crate::table::{built_in, date_in, days_since_1970};

/// Reads a snapshot of the register ("BasicCompanyData") that Companies House publishes each
/// month: one row a live company. Its 55 columns keep the order of the file and get the names of
/// `schemas/basic_company_data.yaml`; files from before 2016 have 53, the other two are null. The
/// last column is `snapshot_date`, from the name of the file.
///
/// `latest` is the newest snapshot of the page on which they are listed. The snapshot of a month
/// shows the register at the end of the month before and appears within five working days; until
/// then `latest` is the one before. A snapshot is downloaded once, the rest of it after a cut, and
/// again only when it changes.
///
/// ```yaml
/// sources:
///   register:
///     companies_house_bulk: { file: latest }
///     contract: { on_bad_row: reject, at_most: 1% }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompaniesHouseBulk {
    /// The snapshot: `latest`, a month as `2026-11`, an address, or a path: as published (`.zip`),
    /// unpacked (`.csv`), or a glob of its parts.
    pub file: Text,
    /// The folder that keeps downloaded snapshots; `downloads` beside the pipeline file otherwise.
    #[serde(default)]
    pub download_to: Option<Text>,
    /// Where Companies House publishes; `https://download.companieshouse.gov.uk` otherwise.
    #[serde(default)]
    pub base_url: Option<Text>,
    /// The day of the snapshot, if the file's name does not hold it.
    #[serde(default)]
    pub snapshot_date: Option<Text>,
    /// Streams, as `pipeline.source`, whose gaps it fills: those found until the day of the snapshot
    /// are closed when a run has read it.
    #[serde(default)]
    pub fills_gaps_of: Vec<Located<String>>,
}

#[async_trait]
impl BuildSource for CompaniesHouseBulk {
    fn takes_kept_rows(&self) -> bool {
        true
    }

    /// The register grows: one that lost a tenth in a month is not all of it.
    fn shrink_at_most(&self) -> Option<Share> {
        Share::parse("10%").ok()
    }

    fn elsewhere(&self, scope: &Scope) -> Option<Elsewhere> {
        let file = self.file.resolve(scope).ok().flatten().filter(|file| is_elsewhere(file))?;
        let folder = download_folder(self.download_to.as_ref(), scope);
        let base = self.publisher(scope);
        let (from, kept) = match month(&file) {
            _ if is_address(&file) => (file.clone(), Some(folder.join(file_name(&file)))),
            Some(month) => {
                let name = format!("{NAME}{month}.zip");
                (format!("{base}/{name}"), Some(folder.join(name)))
            }
            None => (format!("{base}, its newest snapshot"), newest_in(&folder)),
        };
        Some(Elsewhere { from, kept: kept.filter(|path| path.is_file()) })
    }

    fn looks_into(&self, scope: &Scope) -> Vec<PathBuf> {
        match self.elsewhere(scope) {
            Some(_) => Vec::new(),
            None => looked_into(&self.file, scope),
        }
    }

    async fn fetch(&self, context: &FetchContext<'_>) -> Result<Option<Kept>> {
        let Some(file) = context.text(&self.file).filter(|file| is_elsewhere(file)) else {
            return Ok(None);
        };
        let folder = context.folder(self.download_to.as_ref());
        if is_address(&file) {
            let missing = || Error::external(format!("`{file}`: there is no such file"));
            let kept = context.file(&file, &folder, &input::check_whole).await?;
            return kept.ok_or_else(missing).map(Some);
        }
        let base = &self.publisher(context.scope);
        let months = match month(&file) {
            Some(month) => vec![month],
            None => candidates(base, context).await.to_vec(),
        };
        for month in &months {
            let address = format!("{base}/{NAME}{month}.zip");
            let kept = context.file(&address, &folder, &input::check_whole).await;
            let kept = kept.map_err(|error| {
                let message = "the register cannot be downloaded; is there a network? A file that is \
                               there can be given by its path";
                Error::new(error.kind(), message).because(error)
            })?;
            if let Some(kept) = kept {
                return Ok(Some(kept));
            }
        }
        let asked: Vec<String> = months.iter().map(ToString::to_string).collect();
        let message = format!("{base} has no snapshot of {}", asked.join(", "));
        Err(Error::external(message)
            .because("they appear within five working days of a month's end"))
    }

    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        if let Some(folder) = &self.download_to {
            context.output(folder)?;
        }
        let given = self.given_date(context);
        let parts = find_parts(&self.file, is_elsewhere, &input::is_table, context);
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
        self.fill(days.first().copied(), context);
        let known = built_in("basic_company_data").map(|schema| schema.columns);
        let layout =
            Layout { dialect: Dialect::default(), has_header: true, known, at: &self.file };
        layout.build(parts, contract, context, Some(("snapshot_date", &day)))
    }
}

/// Where snapshots are published, free of charge and without a key.
const PUBLISHER: &str = "https://download.companieshouse.gov.uk";

/// What the name of a snapshot in one file begins with; its day and `.zip` follow.
const NAME: &str = "BasicCompanyDataAsOneFile-";

/// Says whether the file of a snapshot is got from elsewhere.
fn is_elsewhere(file: &str) -> bool {
    file == "latest" || month(file).is_some() || is_address(file)
}

/// Reads a month such as `2026-11`, as its first day.
fn month(text: &str) -> Option<Date> {
    (text.len() == 7).then(|| format!("{text}-01").parse().ok())?
}

/// Returns the days of the snapshots that may be the newest one, the newest first: the newest that
/// the page lists, or that of this month when the page cannot be read, and the one before.
async fn candidates(base: &str, context: &FetchContext<'_>) -> [Date; 2] {
    let listed = match context.http.page(&format!("{base}/en_output.html")).await {
        Ok(page) => page.and_then(|page| days_in(&page).into_iter().max()),
        Err(error) => {
            tracing::info!(%error, "the list of snapshots cannot be read");
            None
        }
    };
    let newest = listed.unwrap_or(context.today).first_of_month();
    [newest, newest.yesterday().map_or(newest, Date::first_of_month)]
}

/// Finds the days of the snapshots that a page links to.
fn days_in(page: &str) -> Vec<Date> {
    let names = page.split(NAME).skip(1);
    names
        .filter_map(|rest| rest.get(..10)?.parse().ok().filter(|_| rest[10..].starts_with(".zip")))
        .collect()
}

/// Finds the newest snapshot that a folder keeps.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_snapshot = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        days_in(&name).len() == 1 && name.starts_with(NAME) && name.ends_with(".zip")
    };
    entries.filter(is_snapshot).max()
}

impl CompaniesHouseBulk {
    /// Returns where snapshots are published.
    fn publisher(&self, scope: &Scope) -> String {
        let base = self.base_url.as_ref().and_then(|base| base.resolve(scope).ok().flatten());
        let base = base.unwrap_or_else(|| PUBLISHER.to_owned());
        base.trim_end_matches('/').to_owned()
    }

    /// Says whose gaps a snapshot of a day fills.
    fn fill(&self, day: Option<i32>, context: &mut BuildContext<'_>) {
        let mut streams = Vec::new();
        for written in &self.fills_gaps_of {
            match written.split_once('.') {
                Some((pipeline, source)) if is_id(pipeline) && is_id(source) => {
                    streams.push((pipeline.to_owned(), source.to_owned()));
                }
                _ => {
                    let message = format!("`{}` is no source of a pipeline", written.value);
                    let fault = Diagnostic::error(Code::BadValue, message, written.at);
                    context.found.push(fault.help("write `pipeline.source`"));
                }
            }
        }
        let since_1970 = |day: i32| {
            let span = jiff::Span::new().try_days(i64::from(day)).ok()?;
            jiff::civil::date(1970, 1, 1).checked_add(span).ok()
        };
        if let Some(day) = day.and_then(since_1970).filter(|_| !streams.is_empty()) {
            context.fills = Some(Fills { streams, day });
        }
    }

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
    [part.file_name(), archive].iter().find_map(|name| date_in(name)).map(days_since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_snapshots_that_a_page_lists() {
        let page = "<a href=\"BasicCompanyDataAsOneFile-2026-11-01.zip\">x</a> \
                    <a href='BasicCompanyDataAsOneFile-2026-10-01.zip'>y</a> \
                    BasicCompanyDataAsOneFile-2026-13-01.zip BasicCompanyDataAsOneFile-é";
        let days: Vec<String> = days_in(page).iter().map(ToString::to_string).collect();
        assert_eq!(days, ["2026-11-01", "2026-10-01"]);
    }

    #[test]
    fn tells_paths_from_what_is_elsewhere() {
        for text in ["latest", "2026-11", "https://example.org/a.zip"] {
            assert!(is_elsewhere(text), "{text}");
        }
        for text in ["./latest", "2026-11.csv", "2026-13", "a.zip"] {
            assert!(!is_elsewhere(text), "{text}");
        }
    }
}
