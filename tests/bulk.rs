//! Real extracts of the register, when they are there, against an independent strict reader.
//!
//! The reader below knows the rules of Python's `csv.reader(strict=True)` and nothing of ours:
//! one byte after the other, no blocks, no types. What it accepts with the right number of fields
//! must arrive with equal values; what it refuses must be among the rejects at its line. A value
//! that cannot be of its column's type (a 31st of June) cannot arrive: its row must be rejected
//! with that reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, Int64Type};

use crate::support::{Project, node, parquet};

/// All rows and all rejects.
const EVERYTHING: &str = include_str!("../examples/everything/everything.yaml");

/// A record that the strict reader accepts, or the line at which it refuses one.
#[derive(Debug)]
enum Strict {
    Record { line: usize, fields: Vec<String> },
    Refused { line: usize },
}

/// Reads a text as Python does, but for what follows a broken record: reading goes on at the line
/// after its first one (docs/decisions/008), where Python goes on after the line of the fault.
fn strict(text: &str, n_fields: usize) -> Vec<Strict> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut records = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let line = next + 1;
        let mut fields = vec![String::new()];
        let (mut is_open, mut is_quoted, mut is_closed, mut is_refused) =
            (false, false, false, false);
        loop {
            let Some(text) = lines.get(next) else {
                is_refused = true;
                break;
            };
            next += 1;
            let body = text.strip_suffix('\n').map_or(*text, |t| t.strip_suffix('\r').unwrap_or(t));
            let end = &text[body.len()..];
            let mut chars = body.chars().peekable();
            while let Some(c) = chars.next() {
                let field = fields.last_mut().expect("a field");
                match c {
                    '"' if is_open && chars.peek() == Some(&'"') => {
                        chars.next();
                        field.push('"');
                    }
                    '"' if is_open => (is_open, is_closed) = (false, true),
                    c if is_open => field.push(c),
                    ',' => {
                        fields.push(String::new());
                        (is_quoted, is_closed) = (false, false);
                    }
                    _ if is_closed => is_refused = true,
                    '"' if field.is_empty() && !is_quoted => (is_open, is_quoted) = (true, true),
                    '\r' => is_refused = true,
                    c => field.push(c),
                }
            }
            if !is_open || is_refused {
                break;
            }
            fields.last_mut().expect("a field").push_str(end);
        }
        let is_several = next > line;
        is_refused |= is_several && fields.len() != n_fields;
        if is_refused {
            next = line;
        }
        let is_blank = fields.len() == 1 && fields[0].is_empty() && !is_quoted;
        match (is_refused, is_blank) {
            (true, _) => records.push(Strict::Refused { line }),
            (false, true) => {}
            (false, false) => records.push(Strict::Record { line, fields }),
        }
    }
    records
}

fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bulk");
    folder.is_dir().then_some(folder)
}

/// What arrived: the rows in the form of the file, and the rejects by line.
struct Arrived {
    rows: Vec<Vec<String>>,
    rejected: BTreeMap<usize, String>,
}

fn run(file: &Path) -> Arrived {
    let project = Project::new();
    project.write("everything.yaml", EVERYTHING);
    let file = format!("file={}", file.display());
    let report = project.run(&["everything.yaml", "--var", &file, "--var", "out=out"]);
    let mut rows = Vec::new();
    for batch in parquet(&project.path("out/all")) {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| shown(column.as_ref(), row)).collect());
        }
    }
    let mut reader = csv::Reader::from_path(project.path("out/rejected.csv")).expect("rejects");
    let mut rejected = BTreeMap::new();
    for record in reader.records() {
        let record = record.expect("a reject");
        rejected.insert(record[1].parse().expect("a line"), record[2].to_owned());
    }
    assert_eq!(node(&report, "register")["rows_out"], rows.len());
    assert_eq!(node(&report, "register")["rejected"], rejected.len());
    Arrived { rows, rejected }
}

/// Writes a value as the register does.
fn shown(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Date32 => {
            let date = column.as_primitive::<Date32Type>().value_as_date(row).expect("a date");
            let text = date.to_string();
            let mut parts: Vec<&str> = text.split('-').collect();
            parts.reverse();
            parts.join("/")
        }
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => column.as_string::<i32>().value(row).to_owned(),
    }
}

/// Says whether two values are the same to a reader of the register: in columns of dates and
/// counts a word for "missing" is no value.
fn is_same(expected: &str, arrived: &str) -> bool {
    let is_missing = ["NA", "null"].contains(&expected) && arrived.is_empty();
    expected == arrived || is_missing
}

fn compare(name: &str, text: &str, n_columns: usize, arrived: &Arrived) -> usize {
    let mut rows = arrived.rows.iter();
    let mut n_typed = 0;
    for record in strict(text, n_columns).into_iter().skip(1) {
        match record {
            Strict::Refused { line } => {
                assert!(arrived.rejected.contains_key(&line), "{name}:{line} is not rejected");
            }
            Strict::Record { line, fields } if fields.len() != n_columns => {
                let reason = arrived.rejected.get(&line);
                assert!(reason.is_some_and(|r| r.contains("fields")), "{name}:{line} {reason:?}");
            }
            Strict::Record { line, fields } => {
                if let Some(reason) = arrived.rejected.get(&line) {
                    assert!(reason.contains("is not a"), "{name}:{line}: {reason}");
                    n_typed += 1;
                    continue;
                }
                let row = rows.next().unwrap_or_else(|| panic!("{name}:{line} did not arrive"));
                for (index, (expected, arrived)) in fields.iter().zip(row).enumerate() {
                    assert!(
                        is_same(expected, arrived),
                        "{name}:{line} field {}: `{expected}` arrived as `{arrived}`",
                        index + 1
                    );
                }
            }
        }
    }
    assert!(rows.next().is_none(), "{name}: rows arrived that are not in the file");
    n_typed
}

#[test]
fn real_extracts_arrive_whole() {
    let Some(folder) = shared() else {
        eprintln!("no real extracts here");
        return;
    };
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("files").flatten().map(|e| e.path()).collect();
    names.sort();
    for path in names.iter().filter(|path| path.extension().is_some_and(|e| e == "csv")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("UTF-8");
        let n_columns = text.lines().next().expect("a header").split(',').count();
        let arrived = run(path);
        let n_typed = compare(&name, &text, n_columns, &arrived);
        let strike_off = "Active - Proposal to Strike off";
        let n_strike_off = arrived.rows.iter().filter(|row| row[11] == strike_off).count();
        eprintln!(
            "{name}: {} rows, {n_strike_off} strike-offs, {} rejected, {n_typed} for a value",
            arrived.rows.len(),
            arrived.rejected.len()
        );
        match name.as_str() {
            "asavagar-2020-05-01-0.1pct-sample.csv" => {
                assert_eq!((arrived.rows.len(), n_strike_off), (4537, 195));
            }
            "uktrade-CH_data_test-2017.csv" => {
                assert_eq!((arrived.rows.len(), n_strike_off), (200, 6));
            }
            _ => {}
        }
    }
}

#[test]
fn archives_and_snapshots_in_parts_arrive_whole() {
    let Some(folder) = shared() else { return };
    let whole = run(&folder.join("drkane-CompaniesHouseTestData.zip"));
    let csv = run(&folder.join("drkane-BasicCompanyData-2020-06-01-part6_7.csv"));
    assert_eq!(whole.rows, csv.rows);
    let parts = run(&folder.join("uktrade-search-ch_part*_2.zip"));
    assert_eq!((parts.rows.len(), parts.rejected.len()), (23, 0));
    // Leading zeros that a spreadsheet took away stay away: values are never guessed.
    assert!(parts.rows.iter().any(|row| row[1].len() == 7));
}

#[test]
fn made_up_registers_arrive_whole() {
    let project = Project::new();
    let path = project.snapshot("BasicCompanyData-2026-11-01.csv", 20_000, "2026-11-01");
    let bytes = std::fs::read(&path).expect("a snapshot");
    let arrived = run(&path);
    assert!(arrived.rows.len() >= 20_000);
    assert!(arrived.rejected.values().any(|reason| reason.contains("UTF-8")));
    // Rows that are not UTF-8 are rejected, which the strict reader cannot know.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let keep: Vec<&str> = text.split_inclusive('\n').filter(|l| !l.contains('\u{fffd}')).collect();
    let clean = project.write("BasicCompanyData-2026-12-01.csv", keep.concat());
    let n_typed = compare("made up", &keep.concat(), 55, &run(&clean));
    assert!(n_typed > 0);
}
