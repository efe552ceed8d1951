//! How long inflating a zip archive takes by itself, with the inflater that sources use: the limit
//! of every job that reads one. `cargo bench --bench inflate -- FILE`; see `compare.py`.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a bench fails aloud and prints")]

use std::io::Read as _;
use std::time::Instant;

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(path) = path else { return };
    let file = std::fs::File::open(&path).expect("a file that can be read");
    let mut archive = zip::ZipArchive::new(file).expect("a zip archive");
    let begun = Instant::now();
    let mut member = archive.by_index(0).expect("a member");
    let mut buffer = vec![0; 4 << 20];
    let mut n_bytes = 0;
    loop {
        let n = member.read(&mut buffer).expect("a sound archive");
        if n == 0 {
            break;
        }
        n_bytes += n;
    }
    println!("{:.3} s, {n_bytes} bytes", begun.elapsed().as_secs_f64());
}
