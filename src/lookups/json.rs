//! JSON of a server as values of columns: unknown members do not matter, what is read has its type
//! or there is a reason with its path.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::LookupColumn;
use crate::spec::Row;
use crate::table::ColumnType;

/// A value of a column, or why there is none.
pub(crate) type Found = Result<Option<String>, String>;

/// Reads a body. Nesting deeper than 128 is an error of the parser.
pub(crate) fn parse(body: &[u8]) -> Result<Value, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err("the answer is empty".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// A part of a document, with its path.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    document: &'a Value,
    value: &'a Value,
    path: String,
}

impl<'a> Member<'a> {
    /// Returns a document as the part that it is of itself.
    pub(crate) fn whole(document: &'a Value) -> Self {
        Self { document, value: document, path: "$".to_owned() }
    }

    /// Returns the document of a part.
    pub(crate) fn document(&self) -> Self {
        Self::whole(self.document)
    }

    /// Returns its value.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Goes down a path such as `a.b.0.c`; null is as good as nothing.
    pub(crate) fn find(&self, path: &str) -> Result<Option<&'a Value>, String> {
        Ok(self.walk(path)?.filter(|value| !value.is_null()))
    }

    /// Goes down a path; `None` when it leads nowhere.
    pub(crate) fn walk(&self, path: &str) -> Result<Option<&'a Value>, String> {
        let mut value = self.value;
        let mut walked = String::new();
        for word in path.split('.').filter(|word| !word.is_empty()) {
            let next = match (value, word.parse::<usize>()) {
                (Value::Null, _) => return Ok(None),
                (Value::Object(members), _) => members.get(word),
                (Value::Array(items), Ok(index)) => items.get(index),
                (_, Ok(_)) => return self.wrong(&walked, "a list"),
                _ => return self.wrong(&walked, "an object"),
            };
            let Some(next) = next else { return Ok(None) };
            walked.push('.');
            walked.push_str(word);
            value = next;
        }
        Ok(Some(value))
    }

    /// Says whether there is something at a path.
    pub(crate) fn has(&self, path: &str) -> Result<bool, String> {
        Ok(self.find(path)?.is_some())
    }

    /// Returns the object at a path, as a part.
    pub(crate) fn object(&self, path: &str) -> Result<Option<Self>, String> {
        match self.find(path)? {
            None => Ok(None),
            Some(value @ Value::Object(_)) => {
                let path = self.at(path);
                Ok(Some(Self { document: self.document, value, path }))
            }
            Some(_) => self.wrong(path, "an object"),
        }
    }

    /// Returns the items of the list at a path.
    pub(crate) fn list(&self, path: &str) -> Result<Option<Vec<Self>>, String> {
        let items = match self.find(path)? {
            None => return Ok(None),
            Some(Value::Array(items)) => items.iter().enumerate(),
            Some(_) => return self.wrong(path, "a list"),
        };
        let list = self.at(path);
        let part = |(index, value)| Self {
            document: self.document,
            value,
            path: format!("{list}[{index}]"),
        };
        Ok(Some(items.map(part).collect()))
    }

    /// Returns the text at a path; an empty one is null.
    pub(crate) fn text(&self, path: &str) -> Found {
        match self.find(path)? {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(format!("`{}` holds NUL", self.at(path)))
            }
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => self.wrong(path, "text"),
        }
    }

    /// Returns the whole number at a path.
    pub(crate) fn int(&self, path: &str) -> Result<Option<i64>, String> {
        match self.find(path)? {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => self.wrong(path, "a whole number of 64 bits"),
            },
        }
    }

    /// Returns the whole number at a path, which may be a text of digits: `"09"` is 9.
    pub(crate) fn digits(&self, path: &str) -> Result<Option<i64>, String> {
        match self.find(path)? {
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text.bytes().all(|b| b.is_ascii_digit()) => {
                match text.parse() {
                    Ok(number) => Ok(Some(number)),
                    Err(_) => self.wrong(path, "a whole number of 64 bits"),
                }
            }
            _ => self.int(path),
        }
    }

    /// Returns whether the flag at a path is set.
    pub(crate) fn flag(&self, path: &str) -> Result<Option<bool>, String> {
        match self.find(path)? {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => self.wrong(path, "true or false"),
        }
    }

    /// Returns the day at a path, written `2026-11-02`.
    pub(crate) fn day(&self, path: &str) -> Found {
        let Some(text) = self.text(path)? else { return Ok(None) };
        let is_plain = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if is_plain && text.parse::<Date>().is_ok() {
            return Ok(Some(text));
        }
        self.wrong(path, "a day")
    }

    /// Returns the value at a path as one of a column's type, strictly.
    pub(crate) fn typed(&self, kind: ColumnType, path: &str) -> Found {
        match kind {
            ColumnType::String => self.text(path),
            ColumnType::Int => Ok(self.int(path)?.map(|number| number.to_string())),
            ColumnType::Bool => Ok(self.flag(path)?.map(|flag| flag.to_string())),
            ColumnType::Date => self.day(path),
            ColumnType::Float => match self.find(path)? {
                None => Ok(None),
                Some(Value::Number(number)) => Ok(Some(number.to_string())),
                Some(_) => self.wrong(path, "a number"),
            },
            ColumnType::Timestamp => match self.text(path)? {
                None => Ok(None),
                Some(text) => match text.parse::<Timestamp>() {
                    Ok(moment) => Ok(Some(moment.to_string())),
                    Err(_) => self.wrong(path, "a moment"),
                },
            },
        }
    }

    /// Returns what has to be there.
    pub(crate) fn needed<T>(&self, found: Option<T>, path: &str) -> Result<T, String> {
        found.ok_or_else(|| format!("`{}` is missing", self.at(path)))
    }

    fn at(&self, path: &str) -> String {
        let path = path.trim_start_matches('.');
        if path.is_empty() { self.path.clone() } else { format!("{}.{path}", self.path) }
    }

    /// Says that what stands at a path is something else. The value itself may be anybody's.
    pub(crate) fn wrong<T>(&self, path: &str, expected: &str) -> Result<T, String> {
        Err(format!("`{}` is not {expected}", self.at(path)))
    }
}

/// A column and where in a part its values are.
pub(super) type Field = (&'static str, Read);

/// How the value of a column is read from a part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    /// The value at a path.
    At(ColumnType, &'static str),
    /// The whole number at a path, which may be a text of digits.
    Digits(&'static str),
    /// The day at a path; the last of all days stands for an end that nobody knows.
    Until(&'static str),
    /// What a function makes of the part.
    Made(ColumnType, fn(&Member<'_>) -> Found),
}

/// Returns the columns of fields.
pub(super) fn columns(fields: &[Field]) -> Vec<LookupColumn> {
    let column = |(name, read): &Field| {
        let kind = match read {
            Read::At(kind, _) | Read::Made(kind, _) => *kind,
            Read::Digits(_) => ColumnType::Int,
            Read::Until(_) => ColumnType::Date,
        };
        LookupColumn { name: (*name).to_owned(), kind }
    };
    fields.iter().map(column).collect()
}

/// Reads a part as a row of fields.
pub(super) fn row(fields: &[Field], part: &Member<'_>) -> Result<Row, String> {
    let value = |(_, read): &Field| match read {
        Read::At(kind, path) => part.typed(*kind, path),
        Read::Digits(path) => Ok(part.digits(path)?.map(|number| number.to_string())),
        Read::Until(path) => Ok(part.day(path)?.filter(|day| day != "9999-12-31")),
        Read::Made(_, make) => make(part),
    };
    fields.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_bodies_and_survives_others() {
        assert!(parse(b"\xef\xbb\xbf{}").is_ok());
        let deep = "[".repeat(100_000);
        for bad in
            [&b""[..], b" \n", b"{", b"\"\xff\"", b"\"\0\"", b"NaN", b"1e999", deep.as_bytes()]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn goes_down_paths() {
        let document = json!({ "a": { "b": [null, { "c": "x" }] }, "n": null, "0": "zero" });
        let whole = Member::whole(&document);
        assert_eq!(whole.text("a.b.1.c"), Ok(Some("x".into())));
        assert_eq!(whole.text("0"), Ok(Some("zero".into())));
        for nothing in ["a.b.0.c", "a.b.7", "n.x.y", "q"] {
            assert_eq!(whole.text(nothing), Ok(None), "{nothing}");
        }
        assert_eq!(whole.text("a.b.x"), Err("`$.a.b` is not an object".into()));
        assert_eq!(whole.text("a.b.1.c.d"), Err("`$.a.b.1.c` is not an object".into()));
        assert_eq!(whole.text("a"), Err("`$.a` is not text".into()));
    }

    #[test]
    fn reads_types_strictly() {
        let document = json!({
            "int": 7, "text": "7", "float": 7.0, "big": u64::MAX, "day": "2026-11-02",
            "week": "2026-W05-1", "moment": "2026-11-02T08:00:00+01:00", "nul": "a\0", "no": "",
        });
        let typed = |kind, path| Member::whole(&document).typed(kind, path);
        assert_eq!(typed(ColumnType::Int, "int"), Ok(Some("7".into())));
        assert_eq!(typed(ColumnType::Float, "float"), Ok(Some("7.0".into())));
        assert_eq!(typed(ColumnType::Date, "day"), Ok(Some("2026-11-02".into())));
        let moment = Ok(Some("2026-11-02T07:00:00Z".into()));
        assert_eq!(typed(ColumnType::Timestamp, "moment"), moment);
        assert_eq!(typed(ColumnType::String, "no"), Ok(None));
        for (kind, path) in [
            (ColumnType::Int, "text"),
            (ColumnType::Int, "float"),
            (ColumnType::Int, "big"),
            (ColumnType::Date, "week"),
            (ColumnType::Date, "moment"),
            (ColumnType::String, "int"),
            (ColumnType::String, "nul"),
            (ColumnType::Bool, "text"),
            (ColumnType::Timestamp, "day"),
        ] {
            assert!(typed(kind, path).is_err(), "{path}");
        }
        assert_eq!(Member::whole(&document).digits("text"), Ok(Some(7)));
    }
}
