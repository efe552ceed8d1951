//! What a source sees while it gets its files from elsewhere.

use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::error::{Error, Result};
use crate::fetch::{self, Http, Kept, Meter, Wanted};
use crate::spec::{Scope, Text};

/// The surroundings of a source that gets its files.
#[derive(Debug)]
pub struct FetchContext<'a> {
    /// What references in texts mean.
    pub scope: &'a Scope,
    /// The network.
    pub http: &'a Http,
    /// How far a download is.
    pub meter: &'a Meter,
    /// Today, in UTC.
    pub today: Date,
}

/// Where files are kept when a pipeline does not say, beside the pipeline file.
const FOLDER: &str = "downloads";

/// Returns the folder that keeps the files of a source: `download_to`, or the one for all.
pub fn download_folder(download_to: Option<&Text>, scope: &Scope) -> PathBuf {
    let said = download_to.and_then(|text| text.resolve_path(scope).ok().flatten());
    said.unwrap_or_else(|| scope.folder.join(FOLDER))
}

impl FetchContext<'_> {
    /// Resolves a text; `None` when it has a mistake, which shows when the source is built.
    pub fn text(&self, text: &Text) -> Option<String> {
        text.resolve(self.scope).ok().flatten()
    }

    /// Returns the folder in which a source keeps its files.
    pub fn folder(&self, download_to: Option<&Text>) -> PathBuf {
        download_folder(download_to, self.scope)
    }

    /// Gets a file into a folder; `None` when there is no such file. `check` looks through a file
    /// that came, under the name that it will have.
    pub async fn file(
        &self,
        address: &str,
        folder: &Path,
        check: &(dyn Fn(&Path, &str) -> Result<()> + Sync),
    ) -> Result<Option<Kept>> {
        let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
        if !["http", "https"].contains(&scheme) {
            return Err(Error::user(format!("`{scheme}://` is no kind of address that is read"))
                .because("addresses begin with https:// or http://"));
        }
        let name = fetch::file_name(address);
        let check = |path: &Path| check(path, &name);
        let wanted =
            Wanted { address: address.to_owned(), path: folder.join(&name), check: &check };
        fetch::fetch(self.http, &wanted, self.meter).await
    }
}
