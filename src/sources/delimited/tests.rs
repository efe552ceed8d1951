//! A file gives the same rows and rejects, with the same lines, however it is cut, packed, limited
//! and filtered.

use std::io::Write as _;

use datafusion::arrow::array::{AsArray, BooleanArray, StringViewArray};
use datafusion::arrow::datatypes::Int64Type;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::context::Condition;
use crate::sources::input::find;
use crate::table::Column;

/// Rows as texts, refused lines with their reasons, and how many rows were left out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    rows: Vec<Vec<String>>,
    refused: Vec<(i64, String, String)>,
    n_left_out: u64,
}

fn source(path: &std::path::Path, has_header: bool) -> Delimited {
    let parts = find(path, &|_| true).unwrap();
    let column = |name: &str| (Column::text(name.to_owned(), name), None);
    let mut columns: Vec<CheckedColumn> = ["a", "b", "c"].map(column).to_vec();
    columns[2].0.kind = crate::table::ColumnType::Int;
    let part = |part| DelimitedPart {
        part,
        fields: vec![Some(0), Some(1), Some(2)],
        n_fields: 3,
        day: None,
    };
    Delimited {
        name: "t".to_owned(),
        parts: parts.into_iter().map(part).collect(),
        dialect: Dialect::default(),
        has_header,
        columns,
        day_column: None,
    }
}

fn seen(source: &Delimited, cut: Cut, context: ReadContext) -> Seen {
    let context = ReadContext { projection: vec![0, 1, 2], ..context };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(source.read_in(cut, context).collect::<Vec<_>>());
    let mut seen = Seen::default();
    for batch in batches {
        let batch = batch.unwrap();
        seen.n_left_out += batch.n_left_out;
        for row in 0..batch.rows.num_rows() {
            let text = |column: usize| {
                datafusion::arrow::util::display::array_value_to_string(
                    batch.rows.column(column),
                    row,
                )
            };
            seen.rows.push((0..3).map(|column| text(column).unwrap()).collect());
        }
        let Some(rejected) = batch.rejected else { continue };
        for row in 0..rejected.num_rows() {
            let text = |name| rejected.column_by_name(name).unwrap().as_string_view().value(row);
            let line = rejected.column_by_name("line").unwrap();
            let line = line.as_primitive::<Int64Type>().value(row);
            seen.refused.push((line, text("reason").to_owned(), text("raw").to_owned()));
        }
    }
    seen
}

/// Keeps what is `x`; fails over what is `boom`.
fn is_x(column: usize) -> Condition {
    Condition::new(column, true, "x".to_owned(), |texts: StringViewArray| {
        let fails = texts.iter().any(|text| text == Some("boom"));
        (!fails).then(|| texts.iter().map(|text| text.map(|t| t == "x")).collect::<BooleanArray>())
    })
}

/// One piece and one block for the whole file.
const WHOLE: Cut = Cut { block: 1 << 20, piece: 1 << 20, unpacked: 1 << 20, most_line: 1 << 20 };

fn file() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 16] = [
        b"x,1,2\n",
        b"\"x\",\"\",3\r\n",
        b"y,\"a\nb\",4\n",
        b"\"x\n\n\n\",\"\",5\n",
        b"\"x\"\"y\",b,6\n",
        b"\"x\",\"p,q\",7\n",
        b"x,b,no number\n",
        b"y,b,no number\n",
        b"boom,b,8\n",
        b"x,1\n",
        b"\"open,b,9\n",
        b"x,\"a\"b,10\n",
        b"\n",
        b"x,\xFF,11\n",
        b"\xC3\xA9,\xC3\xA9\xC3\xA9,12\n",
        b"a long text without any quotes or commas that goes on for more than a block,b,13\n",
    ];
    let piece = prop::sample::select(pieces.map(<[u8]>::to_vec).to_vec());
    let last = prop_oneof![Just(b"".to_vec()), Just(b"x,y,1".to_vec()), Just(b"\"x".to_vec())];
    (vec(piece, 0..40), last).prop_map(|(pieces, last)| [pieces.concat(), last].concat())
}

fn packed(folder: &std::path::Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    let file = std::fs::File::create(&path).unwrap();
    if name.ends_with(".gz") {
        let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap();
    } else {
        (&file).write_all(bytes).unwrap();
    }
    path
}

/// Returns how many cases are tried: as many as `PROPTEST_CASES` says, or these.
fn cases(otherwise: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_depends_on_how_a_file_is_cut(
        bytes in file(),
        has_header: bool,
        block in 1_usize..90,
        piece in 1_usize..200,
        most_line in prop_oneof![Just(1_usize << 20), 1_usize..60],
        limit in prop::option::of(0_u64..30),
        filters: bool,
        checks_all: bool,
    ) {
        let bytes = if has_header { [b"a,b,c\n", bytes.as_slice()].concat() } else { bytes };
        let folder = tempfile::tempdir().unwrap();
        let conditions = if filters { vec![is_x(0)] } else { vec![] };
        let context = || ReadContext { limit, checks_all, conditions: conditions.clone(), ..ReadContext::default() };
        let cut = Cut { block, piece, unpacked: piece, most_line };
        let plain = source(&packed(folder.path(), "t.csv", &bytes), has_header);
        let gz = source(&packed(folder.path(), "t.csv.gz", &bytes), has_header);
        let expected = seen(&plain, WHOLE, context());
        let is_whole = !filters || checks_all;
        for source in [&plain, &gz] {
            let got = seen(source, cut, context());
            prop_assert_eq!(&got.rows, &expected.rows);
            // The first piece is checked whole, and ends elsewhere.
            prop_assert!(!is_whole || got == expected, "{got:?}, expected {expected:?}");
            let n_other = |seen: &Seen| seen.refused.len() as u64 + seen.n_left_out;
            prop_assert_eq!(n_other(&got), n_other(&expected));
            prop_assert!(is_whole || got.refused.iter().all(|row| expected.refused.contains(row)));
        }

        // What is left out was accepted without the condition, or was not looked at.
        let all = seen(&plain, WHOLE, ReadContext { limit, ..ReadContext::default() });
        let wanted = |row: &&Vec<String>| !filters || row[0] == "x" || row[0] == "boom";
        prop_assert_eq!(&expected.rows, &all.rows.iter().filter(wanted).cloned().collect::<Vec<_>>());
        if is_whole {
            prop_assert_eq!(&expected.refused, &all.refused);
            let n_all = all.rows.len() as u64;
            prop_assert_eq!(expected.rows.len() as u64 + expected.n_left_out, n_all);
        } else {
            prop_assert!(expected.refused.iter().all(|row| all.refused.contains(row)));
            let n_all = all.rows.len() + all.refused.len();
            let n_seen = expected.rows.len() + expected.refused.len();
            prop_assert_eq!(n_seen as u64 + expected.n_left_out, n_all as u64);
        }
    }
}
