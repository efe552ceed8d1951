//! Properties that hold for every input: equality with the plain reference and with the `csv`
//! crate, independence from where blocks end, and no panics.

use csv::QuoteStyle;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::reference::{self, Record, agrees, in_blocks};
use crate::{DEFAULT_MAX_RECORD, Dialect, Split, Splitter};

/// Any of the bytes that mean something, often enough to meet each other, and some that do not.
fn tricky_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => Just(b'"'),
        4 => Just(b','),
        3 => Just(b'\n'),
        2 => Just(b'\r'),
        3 => Just(b'x'),
        1 => any::<u8>(),
    ]
}

/// Pieces that make long good stretches between the broken ones.
fn tricky_piece() -> impl Strategy<Value = Vec<u8>> {
    let words: [&[u8]; 14] = [
        b"a,b,c\n",
        b"\"a\",\"b\",\"c\"\r\n",
        b"\"a\"\"b\",,\n",
        b",,\r\n",
        b"\"x\ny\",b,c\n",
        b"\"open,b,c\n",
        b"a,b\n",
        b"\n",
        b"\r\n",
        b"\"a\"b,c,d\n",
        b"a\rb,c\n",
        b"\xEF\xBB\xBF",
        b"\"",
        b"a long field without anything in it,",
    ];
    prop_oneof![
        3 => prop::sample::select(words.map(<[u8]>::to_vec).to_vec()),
        1 => vec(tricky_byte(), 1..6),
    ]
}

fn tricky_file() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(tricky_byte(), 0..80),
        vec(tricky_piece(), 0..24).prop_map(|pieces| pieces.concat()),
        vec(good_stretch(), 0..6).prop_map(|pieces| pieces.concat()),
    ]
}

/// Many good records, of which some are quoted, before a piece that may be broken.
fn good_stretch() -> impl Strategy<Value = Vec<u8>> {
    let good: [&[u8]; 4] = [
        b"\"a\",\"b,\"\"\",\"c\"\r\n",
        b"a,,c\n",
        b"\"\",\"x\ny\",\"\"\n",
        b"\xC3\xA9,\"\"\"\",c\n",
    ];
    let record = prop::sample::select(good.map(<[u8]>::to_vec).to_vec());
    (record, 0_usize..40, tricky_piece())
        .prop_map(|(record, n, piece)| [record.repeat(n), piece].concat())
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        4 => Just(Dialect::default()),
        1 => Just(Dialect { quote: None, ..Dialect::default() }),
        1 => Just(Dialect { delimiter: b'"', quote: Some(b',') }),
    ]
}

fn max_record() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(DEFAULT_MAX_RECORD), 1 => 0_usize..24]
}

fn rows() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    (1_usize..5)
        .prop_flat_map(|n_fields| vec(vec(vec(tricky_byte(), 0..8), n_fields..=n_fields), 0..12))
}

/// Writes rows with the `csv` crate, one of the two ways it quotes and ends lines.
fn written(rows: &[Vec<Vec<u8>>], style: QuoteStyle, crlf: bool) -> Vec<u8> {
    let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut writer =
        csv::WriterBuilder::new().quote_style(style).terminator(end).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Returns how many cases are tried: as many as `PROPTEST_CASES` says, or these.
fn cases(otherwise: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn equals_the_reference_in_one_block_and_in_many(
        file in tricky_file(),
        dialect in dialect(),
        n_fields in 0_usize..5,
        max_record in max_record(),
        sizes in vec(1_usize..=64, 1..8),
    ) {
        for sizes in [&[], &sizes[..], &[1]] {
            agrees(dialect, n_fields, max_record, &file, sizes);
        }
    }

    #[test]
    fn accounts_for_every_byte_and_every_line(file in tricky_file(), n_fields in 1_usize..5) {
        let splitter = Splitter::new(Dialect::default(), n_fields);
        let whole = in_blocks(&splitter, &file, &[]);
        let mut ranges: Vec<_> = whole.records.iter().map(|record| record.raw.clone()).collect();
        ranges.extend(whole.faults.iter().map(|fault| fault.raw.clone()));
        ranges.sort_by_key(|range| range.start);
        let mut at = if file.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        for range in ranges {
            prop_assert!(file[at..range.start].iter().all(|byte| b"\r\n".contains(byte)));
            prop_assert!(!range.is_empty());
            at = range.end;
        }
        prop_assert!(file[at..].iter().all(|byte| b"\r\n".contains(byte)));
    }

    #[test]
    fn never_panics(
        block in vec(any::<u8>(), 0..200),
        delimiter in any::<u8>(),
        quote in any::<Option<u8>>(),
        n_fields in 0_usize..4,
        max_record in prop_oneof![0_usize..300, Just(usize::MAX)],
        line in 1_u64..9,
        last in any::<bool>(),
    ) {
        let dialect = Dialect { delimiter, quote };
        let splitter = Splitter::new(dialect, n_fields).with_max_record(max_record);
        let mut split = Split::default();
        splitter.split(&block, line, last, &mut split);
        for record in 0..split.len() {
            let values = split.fields(&block, record).map(|field| field.unescaped());
            prop_assert_eq!(values.collect::<Vec<_>>().len(), n_fields);
        }
        let _ = Splitter::header(dialect, &block, last);
    }

    #[test]
    fn reads_back_what_the_csv_crate_writes(rows in rows(), crlf: bool, size in 1_usize..=64) {
        for style in [QuoteStyle::Always, QuoteStyle::Necessary] {
            let file = written(&rows, style, crlf);
            let n_fields = rows.first().map_or(1, Vec::len);
            let splitter = Splitter::new(Dialect::default(), n_fields);
            let whole = in_blocks(&splitter, &file, &[size]);
            // A byte order mark at the start of a file is one also where it was meant as data.
            prop_assume!(!file.starts_with(b"\xEF\xBB\xBF"));
            prop_assert_eq!(&whole.faults, &vec![]);
            let values = |record: &Record| -> Vec<Vec<u8>> {
                record.fields.iter().map(|(value, _)| value.clone()).collect()
            };
            prop_assert_eq!(&whole.records.iter().map(values).collect::<Vec<_>>(), &rows);
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).from_reader(file.as_slice());
            let read: Vec<csv::ByteRecord> = reader.byte_records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), whole.records.len());
        }
    }

    #[test]
    fn the_header_is_the_first_record(file in tricky_file(), cut in 0_usize..80) {
        let block = &file[..cut.min(file.len())];
        match Splitter::header(Dialect::default(), block, block.len() == file.len()) {
            Ok(None) => {}
            Ok(Some(header)) => {
                let n_fields = header.fields.len();
                let all = reference::split(Dialect::default(), n_fields, usize::MAX, &file);
                let first = &all.records[0];
                let values: Vec<_> = first.fields.iter().map(|(value, _)| value.clone()).collect();
                prop_assert_eq!(&header.fields, &values);
                prop_assert_eq!(header.line, first.line);
                let lines = file[..header.consumed].iter().filter(|byte| **byte == b'\n').count();
                prop_assert_eq!(header.next_start.line(), 1 + lines as u64);
            }
            Err(fault) => {
                let all = reference::split(Dialect::default(), usize::MAX, usize::MAX, &file);
                prop_assert_eq!(&fault, &all.faults[0]);
            }
        }
    }
}
