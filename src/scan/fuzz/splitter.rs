//! Splits any bytes in blocks of any sizes, by the fastest way and by plain Rust, and compares
//! with the reference. On a stable toolchain, for an hour:
//!
//! ```sh
//! cd src/scan/fuzz
//! RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!   -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
//!   -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
//!   cargo run --release --target x86_64-unknown-linux-gnu --bin splitter -- \
//!   -max_total_time=3600 -max_len=700 corpus
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use scan::Dialect;
use scan::reference::agrees;

fuzz_target!(|input: &[u8]| {
    // The first bytes say how to read the others.
    let [dialect, n_fields, most, first, second, file @ ..] = input else { return };
    let dialect = match dialect % 4 {
        0 => Dialect { quote: None, ..Dialect::default() },
        1 => Dialect { delimiter: b'"', quote: Some(b',') },
        _ => Dialect::default(),
    };
    let n_fields = usize::from(n_fields % 6);
    let max_record = if most % 4 == 0 { usize::from(*most) } else { scan::DEFAULT_MAX_RECORD };
    let sizes = [usize::from(*first) + 1, usize::from(*second) + 1];
    agrees(dialect, n_fields, max_record, file, &sizes);
    agrees(dialect, n_fields, max_record, file, &[file.len() + 1]);
});
