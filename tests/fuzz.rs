//! Pipeline files that were damaged at random: a check never panics, and never takes long.
//!
//! Some hundred in the tests; `PIPELINE_FUZZ_SECONDS=3600` goes on for an hour, and
//! `PIPELINE_FUZZ_SEED` begins elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::hostile::options;

/// Damages a text.
struct Damage<'a> {
    rng: TestRng,
    seeds: &'a [String],
    words: Vec<&'a str>,
}

impl<'a> Damage<'a> {
    fn new(seeds: &'a [String], seed: u64) -> Self {
        let is_sign = |c: char| c.is_whitespace() || ",:[]{}()'\"".contains(c);
        let mut words: Vec<&str> =
            seeds.iter().flat_map(|seed| seed.split(is_sign)).filter(|w| !w.is_empty()).collect();
        words.sort_unstable();
        words.dedup();
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes), seeds, words }
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.next_u64() as usize % n.max(1)
    }

    fn text(&mut self) -> String {
        let seed = self.below(self.seeds.len());
        let mut text = self.seeds[seed].clone();
        for _ in 0..self.below(6) + 1 {
            text = self.once(&text);
            // What grows without end is the corpus of hostile files.
            if text.len() > 200_000 {
                break;
            }
        }
        text
    }

    fn once(&mut self, text: &str) -> String {
        const SIGNS: [&str; 24] = [
            ":",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "|",
            ">",
            "&a",
            "*a",
            "!!t",
            "# ",
            "- ",
            "? ",
            "%",
            "\t",
            "\u{0}",
            "é",
            "𝄞",
            "${",
            "$x",
            "(",
            "999999999999999999999",
        ];
        let boundary = |text: &str, mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let mut lines: Vec<&str> = text.lines().collect();
        let (at, other) = (self.below(lines.len()), self.below(lines.len()));
        match self.below(9) {
            0 if !lines.is_empty() => drop(lines.remove(at)),
            1 if !lines.is_empty() => lines.insert(other, lines[at]),
            2 if !lines.is_empty() => lines.swap(at, other),
            3 => {
                let at = self.below(text.len());
                return text[..boundary(text, at)].to_owned();
            }
            4 | 5 => {
                let at = self.below(text.len());
                let at = boundary(text, at);
                let sign = self.below(SIGNS.len());
                return format!("{}{}{}", &text[..at], SIGNS[sign], &text[at..]);
            }
            6 | 7 => {
                let (from, to) = (self.below(self.words.len()), self.below(self.words.len()));
                return text.replacen(self.words[from], self.words[to], 1);
            }
            _ => {
                let (at, len) = (self.below(text.len()), self.below(40));
                let (start, end) = (boundary(text, at), boundary(text, (at + len).min(text.len())));
                return format!("{}{}", &text[..start], &text[end..]);
            }
        }
        lines.join("\n") + "\n"
    }
}

fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "pipelines",
        "pipelines/shared",
        "examples/quickstart",
        "examples/everything",
        "tests/mistakes",
        "src/cli/init",
    ];
    let mut seeds = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder").flatten() {
            if entry.path().extension().is_some_and(|ending| ending == "yaml") {
                seeds.push(std::fs::read_to_string(entry.path()).expect("text"));
            }
        }
    }
    seeds.sort();
    seeds
}

/// Returns the memory that the process holds, in mebibytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn damaged_files_never_make_a_check_panic() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("PIPELINE_FUZZ_SECONDS");
    let seed = number("PIPELINE_FUZZ_SEED").unwrap_or(1);
    let seeds = seeds();
    let mut damage = Damage::new(&seeds, seed);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let folder = folder.display().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let started = Instant::now();
    let (mut n_files, mut n_sound, mut longest) = (0_u64, 0_u64, (Duration::ZERO, 0));
    let goes_on = |n_files: u64| match seconds {
        Some(seconds) => started.elapsed() < Duration::from_secs(seconds),
        None => n_files < 300,
    };
    while goes_on(n_files) {
        let text = damage.text();
        let path = Path::new(&folder).join("p.yaml");
        let begun = Instant::now();
        let check = || runtime.block_on(pipeline::engine::check(&text, &path, options(&folder)));
        let checked = catch_unwind(AssertUnwindSafe(check));
        let Ok((checked, found)) = checked else { panic!("seed {seed}, file {n_files}:\n{text}") };
        for fault in &found {
            assert!(
                !fault.message.is_empty() && !fault.message.contains('\n'),
                "{fault:?}\n{text}"
            );
            assert!(fault.at.line > 0, "no place: {fault:?}\n{text}");
        }
        n_sound += u64::from(checked.is_some());
        let took = begun.elapsed();
        if took > longest.0 {
            longest = (took, n_files);
        }
        n_files += 1;
    }
    eprintln!(
        "{n_files} files, {n_sound} of them sound, {:?} at most (file {}), {} MiB",
        longest.0,
        longest.1,
        resident()
    );
}
