//! How far a run is: bars on a terminal, a line every 30 seconds otherwise.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output;
use crate::engine::Progress;
use crate::fetch::Meter;

/// Shows the progress of a run until it is dropped.
pub(super) async fn show(progress: Progress, is_quiet: bool) {
    match (is_quiet, output::is_watched()) {
        (true, _) => std::future::pending().await,
        (false, true) => bars(progress).await,
        (false, false) => lines(progress).await,
    }
}

async fn bars(progress: Progress) {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let bars: Vec<ProgressBar> = progress
        .now()
        .iter()
        .map(|source| {
            let (bar, template) = match source.size {
                Some(size) => (
                    ProgressBar::new(size),
                    "  {prefix}  {bar:24}  {bytes}/{total_bytes}  {msg}  {eta} left",
                ),
                None => (ProgressBar::new_spinner(), "  {prefix}  {spinner}  {msg}"),
            };
            let style = ProgressStyle::with_template(template);
            let bar = all.add(bar).with_prefix(source.node.clone());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        })
        .collect();
    let asked = all.add(ProgressBar::new_spinner());
    asked.set_style(
        ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let cleared = Cleared(all);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let lookups = progress.lookups().into_iter().map(|line| format!("  {line}"));
        asked.set_message(lookups.collect::<Vec<_>>().join("\n"));
        for (bar, source) in bars.iter().zip(progress.now()) {
            let seconds = bar.elapsed().as_secs_f64().max(0.001);
            let rate = source.rows as f64 / seconds / 1000.0;
            let rejected = match source.rejected {
                0 => String::new(),
                n => format!("  {n} rejected"),
            };
            bar.set_position(source.bytes.min(source.size.unwrap_or(u64::MAX)));
            bar.set_message(format!("{} rows  {rate:.0}k/s{rejected}", source.rows));
        }
        let _ = &cleared;
    }
}

/// Shows how far a download is until it is dropped; on a terminal only.
pub(super) async fn show_download(meter: &Meter, is_quiet: bool) {
    if is_quiet || !output::is_watched() {
        return std::future::pending().await;
    }
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let template = "  downloading  {bar:24}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let waiting = ProgressStyle::with_template("  {spinner}  asking for the file  {elapsed}");
    let waiting = waiting.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = all.add(ProgressBar::new(0));
    let cleared = Cleared(all);
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let (bytes, size) = meter.now();
        if bytes == 0 {
            bar.set_style(waiting.clone());
            bar.tick();
            continue;
        }
        bar.set_style(style.clone());
        bar.set_length(size.max(bytes));
        bar.set_position(bytes);
        let _ = &cleared;
    }
}

/// Takes the bars off the screen when the run ends.
struct Cleared(MultiProgress);

impl Drop for Cleared {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = self.0.clear();
    }
}

async fn lines(progress: Progress) {
    let mut ticks = tokio::time::interval(Duration::from_secs(30));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for source in progress.now() {
            let share = match source.size {
                Some(size) if size > 0 => format!("{}% ", source.bytes * 100 / size),
                _ => String::new(),
            };
            output::say(&format!(
                "{}: {share}{} rows, {} rejected",
                source.node, source.rows, source.rejected
            ));
        }
        for line in progress.lookups() {
            output::say(&line);
        }
    }
}
