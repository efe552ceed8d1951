//! Text into numbers and days, strictly: what is not exactly of the type is refused.

use jiff::civil::Date;

/// Words that spreadsheets and statistics packages write where a number or a date is missing.
/// They are null in typed columns; text columns keep them.
const MISSING: [&[u8]; 6] = [b"NA", b"N/A", b"null", b"NULL", b"NaN", b"nan"];

/// Says whether a field of a typed column has no value.
pub(super) fn is_missing(field: &[u8]) -> bool {
    field.is_empty() || field.len() <= 4 && MISSING.contains(&field)
}

/// Finds the first day, written as `2026-11-01`, in a name.
pub fn date_in(name: &str) -> Option<Date> {
    let starts = name.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(start, _)| start);
    let mut texts = starts.filter_map(|start| name.get(start..start + 10));
    texts.find_map(|text| text.parse().ok())
}

/// Reads a whole number; a fraction of zeros, as spreadsheets add (`31.0`), is accepted.
pub(super) fn int(field: &[u8]) -> Option<i64> {
    if field.len() <= 18 && field.iter().all(u8::is_ascii_digit) && !field.is_empty() {
        return Some(field.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')));
    }
    let text = std::str::from_utf8(field).ok()?;
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok()
}

/// Reads a finite number.
pub(super) fn float(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Reads `true` or `false` in any case.
pub(super) fn boolean(field: &[u8]) -> Option<bool> {
    match field.to_ascii_lowercase().as_slice() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Reads a moment as microseconds since 1970 in UTC.
pub(super) fn timestamp(field: &[u8]) -> Option<i64> {
    let moment: jiff::Timestamp = std::str::from_utf8(field).ok()?.parse().ok()?;
    Some(moment.as_microsecond())
}

/// Says whether a text such as `dd/mm/yyyy` says how dates are written.
pub fn is_date_format(format: &str) -> bool {
    DateFormat::new(format).is_some()
}

/// Where day, month and year stand in a date, and every byte between them.
#[derive(Clone, Debug)]
pub(super) struct DateFormat {
    length: usize,
    separators: Vec<(usize, u8)>,
    day: usize,
    month: usize,
    year: usize,
}

impl DateFormat {
    /// Reads a format such as `dd/mm/yyyy`.
    pub(super) fn new(format: &str) -> Option<Self> {
        let once = |word: &str| {
            let mut places = format.match_indices(word).map(|(at, _)| at);
            places.next().filter(|_| places.next().is_none())
        };
        let (day, month, year) = (once("dd")?, once("mm")?, once("yyyy")?);
        let only_known =
            format.bytes().filter(u8::is_ascii_alphanumeric).count() == "ddmmyyyy".len();
        let is_separator = |byte: &u8| !byte.is_ascii_alphanumeric();
        let bytes = format.bytes().enumerate();
        (only_known && format.is_ascii()).then(|| Self {
            length: format.len(),
            separators: bytes.filter(|(_, byte)| is_separator(byte)).collect(),
            day,
            month,
            year,
        })
    }

    /// Reads a day as days since 1970.
    pub(super) fn parse(&self, field: &[u8]) -> Option<i32> {
        let fits = field.len() == self.length
            && self.separators.iter().all(|(at, separator)| field[*at] == *separator);
        if !fits {
            return None;
        }
        let mut is_number = true;
        let mut number = |at: usize, len: usize| {
            field[at..at + len].iter().fold(0_u16, |n, byte| {
                let digit = byte.wrapping_sub(b'0');
                is_number &= digit < 10;
                n * 10 + u16::from(digit.min(9))
            })
        };
        let (day, month, year) = (number(self.day, 2), number(self.month, 2), number(self.year, 4));
        if !is_number {
            return None;
        }
        let date = Date::new(year.cast_signed(), month as i8, day as i8).ok()?;
        Some(days_since_1970(date))
    }
}

/// Counts days from 1970-01-01, as Arrow's `Date32` does.
pub fn days_since_1970(date: Date) -> i32 {
    // From "Euclidean affine functions and their application to calendar algorithms" (Neri and
    // Schneider, 2021): the year starts in March, so that the leap day is its last.
    let (year, month, day) =
        (i32::from(date.year()), i32::from(date.month()), i32::from(date.day()));
    let (year, month) = if month <= 2 { (year - 1, month + 12) } else { (year, month) };
    let century = year.div_euclid(100);
    1461 * year / 4 - century + century.div_euclid(4) + (979 * month - 2919) / 32 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_days_like_the_calendar() {
        let first = jiff::civil::date(1, 1, 1);
        let epoch = jiff::civil::date(1970, 1, 1);
        for offset in (0..3_600_000).step_by(97) {
            let Ok(day) = first.checked_add(jiff::Span::new().days(offset)) else { break };
            let expected = day.since(epoch).map(|span| span.get_days());
            assert_eq!(Some(days_since_1970(day)), expected.ok(), "{day}");
        }
    }

    #[test]
    fn reads_dates_strictly() {
        let uk = DateFormat::new("dd/mm/yyyy").map(|f| move |t: &str| f.parse(t.as_bytes()));
        let Some(uk) = uk else { unreachable!("the format is good") };
        assert_eq!(uk("01/01/1970"), Some(0));
        assert_eq!(uk("29/02/2024"), Some(19_782));
        for bad in ["29/02/2023", "31/13/2034", "1/1/1970", "21092016", "01-01-1970", "00/01/1970"]
        {
            assert_eq!(uk(bad), None, "{bad}");
        }
    }

    #[test]
    fn refuses_formats_that_are_not_dates() {
        for bad in ["dd/mm", "dd/mm/yy", "%d/%m/%Y", "dd/mm/yyyy hh", "dd/dd/mm/yyyy"] {
            assert!(DateFormat::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn finds_the_day_in_a_name() {
        let day = |name| date_in(name).map(days_since_1970);
        assert_eq!(day("BasicCompanyDataAsOneFile-1970-01-02.zip"), Some(1));
        assert_eq!(day("BasicCompanyData-1970-01-02-part1_7.csv"), Some(1));
        assert_eq!(day("register-2026.csv"), None);
        assert_eq!(day("é1970-01-02é"), Some(1));
        assert_eq!(day("1970-13-02"), None);
    }

    #[test]
    fn reads_numbers_strictly() {
        assert_eq!(int(b"31"), Some(31));
        assert_eq!(int(b"31.0"), Some(31));
        assert_eq!(int(b"31.5"), None);
        assert_eq!(int(b"31."), None);
        assert_eq!(int(b" 31"), None);
        assert_eq!(float(b"1e400"), None);
        assert_eq!(boolean(b"TRUE"), Some(true));
        assert_eq!(boolean(b"yes"), None);
        assert!(is_missing(b"") && is_missing(b"NA") && !is_missing(b"0"));
    }
}
