//! What the made-up register promises: form, order, proportions, broken rows where they are said.

use super::broken::BrokenForm;
use super::names::{FRONTS, Fronts};
use super::numbers::{PLACES, undistributed};
use super::vocabulary::{AREAS, CLOSED_MIDDLES, ENDS, HEADS, OPEN_MIDDLES, TRADES};
use super::{Broken, Date, HEADER, Snapshot, Written, member_name, write_file};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

const NAME: usize = 0;
const NUMBER: usize = 1;
const POSTCODE: usize = 9;
const STATUS: usize = 11;
const INCORPORATED: usize = 14;
const ACCOUNTS_DUE: usize = 17;
const CATEGORY: usize = 19;
const OUTSTANDING: usize = 23;
const URI: usize = 32;
const STATEMENT_DUE: usize = 53;

fn snapshot(rows: u64, broken: Broken) -> Snapshot {
    Snapshot { rows, seed: 7, date: Date::new(2026, 9, 1).unwrap(), broken }
}

fn bytes_of(snapshot: &Snapshot) -> (Vec<u8>, Written) {
    let mut bytes = Vec::new();
    let written = snapshot.write(&mut bytes).unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    (bytes, written)
}

/// Divides one line as RFC 4180 says, every field quoted; nothing when it cannot be divided.
fn fields_of(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        if line.get(at) != Some(&b'"') {
            return None;
        }
        at += 1;
        let mut field = Vec::new();
        loop {
            match (line.get(at)?, line.get(at + 1)) {
                (b'"', Some(b'"')) => {
                    field.push(b'"');
                    at += 2;
                }
                (b'"', _) => break,
                (&byte, _) => {
                    field.push(byte);
                    at += 1;
                }
            }
        }
        fields.push(field);
        match line.get(at + 1) {
            None => return Some(fields),
            Some(b',') => at += 2,
            Some(_) => return None,
        }
    }
}

fn rows_of(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let lines = text.strip_suffix("\r\n").unwrap().split("\r\n").skip(1);
    let strings = |row: Vec<Vec<u8>>| row.into_iter().map(|f| String::from_utf8(f).unwrap());
    let rows = lines.map(|line| fields_of(line.as_bytes()).unwrap_or_else(|| panic!("{line}")));
    rows.map(|row| strings(row).collect()).collect()
}

fn date_of(text: &str) -> Option<Date> {
    if text.is_empty() {
        return None;
    }
    let mut parts = text.split('/').map(|part| part.parse::<u32>().unwrap());
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Date::new(i32::try_from(year).unwrap(), month, day).unwrap_or_else(|| panic!("{text}")))
}

fn share<'a>(rows: impl Iterator<Item = &'a Vec<String>>, is: impl Fn(&[String]) -> bool) -> f64 {
    let (mut n, mut hits) = (0.0, 0.0);
    for row in rows {
        n += 1.0;
        hits += f64::from(u8::from(is(row)));
    }
    100.0 * hits / n
}

#[track_caller]
fn near(what: &str, actual: f64, low: f64, high: f64) {
    assert!((low..=high).contains(&actual), "{what}: {actual:.2} is not in {low}..{high}");
}

#[test]
fn same_arguments_give_the_same_bytes_and_another_seed_others() {
    let first = bytes_of(&snapshot(3000, Broken::EveryForm));
    assert_eq!(first, bytes_of(&snapshot(3000, Broken::EveryForm)));
    let other = Snapshot { seed: 8, ..snapshot(3000, Broken::EveryForm) };
    assert_ne!(first.0, bytes_of(&other).0);
}

#[test]
fn header_is_the_real_one() {
    let names: Vec<&str> = HEADER.split(',').collect();
    assert_eq!(names.len(), 55);
    let spaced: Vec<usize> =
        (0..55).filter(|&n| names[n].starts_with(' ')).map(|n| n + 1).collect();
    assert_eq!(spaced, [2, 6, 35, 36, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55]);
    let (bytes, _) = bytes_of(&snapshot(0, Broken::None));
    assert_eq!(bytes, format!("{HEADER}\r\n").into_bytes());
}

#[test]
fn every_row_has_55_fields_and_sensible_values() {
    let (bytes, written) = bytes_of(&snapshot(20_000, Broken::None));
    let rows = rows_of(&bytes);
    assert_eq!((rows.len() as u64, written.rows), (20_000, 20_000));
    for row in &rows {
        assert_eq!(row.len(), 55, "{row:?}");
        assert!(row[NAME].contains("SPECIMEN") && row[NAME].len() <= 160, "{row:?}");
        assert!(row[URI].ends_with(&row[NUMBER]) && row[URI].len() == 47, "{row:?}");
        for n in [13, 14, 17, 18, 20, 21, 33, 35, 37, 53, 54] {
            let date = date_of(&row[n]);
            let is_past = matches!(n, 14 | 18 | 21 | 33 | 35 | 37 | 54);
            assert!(!is_past || date < Date::new(2026, 9, 1), "{n} {row:?}");
            assert!(!matches!(n, 17 | 18) || date.is_none() || date > date_of(&row[14]));
        }
        for n in [22, 23, 24, 25, 30, 31] {
            row[n].parse::<u32>().unwrap();
        }
    }
    near("bytes a row", written.bytes as f64 / 20_000.0, 470.0, 495.0);
}

#[test]
fn rows_are_in_the_byte_order_of_names() {
    let (bytes, _) = bytes_of(&snapshot(100_000, Broken::None));
    let rows = rows_of(&bytes);
    assert!(rows.is_sorted_by(|one, next| one[NAME].as_bytes() < next[NAME].as_bytes()));
    for tables in [&HEADS[..], &OPEN_MIDDLES, &CLOSED_MIDDLES, &ENDS, &TRADES] {
        assert!(tables.is_sorted_by(|one, next| one.as_bytes() < next.as_bytes()));
    }
    assert!(HEADS.windows(2).all(|pair| !pair[1].starts_with(pair[0])));
    assert!(OPEN_MIDDLES.len() == CLOSED_MIDDLES.len() && TRADES.len().is_multiple_of(16));
    assert!(Fronts::new().widest() <= FRONTS, "two places would share a front");
}

#[test]
fn numbers_are_unique_never_issued_and_8_characters_long() {
    assert_eq!(undistributed(), 0);
    let later = Date::new(2031, 1, 1).unwrap();
    for date in [Date::new(2026, 9, 1).unwrap(), later] {
        let (bytes, _) = bytes_of(&Snapshot { date, ..snapshot(200_000, Broken::None) });
        let numbers: HashSet<String> =
            rows_of(&bytes).into_iter().map(|mut row| row.swap_remove(NUMBER)).collect();
        assert_eq!(numbers.len(), 200_000);
        for number in numbers {
            assert_eq!(number.len(), 8);
            match (&number[..2], number.as_bytes()[0]) {
                (_, b'5'..=b'9') => assert!(number.bytes().all(|byte| byte.is_ascii_digit())),
                ("SC", _) => assert!(number.as_bytes()[7].is_ascii_uppercase()),
                _ => assert_eq!(&number[2..3], "9", "{number}"),
            }
        }
    }
}

#[test]
fn a_smaller_register_is_a_selection_of_a_larger_one() {
    let (large, _) = bytes_of(&snapshot(2000, Broken::None));
    let (small, _) = bytes_of(&snapshot(700, Broken::None));
    let large: HashSet<Vec<String>> = rows_of(&large).into_iter().collect();
    assert!(rows_of(&small).iter().all(|row| large.contains(row)));
    let too_many = snapshot(PLACES + 1, Broken::None);
    assert!(too_many.write(&mut Vec::new()).is_err());
}

#[test]
fn proportions_are_those_of_the_real_register() {
    let (bytes, written) = bytes_of(&snapshot(50_000, Broken::None));
    let rows = rows_of(&bytes);
    let today = Date::new(2026, 9, 1);
    let late = |row: &[String], n: usize| date_of(&row[n]).is_some() && date_of(&row[n]) < today;
    let of = |status: &'static str| rows.iter().filter(move |row| row[STATUS] == status);
    let strike_off = "Active - Proposal to Strike off";
    assert_eq!(written.strike_off, of(strike_off).count() as u64);
    near("proposals", share(rows.iter(), |row| row[STATUS] == strike_off), 6.6, 7.5);
    near("active", share(rows.iter(), |row| row[STATUS] == "Active"), 90.0, 91.8);
    near("liquidation", share(rows.iter(), |row| row[STATUS] == "Liquidation"), 1.4, 2.4);
    // status, accounts late, statement late, either late, charge outstanding, nothing filed, age
    type Span = (f64, f64);
    let spans: [(&str, [Span; 5], Span); 3] = [
        ("Active", [(1.9, 3.4), (5.0, 10.0), (6.9, 13.6), (11.0, 12.5), (24.0, 28.0)], (4.4, 5.6)),
        (
            strike_off,
            [(42.0, 53.0), (62.0, 69.0), (72.0, 79.0), (3.0, 5.0), (34.0, 42.0)],
            (2.6, 3.8),
        ),
        (
            "Liquidation",
            [(85.0, 97.0), (85.0, 98.0), (90.0, 99.0), (24.0, 36.0), (10.0, 28.0)],
            (8.0, 16.0),
        ),
    ];
    for (status, [accounts, statement, either, charge, unfiled], age) in spans {
        let check = |what: &str, span: Span, is: &dyn Fn(&[String]) -> bool| {
            near(&format!("{status}: {what}"), share(of(status), is), span.0, span.1);
        };
        check("accounts", accounts, &|row| late(row, ACCOUNTS_DUE));
        check("statement", statement, &|row| late(row, STATEMENT_DUE));
        check("either", either, &|row| late(row, ACCOUNTS_DUE) || late(row, STATEMENT_DUE));
        check("charge", charge, &|row| row[OUTSTANDING] != "0");
        check("unfiled", unfiled, &|row| row[CATEGORY] == "NO ACCOUNTS FILED");
        let mut days: Vec<i32> =
            of(status).map(|row| date_of(&row[INCORPORATED]).unwrap().days()).collect();
        days.sort_unstable();
        let median = f64::from(today.unwrap().days() - days[days.len() / 2]) / 365.25;
        near(&format!("{status}: median age"), median, age.0, age.1);
    }
    let blanks =
        [(2, 98.5), (3, 99.8), (4, 1.0), (5, 36.0), (6, 2.3), (7, 59.8), (8, 30.5), (9, 1.1)];
    for (column, blank) in blanks {
        let actual = share(rows.iter(), |row| row[column].is_empty());
        near(&format!("blank column {column}"), actual, blank - 0.8, blank + 0.8);
    }
    near("former names", share(rows.iter(), |row| !row[34].is_empty()), 9.5, 12.5);
    let scottish = share(rows.iter(), |row| row[NUMBER].starts_with("SC"));
    near("Scotland", scottish, 5.0, 5.6);
}

#[test]
fn postcodes_lie_in_areas_that_do_not_exist() {
    let (bytes, _) = bytes_of(&snapshot(20_000, Broken::None));
    let mut areas = BTreeMap::new();
    for row in rows_of(&bytes) {
        let letters = row[POSTCODE].chars().take_while(char::is_ascii_alphabetic).take(2);
        *areas.entry(letters.collect::<String>()).or_insert(0) += 1;
    }
    let real = ["JE", "YO", "ZE"];
    assert!(AREAS.iter().all(|area| "JYZ".contains(&area[..1]) && !real.contains(area)));
    let known = areas.iter().filter(|(area, _)| AREAS.contains(&area.as_str()));
    let (areas, n): (Vec<_>, Vec<i32>) = known.unzip();
    assert!(areas.len() == AREAS.len() && n.iter().sum::<i32>() > 19_500, "{areas:?}");
}

#[test]
fn successive_months_show_the_same_companies() {
    let month = |year, month| {
        let date = Date::new(year, month, 1).unwrap();
        let (bytes, _) = bytes_of(&Snapshot { date, ..snapshot(20_000, Broken::None) });
        let keyed = rows_of(&bytes).into_iter().map(|row| (row[NUMBER].clone(), row));
        keyed.collect::<HashMap<String, Vec<String>>>()
    };
    let (before, after) = (month(2026, 9), month(2026, 10));
    let mut stayed = 0;
    let mut changed = 0;
    for (number, row) in &before {
        let Some(next) = after.get(number) else {
            continue;
        };
        stayed += 1;
        changed += i32::from(row[STATUS] != next[STATUS]);
        assert_eq!((&row[..11], &row[12..15]), (&next[..11], &next[12..15]));
    }
    near("stayed", f64::from(stayed) / 200.0, 98.5, 99.5);
    near("changed status", f64::from(changed) / 200.0, 0.5, 3.5);
}

#[test]
fn broken_rows_are_where_they_are_said_and_good_rows_stay() {
    for rows in [100, 5000, 30_000] {
        let (good, plain) = bytes_of(&snapshot(rows, Broken::None));
        let (spoiled, written) = bytes_of(&snapshot(rows, Broken::EveryForm));
        assert_eq!((plain.rows, plain.strike_off), (written.rows, written.strike_off));
        let forms: HashSet<BrokenForm> = written.broken.iter().map(|&(form, _)| form).collect();
        assert_eq!(forms.len(), BrokenForm::ALL.len());
        let lines: Vec<&[u8]> = spoiled.split_inclusive(|&byte| byte == b'\n').collect();
        let mut bad = HashSet::new();
        for &(form, line) in &written.broken {
            let at = usize::try_from(line).unwrap() - 1;
            assert!(is_form(form, &lines[at..]), "{form:?} at {line}");
            bad.extend(line..line + form.lines());
        }
        let kept = (1..).zip(&lines).filter(|(line, _)| !bad.contains(line));
        let kept: Vec<u8> = kept.flat_map(|(_, line)| line.iter().copied()).collect();
        assert!(kept == good, "good rows changed");
    }
}

fn is_form(form: BrokenForm, lines: &[&[u8]]) -> bool {
    let line = lines[0].strip_suffix(b"\r\n").unwrap_or(lines[0]);
    let fields = fields_of(line);
    let holds = |column: usize, value: &[u8]| {
        fields
            .as_ref()
            .is_some_and(|f| f.len() == 55 && f[column].windows(value.len()).any(|w| w == value))
    };
    match form {
        BrokenForm::ExtraField => fields.is_some_and(|f| f.len() == 56),
        BrokenForm::MissingFields => fields.is_some_and(|f| f.len() == 40),
        BrokenForm::UnescapedQuote => fields.is_none() && line.windows(3).any(|w| w == b"!\"A"),
        BrokenForm::UnterminatedQuote => fields.is_none() && !line.ends_with(b"\""),
        BrokenForm::EmbeddedNewline => {
            let both = [lines[0], lines[1]].concat();
            fields_of(both.strip_suffix(b"\r\n").unwrap()).is_some_and(|f| f.len() == 55)
        }
        BrokenForm::ImpossibleDate => holds(17, b"31/13/2034") || holds(53, b"33/10/3035"),
        BrokenForm::NotANumber => holds(22, b"two"),
        BrokenForm::InvalidUtf8 => holds(6, b"\xc9") && std::str::from_utf8(line).is_err(),
        BrokenForm::BlankLine => line.is_empty(),
        BrokenForm::NulByte => holds(4, b"\0"),
        BrokenForm::BareCarriageReturn => holds(4, b"\r"),
    }
}

#[test]
fn an_archive_holds_the_same_csv_under_the_real_name() {
    let directory = std::env::temp_dir().join(format!("sandbox-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let snapshot = snapshot(2000, Broken::EveryForm);
    let (csv, zip) = (directory.join("register.csv"), directory.join("register.zip"));
    let mut seen = 0;
    let bare = write_file(&snapshot, &csv, &mut |rows| seen = rows).unwrap();
    let packed = write_file(&snapshot, &zip, &mut |_| {}).unwrap();
    assert_eq!((bare.clone(), seen), (packed, 2000));
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&zip).unwrap()).unwrap();
    assert_eq!(archive.len(), 1);
    let mut member = archive.by_index(0).unwrap();
    assert_eq!(member.name().unwrap(), "BasicCompanyDataAsOneFile-2026-09-01.csv");
    assert_eq!(member.name().unwrap(), member_name(snapshot.date));
    let mut unpacked = Vec::new();
    member.read_to_end(&mut unpacked).unwrap();
    let (bytes, written) = bytes_of(&snapshot);
    assert!(unpacked == bytes && std::fs::read(&csv).unwrap() == bytes && written == bare);
    let left = std::fs::read_dir(&directory).unwrap().count();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(left, 2, "a partial file stayed behind");
    assert!(write_file(&snapshot, &directory.join("no/such/place.csv"), &mut |_| {}).is_err());
}

#[test]
fn the_calendar_agrees_with_itself() {
    let mut day = Date::new(1320, 1, 1).unwrap();
    assert_eq!(Date::new(1970, 1, 1).unwrap().days(), 0);
    assert_eq!(Date::new(2026, 9, 1).unwrap().days(), 20_697);
    for _ in 0..280_000 {
        let (year, month, date) = day.parts();
        assert_eq!(Date::new(year, month, date), Some(day));
        day = Date::from_days(day.days() + 1);
    }
    assert_eq!((Date::new(2026, 2, 29), Date::new(2026, 13, 1)), (None, None));
    assert_eq!(Date::new(2024, 2, 29).unwrap().plus_months(12), Date::new(2025, 2, 28).unwrap());
}
