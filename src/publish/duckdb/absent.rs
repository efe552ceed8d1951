//! What a build without DuckDB does: it says so.

use std::path::Path;

use super::super::table::{Merged, TableMerge};
use crate::error::{Error, Result};

fn absent() -> Error {
    Error::user("this build of pipeline has no DuckDB")
        .because("build it with `--features duckdb` (README.md)")
}

pub(super) fn merge(_: &TableMerge) -> Result<Merged> {
    Err(absent())
}

pub(super) fn check_keys(_: &Path, _: &[String]) -> Result<(u64, u64, Option<String>)> {
    Err(absent())
}

pub(super) fn copy(_: &str, _: &[(String, &Path)], _: &[(String, String)], _: &Path) -> Result<()> {
    Err(absent())
}

pub(super) fn has_table(_: &Path, _: &str) -> Result<bool> {
    Err(absent())
}
