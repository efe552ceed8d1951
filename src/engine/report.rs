//! What a run did: the closing table, and the same as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::state::NodeRun;

/// What one node did.
pub type NodeReport = NodeRun;

/// What a run did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the run.
    pub run_id: String,
    /// `done`, or `dry run`.
    pub status: &'static str,
    /// Seconds that it took.
    pub seconds: f64,
    /// The nodes, in the order in which rows pass them.
    pub nodes: Vec<NodeReport>,
    /// Things that are not wrong and should be known.
    pub notes: Vec<String>,
    /// The folder that paths are shown relative to.
    #[serde(skip)]
    pub working_folder: PathBuf,
}

impl Report {
    /// Returns how many rows its sources gave.
    pub fn rows_of_sources(&self) -> u64 {
        self.nodes.iter().filter(|node| node.family == "source").map(|node| node.rows_out).sum()
    }

    /// Writes the closing table.
    pub fn table(&self) -> String {
        let mut out = format!("{}  run {}  {}\n", self.pipeline, self.run_id, self.status);
        let width = self.nodes.iter().map(|node| node.node.chars().count()).max().unwrap_or(0);
        for node in &self.nodes {
            let is_written = node.family == "sink" && self.status == "done";
            let mark = if is_written { "✓" } else { " " };
            let counts = match &node.merged {
                Some(merged) => {
                    let mut counts = format!(
                        "{} new  {} changed  {} same",
                        grouped(merged.new),
                        grouped(merged.changed),
                        grouped(merged.same)
                    );
                    for (n, word) in [(merged.older, "older"), (merged.gone, "gone")] {
                        if n > 0 {
                            let _ = write!(counts, "  {} {word}", grouped(n));
                        }
                    }
                    counts
                }
                None => format!("{:>12} rows", grouped(node.rows_out)),
            };
            let mut line = format!("{mark} {:<width$}  {counts}", node.node);
            if node.family == "source" && node.seconds >= 0.05 {
                let rate = node.rows_out as f64 / node.seconds;
                let _ = write!(line, "  {}  {}", duration(node.seconds), rate_of(rate));
            }
            line.push_str(&by(&node.ports));
            if node.rejected > 0 {
                let _ = write!(line, "  {} rejected{}", grouped(node.rejected), by(&node.reasons));
            }
            if !node.warnings.is_empty() {
                let _ = write!(line, "  warned{}", by(&node.warnings));
            }
            if !node.detail.is_empty() {
                let _ = write!(line, "  {}", self.shorten(&node.detail));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        let _ = writeln!(out, "  {} in {}", self.status, duration(self.seconds));
        out
    }

    /// Shows a path relative to the folder in which the user is.
    fn shorten(&self, detail: &str) -> String {
        let folder = format!("{}/", self.working_folder.display());
        match detail.strip_prefix(&folder) {
            Some(rest) => format!("./{rest}"),
            None => detail.to_owned(),
        }
    }
}

/// Lists the most frequent reasons; `rejects list` has all of them.
fn by(reasons: &[(String, u64)]) -> String {
    const MOST: usize = 4;
    let (first, others) = reasons.split_at(reasons.len().min(MOST));
    let mut words: String =
        first.iter().map(|(reason, n)| format!("  {reason} {}", grouped(*n))).collect();
    if !others.is_empty() {
        let n = others.iter().map(|(_, n)| n).sum();
        let _ = write!(words, "  {} other reasons {}", others.len(), grouped(n));
    }
    words
}

/// Writes a number with a comma at every third digit.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a long time in the two largest of its units.
pub fn words(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
    }
}

fn rate_of(rate: f64) -> String {
    match rate {
        r if r >= 10_000.0 => format!("{:.0}k/s", r / 1000.0),
        r => format!("{r:.0}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Merged;

    #[test]
    fn shows_what_each_node_did() {
        let node = |node: &str, family, rows_out| NodeRun {
            node: node.into(),
            family,
            rows_out,
            ..NodeRun::default()
        };
        let mut source = node("register", "source", 5_541_203);
        (source.rejected, source.seconds) = (12, 38.0);
        let mut usable = node("usable", "transform", 58_912);
        usable.rejected = 2_568;
        usable.reasons = vec![("old_enough".into(), 2_540), ("named".into(), 28)];
        let mut table = node("lead_table", "sink", 58_912);
        table.merged = Some(Merged { new: 1_204, changed: 310, same: 57_398, older: 0, gone: 986 });
        table.detail = "/work/leads.db, table leads".into();
        let report = Report {
            pipeline: "strike_off_bulk".into(),
            run_id: "01".into(),
            status: "done",
            seconds: 125.0,
            nodes: vec![source, usable, table],
            notes: vec!["nothing arrived at `x`".into()],
            working_folder: "/work".into(),
        };
        insta::assert_snapshot!(report.table(), @r"
        strike_off_bulk  run 01  done
          register       5,541,203 rows  38 s  146k/s  12 rejected
          usable            58,912 rows  2,568 rejected  old_enough 2,540  named 28
        ✓ lead_table  1,204 new  310 changed  57,398 same  986 gone  ./leads.db, table leads
          note: nothing arrived at `x`
          done in 2 min 05 s
        ");
    }

    #[test]
    fn tells_the_most_frequent_reasons_and_how_many_others_there_are() {
        let reasons = |n: u64| (0..n).map(|i| (format!("r{i}"), 9 - i)).collect::<Vec<_>>();
        assert_eq!(by(&reasons(4)), "  r0 9  r1 8  r2 7  r3 6");
        assert_eq!(by(&reasons(6)), "  r0 9  r1 8  r2 7  r3 6  2 other reasons 9");
    }
}
