//! How fast the scanner is, in GB/s of a file that is in memory: one core, the best of some rounds.
//!
//! `cargo bench -p scan -- FILE` with a register made by `pipeline sandbox snapshot`.

use std::hint::black_box;
use std::time::Instant;

use scan::{Dialect, Split, Splitter, Start};

const BLOCK: usize = 512 << 10;
const ROUNDS: usize = 7;

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let file = path.map(|path| std::fs::read(path).expect("a file that can be read"));
    let file = file.unwrap_or_else(|| made_up(100_000));
    let header = Splitter::header(Dialect::default(), &file, true).expect("a sound header");
    let header = header.expect("a header");
    let splitter = Splitter::new(Dialect::default(), header.fields.len());
    let body = &file[header.consumed..];

    println!("{} MB, {} fields", file.len() / 1_000_000, header.fields.len());
    best("memchr of LF", body, &mut || memchr::memchr_iter(b'\n', body).count());
    best("std UTF-8 check", body, &mut || std::str::from_utf8(body).map_or(0, str::len));
    let mut split = Split::default();
    best("records", body, &mut || {
        blocks(&splitter, body, &mut split, |_, split| split.len() + split.faults().len())
    });
    best("records where field 11 is …", body, &mut || {
        blocks(&splitter, body, &mut split, |block, split| {
            let wanted = b"Active - Proposal to Strike off";
            let mut n_wanted = 0;
            split
                .each_field(block, 11, |_, field| n_wanted += usize::from(field.bytes() == wanted));
            n_wanted
        })
    });
    best("all fields", body, &mut || {
        blocks(&splitter, body, &mut split, |block, split| {
            let len = |record| split.fields(block, record).map(|f| f.bytes().len()).sum::<usize>();
            (0..split.len()).map(len).sum()
        })
    });
}

/// Splits a file block by block, and adds up what `each` says of them.
fn blocks(
    splitter: &Splitter,
    file: &[u8],
    split: &mut Split,
    mut each: impl FnMut(&[u8], &Split) -> usize,
) -> usize {
    let (mut at, mut start, mut sum) = (0, Start::record(2), 0);
    while at < file.len() {
        let end = (at + BLOCK).min(file.len());
        let block = &file[at..end];
        splitter.split(block, start, end == file.len(), split);
        sum += each(block, split);
        (at, start) = (at + split.consumed(), split.next_start());
    }
    sum
}

fn best(what: &str, file: &[u8], work: &mut dyn FnMut() -> usize) {
    let mut best = f64::INFINITY;
    let mut result = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        result = black_box(work());
        best = best.min(begun.elapsed().as_secs_f64());
    }
    println!("{what:28} {:6.2} GB/s  ({result})", file.len() as f64 / best / 1e9);
}

/// Makes a file of 55 quoted fields a record.
fn made_up(n_records: usize) -> Vec<u8> {
    let mut file = (0..55).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",").into_bytes();
    file.push(b'\n');
    for n in 0..n_records {
        let is_wanted = n % 14 == 0;
        for field in 0..55 {
            let value = match field {
                0 => format!("SPECIMEN {n} LTD"),
                1 => format!("{n:08}"),
                11 if is_wanted => "Active - Proposal to Strike off".to_owned(),
                11 => "Active".to_owned(),
                4..16 => "SOME WORDS".to_owned(),
                16..24 => "01/02/2026".to_owned(),
                _ => String::new(),
            };
            file.extend_from_slice(format!("\"{value}\",").as_bytes());
        }
        file.pop();
        file.push(b'\n');
    }
    file
}
