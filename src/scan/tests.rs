//! One table of made-up files per rule.

use crate::reference::in_blocks;
use crate::{Dialect, Fault, FaultKind, Place, Split, Splitter, Start};

/// Splits a file into records of `n_fields` fields and checks what comes out, in one block and byte
/// by byte: records as `line: value|value`, faults as `line: message <refused bytes>`.
fn check(n_fields: usize, file: impl AsRef<[u8]>, records: &[&str], faults: &[&str]) {
    check_with(&Splitter::new(Dialect::default(), n_fields), file.as_ref(), records, faults);
}

fn check_with(splitter: &Splitter, file: &[u8], records: &[&str], faults: &[&str]) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for size in [file.len().max(1), 1, 2, 3] {
        let whole = in_blocks(splitter, file, &[size]);
        let found: Vec<String> = whole
            .records
            .iter()
            .map(|record| {
                let values: Vec<String> = record.fields.iter().map(|(v, _)| text(v)).collect();
                format!("{}: {}", record.line, values.join("|"))
            })
            .collect();
        assert_eq!(found, records, "records of {:?} in blocks of {size}", text(file));
        let found: Vec<String> = whole
            .faults
            .iter()
            .map(|fault| format!("{fault} <{}>", text(&file[fault.raw.clone()])))
            .collect();
        assert_eq!(found, faults, "faults of {:?} in blocks of {size}", text(file));
    }
}

#[test]
fn splits_unquoted_fields() {
    check(2, "a,b\nc,d\n", &["1: a|b", "2: c|d"], &[]);
    check(3, ",,\n", &["1: ||"], &[]);
    check(1, " a \n", &["1:  a "], &[]);
    check(2, "a\\,b\n", &["1: a\\|b"], &[]);
}

#[test]
fn a_quote_is_data_unless_it_is_the_first_byte_of_a_field() {
    check(2, "a\"b\"\"c, \"d\"\n", &["1: a\"b\"\"c| \"d\""], &[]);
}

#[test]
fn splits_quoted_fields() {
    check(2, "\"a\",\"b\"\n\"\",\"\"\n", &["1: a|b", "2: |"], &[]);
    check(1, "\"a\"\"b\"\n\"\"\"\"\n\"\"\"a\"\"\"\n", &["1: a\"b", "2: \"", "3: \"a\""], &[]);
    check(2, "\"a,b\",\"c\r\nd\ne\rf\"\ng,h\n", &["1: a,b|c\r\nd\ne\rf", "4: g|h"], &[]);
    check(1, "\"a\\\"\n", &["1: a\\"], &[]);
}

#[test]
fn accepts_every_line_end_also_mixed() {
    check(2, "a,b\r\nc,\"d\"\n\"e\",\"f\"\r\ng,h", &["1: a|b", "2: c|d", "3: e|f", "4: g|h"], &[]);
    check(2, "a,b\r", &["1: a|b"], &[]);
    check(2, "a,\"b\"\r", &["1: a|b"], &[]);
    check(2, "a,", &["1: a|"], &[]);
    check(1, "\"a\"", &["1: a"], &[]);
}

#[test]
fn skips_blank_lines_but_counts_them() {
    check(1, "\n\r\na\n\n\r\n\"b\"\n\n", &["3: a", "6: b"], &[]);
    check(1, "", &[], &[]);
    check(1, "\r", &[], &[]);
    check(1, "a\n\r", &["1: a"], &[]);
    check(1, " \n\"\"\n", &["1:  ", "2: "], &[]);
}

#[test]
fn skips_the_byte_order_mark_only_at_the_start_of_the_file() {
    check(1, "\u{FEFF}a\n\u{FEFF}b\n", &["1: a", "2: \u{FEFF}b"], &[]);
    check(1, "\u{FEFF}\"a\"\n", &["1: a"], &[]);
    check(1, "\u{FEFF}", &[], &[]);
    check(1, "\u{FEFF}\u{FEFF}a", &["1: \u{FEFF}a"], &[]);
    check_with(&Splitter::new(Dialect::default(), 1), b"\xEF\xBB", &["1: \u{FFFD}"], &[]);

    let block = "\u{FEFF}a\n".as_bytes();
    let mut split = Split::default();
    Splitter::new(Dialect::default(), 1).split(block, 1, true, &mut split);
    assert_eq!(split.field(block, 0, 0).bytes(), "\u{FEFF}a".as_bytes());
}

#[test]
fn refuses_text_after_a_closing_quote() {
    check(
        3,
        "1,2,3\n\"a\",\"b!\"c\",\"d\"\n4,5,6\n",
        &["1: 1|2|3", "3: 4|5|6"],
        &["line 2: field 2: text after the closing quote at column 9 <\"a\",\"b!\"c\",\"d\">"],
    );
    let fault = "line 1: field 1: text after the closing quote at column 4";
    check(1, "\"a\" \r\nb\n", &["2: b"], &[&format!("{fault} <\"a\" >")]);
    check(1, "\"a\"\rb", &[], &[&format!("{fault} <\"a\"\rb>")]);
    check(1, "\"a\"\r\r\n", &[], &[&format!("{fault} <\"a\"\r>")]);
}

#[test]
fn a_missing_quote_refuses_only_its_own_line() {
    // The quote that was left out lets the field run into the next line, where `"c` faults it.
    check(
        2,
        "\"a\",\"b\n\"c\",\"d\"\n\"e\",\"f\"\n",
        &["2: c|d", "3: e|f"],
        &["line 1: field 2: text after the closing quote at column 2 of the next line <\"a\",\"b>"],
    );
    check(
        1,
        "\"a\n\n\nb\"c\n",
        &["4: b\"c"],
        &["line 1: field 1: text after the closing quote at column 3, 3 lines below <\"a>"],
    );
}

#[test]
fn refuses_a_quote_that_is_never_closed() {
    check(
        2,
        "a,b\nc,\"d\r\ne,f\n",
        &["1: a|b", "3: e|f"],
        &["line 2: field 2: quote never closed, opened at column 3 <c,\"d>"],
    );
    check(1, "\"", &[], &["line 1: field 1: quote never closed, opened at column 1 <\">"]);
    check(
        1,
        "\"a\"\"",
        &[],
        &["line 1: field 1: quote never closed, opened at column 1 <\"a\"\">"],
    );
    check(
        2,
        "\"a\nb\",\"c\n",
        &[],
        &[
            "line 1: field 2: quote never closed, opened at column 4 of the next line <\"a>",
            "line 2: field 2: quote never closed, opened at column 4 <b\",\"c>",
        ],
    );
}

#[test]
fn refuses_a_carriage_return_without_line_feed() {
    let fault = "line 1: field 1: carriage return without line feed at column 2";
    check(1, "a\rb\nc\n", &["2: c"], &[&format!("{fault} <a\rb>")]);
    check(1, "a\r\r\n", &[], &[&format!("{fault} <a\r>")]);
    check(2, "a\r,b\r\n", &[], &[&format!("{fault} <a\r,b>")]);
    check(
        1,
        "\ra\n",
        &[],
        &["line 1: field 1: carriage return without line feed at column 1 <\ra>"],
    );
}

#[test]
fn refuses_another_number_of_fields() {
    check(
        2,
        "a\nb,c\nd,e,f\n",
        &["2: b|c"],
        &["line 1: found 1 field, expected 2 <a>", "line 3: found 3 fields, expected 2 <d,e,f>"],
    );
    // Over several lines it may be two broken records: only the first line is refused.
    check(
        2,
        "a,\"b\nc,d\ne\",f,g\nh,i\n",
        &["2: c|d", "4: h|i"],
        &[
            "line 1: found 4 fields, expected 2 <a,\"b>",
            "line 3: found 3 fields, expected 2 <e\",f,g>",
        ],
    );
    check(0, "a\n", &[], &["line 1: found 1 field, expected 0 <a>"]);
}

#[test]
fn refuses_records_that_are_too_long() {
    let five = Splitter::new(Dialect::default(), 1).with_max_record(5);
    check_with(&five, b"abcde\nabcde\r\nabcde", &["1: abcde", "2: abcde", "3: abcde"], &[]);
    let fault = "record longer than 5 bytes";
    check_with(
        &five,
        b"abcdef\n\"a\n\n\nb\"\nc\nabcdefghijklmnop\nabcde\rf\nd\n",
        &["5: b\"", "6: c", "9: d"],
        &[
            &format!("line 1: {fault} <abcde>"),
            &format!("line 2: {fault} <\"a>"),
            &format!("line 7: {fault} <abcde>"),
            &format!("line 8: {fault} <abcde>"),
        ],
    );
    check_with(&five, b"abcdefghijkl", &[], &[&format!("line 1: {fault} <abcde>")]);
    // The first fault is the one reported; the refused bytes are cut all the same.
    check_with(
        &five,
        b"\"a\"bcdefgh\ni\n",
        &["2: i"],
        &["line 1: field 1: text after the closing quote at column 4 <\"a\"bc>"],
    );
    assert_eq!(five.with_max_record(usize::MAX).max_record(), (1 << 30) - 3);
}

#[test]
fn other_dialects() {
    let tabs = Dialect { delimiter: b'\t', quote: None };
    assert!(tabs.is_sound());
    check_with(&Splitter::new(tabs, 2), b"\"a\tb\"\n\"c\"\t\n", &["1: \"a|b\"", "2: \"c\"|"], &[]);
    let odd = Dialect { delimiter: b';', quote: Some(b'\'') };
    check_with(&Splitter::new(odd, 2), b"'a''b;c';\"d\"\n", &["1: a'b;c|\"d\""], &[]);
    for (delimiter, quote) in [(b'\n', None), (b',', Some(b',')), (0xE9, None), (b',', Some(b'\r'))]
    {
        assert!(!Dialect { delimiter, quote }.is_sound());
    }
}

#[test]
fn tells_quoted_fields_and_doubled_quotes_apart() {
    let block = b"a,,\"\",\"b\"\"\"";
    let mut split = Split::default();
    Splitter::new(Dialect::default(), 4).split(block, Start::record(7), true, &mut split);
    assert_eq!((split.len(), split.is_empty(), split.n_fields()), (1, false, 4));
    assert_eq!((split.line(0), split.raw(0), split.lines()), (7, 0..11, 0));
    let marks: Vec<_> = split
        .fields(block, 0)
        .map(|f| (f.bytes(), f.is_quoted(), f.has_doubled_quotes()))
        .collect();
    let expected: [(&[u8], bool, bool); 4] =
        [(b"a", false, false), (b"", false, false), (b"", true, false), (b"b\"\"", true, true)];
    assert_eq!(marks, expected);
    let mut column = b"x".to_vec();
    split.field(block, 0, 3).append_to(&mut column);
    assert_eq!(column, b"xb\"");
}

#[test]
fn keeps_an_unfinished_record_for_the_next_block() {
    let splitter = Splitter::new(Dialect::default(), 1);
    let mut split = Split::default();
    // Each of these ends where the next byte may still change what was read.
    for tail in ["b", "\"b", "\"b\"", "\"b\"\r", "b\r", "\r", "\"b\"c", "b\rc", "b,c"] {
        let block = format!("a\n{tail}");
        splitter.split(block.as_bytes(), 5, false, &mut split);
        assert_eq!((split.len(), split.faults().len()), (1, 0), "{tail:?}");
        assert_eq!((split.consumed(), split.lines()), (2, 1), "{tail:?}");
        assert_eq!(split.next_start(), Start::record(6), "{tail:?}");
    }
}

#[test]
fn a_file_without_line_ends_does_not_pile_up() {
    let splitter = Splitter::new(Dialect::default(), 1).with_max_record(4);
    let mut split = Split::default();
    splitter.split(b"abcdef", Start::FILE, false, &mut split);
    let kind = FaultKind::RecordTooLong { limit: 4 };
    assert_eq!(split.faults(), [Fault { line: 1, raw: 0..4, kind }]);
    assert_eq!((split.consumed(), split.lines()), (6, 0));
    let block = b"g\nh\n";
    splitter.split(block, split.next_start(), true, &mut split);
    assert_eq!(split.faults(), []);
    assert_eq!((split.len(), split.line(0), split.raw(0)), (1, 2, 2..3));
}

#[test]
fn reads_a_header_of_any_number_of_fields() {
    let header = |block: &str, last| Splitter::header(Dialect::default(), block.as_bytes(), last);
    let found = header("\u{FEFF}\n\"a\"\"b\", c,\r\n1,2,3\n", false).unwrap().unwrap();
    assert_eq!(found.fields, [b"a\"b".to_vec(), b" c".to_vec(), b"".to_vec()]);
    assert_eq!((found.consumed, found.line, found.next_start), (16, 2, Start::record(3)));
    assert_eq!(header("a,b", true).unwrap().unwrap().consumed, 3);
    for unfinished in ["", "\u{FEFF}", "a,b", "a,b\r", "\"a\n", "\"a\"b", "\r\n"] {
        assert_eq!(header(unfinished, false), Ok(None), "{unfinished:?}");
    }
    for empty in ["", "\u{FEFF}", "\n\r\n\r"] {
        assert_eq!(header(empty, true), Ok(None), "{empty:?}");
    }
    let place = Place { field: 1, lines_below: 0, column: 4 };
    let fault = Fault { line: 2, raw: 1..5, kind: FaultKind::TextAfterQuote(place) };
    assert_eq!(header("\n\"a\"b\nc\n", false), Err(fault));
}
