//! `pipeline sandbox`.

mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Format, Surroundings, output};
use crate::error::{Error, Result};
use crate::sandbox::{self, Broken, Date, Snapshot, Written};
use crate::table::date_in;

/// Make up data to try pipelines on.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Snapshot(SnapshotArguments),
    Serve(Box<serve::Arguments>),
}

/// Write a made-up register of companies in the form of BasicCompanyData.
///
/// The same arguments always write the same bytes. No company in it exists: numbers are from
/// ranges that were never issued, names say SPECIMEN, postcodes are in areas that do not exist.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline sandbox snapshot --rows 10000 --out BasicCompanyData-2026-11-01.csv
  pipeline sandbox snapshot --rows 5689367 --out BasicCompanyDataAsOneFile-2026-11-01.zip")]
struct SnapshotArguments {
    /// How many companies.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// Which register: another seed makes up other companies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The day of the snapshot, the first of a month; a later one is the same register, later.
    /// That of the name in `--out` otherwise, or 2026-11-01.
    #[arg(long, value_parser = first_of_month)]
    date: Option<Date>,
    /// Where to write it; a name that ends in `.zip` is packed.
    #[arg(long)]
    out: PathBuf,
    /// Add broken rows of every form, one in a thousand and one of each form at least.
    #[arg(long)]
    broken: bool,
}

fn first_of_month(text: &str) -> std::result::Result<Date, String> {
    let date: jiff::civil::Date = text.parse().map_err(|_| "not a date".to_owned())?;
    if date.day() != 1 {
        return Err("not the first of a month".to_owned());
    }
    let parts = (i32::from(date.year()), date.month() as u32, date.day() as u32);
    Date::new(parts.0, parts.1, parts.2).ok_or_else(|| "not a date".to_owned())
}

/// Finds the day of a snapshot in the name of its file.
fn date_in_name(out: &Path) -> Result<Option<Date>> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let Some(date) = date_in(&name) else { return Ok(None) };
    let fault = |why| Error::user(format!("`{date}` in the name `{name}` is {why}"));
    first_of_month(&date.to_string()).map(Some).map_err(fault)
}

pub(super) async fn run(arguments: Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    match arguments.command {
        Command::Snapshot(arguments) => snapshot(arguments, surroundings),
        Command::Serve(arguments) => serve::run(*arguments, surroundings).await,
    }
}

fn snapshot(arguments: SnapshotArguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let broken = if arguments.broken { Broken::EveryForm } else { Broken::None };
    let SnapshotArguments { rows, seed, date, out, .. } = arguments;
    let date = match date.map_or_else(|| date_in_name(&out), |date| Ok(Some(date)))? {
        Some(date) => date,
        None => first_of_month("2026-11-01").map_err(Error::internal)?,
    };
    let snapshot = Snapshot { rows, seed, date, broken };
    let target = match surroundings.is_quiet || !output::is_watched() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let style = ProgressStyle::with_template("  {bar:24}  {pos}/{len} rows  {per_sec}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(rows), target).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    let written = sandbox::write_file(&snapshot, &out, &mut |rows| bar.set_position(rows));
    bar.finish_and_clear();
    let written = written.map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidInput => Error::user(e.to_string()),
        _ => Error::io(&out, e),
    })?;
    show(&written, &out, surroundings);
    Ok(ExitCode::SUCCESS)
}

fn show(written: &Written, out: &Path, surroundings: &Surroundings) {
    if matches!(surroundings.format, Some(Format::Json | Format::Ndjson)) {
        let broken: Vec<_> = written
            .broken
            .iter()
            .map(|(form, line)| serde_json::json!({ "form": format!("{form:?}"), "line": line }))
            .collect();
        let json = serde_json::json!({
            "file": out, "rows": written.rows, "bytes": written.bytes,
            "strike_off": written.strike_off, "broken": broken,
        });
        output::print(&format!("{json}\n"));
    } else if !surroundings.is_quiet {
        output::say(&format!(
            "{}: {} rows, {} with a proposal to strike off, {} bytes of CSV, {} broken",
            out.display(),
            written.rows,
            written.strike_off,
            written.bytes,
            written.broken.len()
        ));
    }
}
