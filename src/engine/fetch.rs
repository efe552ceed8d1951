//! Before a run: files from elsewhere are got, so that everything after reads what is here.

use std::path::{Path, PathBuf};

use super::check::{Options, check, scope};
use super::file;
use crate::context::FetchContext;
use crate::error::{Error, Result};
use crate::fetch::{Http, Meter};

/// A file that a source got.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The source.
    pub node: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it came just now.
    pub is_new: bool,
    /// What the user should know of it.
    pub warning: Option<String>,
}

/// Gets the files that the sources of a pipeline read from elsewhere, one after the other. A
/// pipeline with mistakes gets none: they show when it is checked.
pub async fn fetch(
    text: &str,
    path: &Path,
    options: &Options,
    meter: &Meter,
) -> Result<Vec<Fetched>> {
    let (file, _) = file::parse(text);
    let mut all: Vec<Fetched> = Vec::new();
    let Some(file) = file else { return Ok(all) };
    let scope = scope(&file, options, path, &mut Vec::new());
    if !file.sources.iter().any(|node| node.kind.settings().elsewhere(&scope).is_some()) {
        return Ok(all);
    }
    let (checked, _) = check(text, path, Options { is_run: false, ..options.clone() }).await;
    let Some(checked) = checked else { return Ok(all) };
    let replayed = options.replay.as_ref().map(|replay| replay.node.as_str());
    let is_read =
        |id: &str| checked.plan.nodes.iter().any(|node| node.id == id) && replayed != Some(id);
    let http = Http::new()?;
    let today = options.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let context = FetchContext { scope: &scope, http: &http, meter, today };
    for node in file.sources.iter().filter(|node| is_read(&node.id)) {
        let id = &node.id.value;
        let kept = node.kind.settings().fetch(&context).await.map_err(|error| error.in_node(id))?;
        let Some(kept) = kept else { continue };
        if let Some(other) = all.iter().find(|other| other.path == kept.path && kept.is_new) {
            let message = format!("`{}` would download to the same file", other.node);
            return Err(Error::user(message).because("give one its own `download_to`").in_node(id));
        }
        let (path, is_new, warning) = (kept.path, kept.is_new, kept.warning);
        all.push(Fetched { node: id.clone(), path, is_new, warning });
    }
    Ok(all)
}
