//! An API that answers in JSON: which requests to make, page after page, and where in an answer
//! the records are. The look-up and the source of that name stand on it.

use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode, Uri};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::LookupColumn;
use super::Verdict;
use super::address::{Hidden, basic, get, percent, server};
use super::json::{Member, parse};
use super::template::Template;
use crate::context::BuildContext;
use crate::net::{HiddenQuery, Request, Response};
use crate::spec::{Code, Diagnostic, Located, LocatedMap, Mark, Row, Secret, Text, is_id};
use crate::table::ColumnType;

/// How the API knows who asks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// HTTP Basic, with a name and a password.
    Basic {
        /// The name.
        user: Secret,
        /// The password; empty otherwise.
        #[serde(default)]
        password: Option<Secret>,
    },
    /// A token in the header `Authorization: Bearer …`.
    Bearer(Secret),
    /// A header of its own.
    Header {
        /// The header.
        name: Located<String>,
        /// Its value.
        value: Secret,
    },
    /// A parameter of the address. It shows in the logs of servers; a header does not.
    Query {
        /// The parameter.
        name: Located<String>,
        /// Its value.
        value: Secret,
    },
}

/// How the API tells that there is more.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// Pages have numbers; the last is the one with no records, or with less than `size`.
    Page {
        /// The parameter with the number.
        parameter: String,
        /// The number of the first page, 1 otherwise.
        #[serde(default = "one")]
        first: u64,
        /// How many records a full page has; one more page is asked for otherwise.
        #[serde(default)]
        size: Option<u64>,
        /// The parameter with the size; it is not sent otherwise.
        #[serde(default)]
        size_parameter: Option<String>,
    },
    /// Pages begin at a record; the last is the one with no records, or with less than `size`.
    Offset {
        /// The parameter with the number of records before the page.
        parameter: String,
        /// How many records a full page has; one more page is asked for otherwise.
        #[serde(default)]
        size: Option<u64>,
        /// The parameter with the size; it is not sent otherwise.
        #[serde(default)]
        size_parameter: Option<String>,
    },
    /// A page names the next one; the last names none.
    Cursor {
        /// The parameter with the name.
        parameter: String,
        /// Where the name of the next page is in the answer, as `meta.next`.
        path: String,
    },
    /// The header `Link` has the address of the next page, on the same server.
    LinkHeader(bool),
}

fn one() -> u64 {
    1
}

/// A column of the answer: its type, or its type and where it is.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum JsonColumn {
    /// The type of a member that is called as the column.
    Type(ColumnType),
    /// The type and the path.
    Path(JsonPath),
}

impl<'de> Deserialize<'de> for JsonColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = JsonColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type, or `{ type: …, path: … }`")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<JsonColumn, E> {
                ColumnType::deserialize(name.into_deserializer()).map(JsonColumn::Type)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JsonColumn, A::Error> {
                // Not `untagged`: that would take a path called `on` for true.
                JsonPath::deserialize(MapAccessDeserializer::new(map)).map(JsonColumn::Path)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Where the value of a column is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonPath {
    /// Its type, `string` otherwise.
    #[serde(rename = "type", default)]
    pub kind: ColumnType,
    /// Where it is in a record, as `a.b.0.c`; the member called as the column otherwise.
    pub path: Option<String>,
}

/// The settings of whatever asks such an API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) url: &'a Text,
    pub(crate) auth: Option<&'a Auth>,
    pub(crate) headers: &'a LocatedMap<Text>,
    pub(crate) paging: Option<&'a Paging>,
    pub(crate) records: Option<&'a str>,
    pub(crate) columns: &'a LocatedMap<JsonColumn>,
    pub(crate) missing: &'a [Located<u16>],
}

/// An API that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct JsonApi {
    pub(crate) template: Template,
    pub(crate) columns: Vec<LookupColumn>,
    paths: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The parameter with a secret, and what to send.
    query: Option<(String, HiddenQuery)>,
    has_auth: bool,
    hidden: Hidden,
    paging: Option<Paging>,
    records: String,
    missing: Vec<StatusCode>,
}

/// How far a list is read; it travels with the request.
#[derive(Clone, Debug, Default)]
struct Step {
    n_read: u64,
    n_records: u64,
    cursor: Option<String>,
}

/// A page of records.
pub(crate) struct Page {
    /// Its rows; a record that does not fit is its reason and its text.
    pub(crate) rows: Vec<Result<Row, (String, String)>>,
    /// The request for the next one.
    pub(crate) next: Option<Request>,
}

impl JsonApi {
    /// Checks settings; notes mistakes in the context. `names` can stand in the address as `{name}`.
    pub(crate) fn build(
        settings: Settings<'_>,
        names: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Self> {
        let n_found = context.found.len();
        let at = settings.url.at();
        let template = context.text(settings.url);
        let template = template.and_then(|url| Template::parse(&url, at, names, context));
        let (columns, paths) = columns(settings.columns, at, context);
        let mut hidden = Hidden::default();
        let mut headers = plain_headers(settings.headers, context);
        let mut query = None;
        if let Some(auth) = settings.auth {
            auth.apply(&mut headers, &mut query, &mut hidden, context);
        }
        let missing = statuses(settings.missing, context);
        if context.found.len() > n_found {
            return None;
        }
        Some(Self {
            template: template?,
            columns,
            paths,
            headers,
            query,
            has_auth: settings.auth.is_some(),
            hidden,
            paging: settings.paging.cloned(),
            records: settings.records.unwrap_or_default().to_owned(),
            missing,
        })
    }

    /// Returns what tells the answers from those of other settings.
    pub(crate) fn identity(&self) -> String {
        let columns = self.columns.iter().zip(&self.paths);
        let columns: Vec<String> =
            columns.map(|(c, path)| format!("{} {} {path}", c.name, c.kind.name())).collect();
        let headers: Vec<_> = self.headers.iter().filter(|(_, v)| !v.is_sensitive()).collect();
        format!(
            "1 {} {headers:?} {:?} {} {columns:?} {:?}",
            self.template.text(),
            self.paging,
            self.records,
            self.missing
        )
    }

    /// Returns the first request for values of the names in the address.
    pub(crate) fn first(&self, values: &[String]) -> Request {
        let address = self.template.fill(values);
        let step = Step::default();
        self.request(&self.turn_to(&address, &step), step)
    }

    fn request(&self, address: &str, step: Step) -> Request {
        let mut request = get(address, &self.headers).unwrap_or_default();
        if let Some((_, query)) = &self.query {
            request.extensions_mut().insert(query.clone());
        }
        request.extensions_mut().insert(step);
        request
    }

    /// Writes into an address which page is wanted.
    fn turn_to(&self, address: &str, step: &Step) -> String {
        let (place, size) = match &self.paging {
            None | Some(Paging::LinkHeader(_)) => return address.to_owned(),
            Some(Paging::Page { parameter, first, size, size_parameter }) => {
                let number = first.saturating_add(step.n_read).to_string();
                (Some((parameter, number)), size_parameter.as_ref().zip(*size))
            }
            Some(Paging::Offset { parameter, size, size_parameter }) => {
                let place = Some((parameter, step.n_records.to_string()));
                (place, size_parameter.as_ref().zip(*size))
            }
            Some(Paging::Cursor { parameter, .. }) => {
                (step.cursor.clone().map(|cursor| (parameter, cursor)), None)
            }
        };
        let mut address = address.to_owned();
        if let Some((name, size)) = size {
            address = with_parameter(&address, name, &size.to_string());
        }
        match place {
            Some((name, value)) => with_parameter(&address, name, &value),
            None => address,
        }
    }

    /// Reads a response to one of its requests; at most so many pages.
    pub(crate) fn read(
        &self,
        request: &Request,
        response: &Response,
        most: u64,
    ) -> Result<Page, Verdict> {
        self.judge(response)?;
        let document = parse(response.body()).map_err(Verdict::Passing)?;
        let records = self.records(&document).map_err(Verdict::Passing)?;
        let mut step: Step = request.extensions().get().cloned().unwrap_or_default();
        step.n_read += 1;
        step.n_records = step.n_records.saturating_add(records.len() as u64);
        let next = self.next(request, response, &document, records.len() as u64, &mut step)?;
        if next.is_some() && step.n_read >= most {
            return Err(Verdict::Passing(format!("more than {most} pages")));
        }
        let row = |record: &Member<'_>| {
            self.row(record).map_err(|reason| (reason, record.value().to_string()))
        };
        let rows = records.iter().map(row).collect();
        Ok(Page { rows, next: next.map(|address| self.request(&address, step)) })
    }

    fn row(&self, record: &Member<'_>) -> Result<Row, String> {
        let columns = self.columns.iter().zip(&self.paths);
        columns.map(|(column, path)| record.typed(column.kind, path)).collect()
    }

    fn records<'a>(&self, document: &'a Value) -> Result<Vec<Member<'a>>, String> {
        let whole = Member::whole(document);
        match whole.walk(&self.records)? {
            Some(Value::Array(_)) => Ok(whole.list(&self.records)?.unwrap_or_default()),
            Some(Value::Object(_)) => Ok(whole.object(&self.records)?.into_iter().collect()),
            Some(Value::Null) => Ok(Vec::new()),
            Some(_) => whole.wrong(&self.records, "a list or an object"),
            // A list that is gone is another answer than a list of nothing.
            None => whole.wrong(&self.records, "there"),
        }
    }

    /// Returns the address of the next page; it is another one than that of this page.
    fn next(
        &self,
        request: &Request,
        response: &Response,
        document: &Value,
        n_records: u64,
        step: &mut Step,
    ) -> Result<Option<String>, Verdict> {
        let address = request.uri().to_string();
        match &self.paging {
            None | Some(Paging::LinkHeader(false)) => return Ok(None),
            Some(Paging::Page { size, .. } | Paging::Offset { size, .. }) => {
                if n_records == 0 || size.is_some_and(|size| n_records < size) {
                    return Ok(None);
                }
            }
            Some(Paging::Cursor { path, .. }) => {
                let whole = Member::whole(document);
                let is_number = whole.find(path).map_err(Verdict::Passing)?;
                let cursor = match is_number.is_some_and(Value::is_number) {
                    true => whole.int(path).map(|n| n.map(|n| n.to_string())),
                    false => whole.text(path),
                };
                let Some(cursor) = cursor.map_err(Verdict::Passing)? else { return Ok(None) };
                if step.cursor.as_ref() == Some(&cursor) {
                    return Err(Verdict::Passing(format!("`$.{path}` names the same page again")));
                }
                step.cursor = Some(cursor);
            }
            Some(Paging::LinkHeader(true)) => {
                let Some(link) = next_link(response) else { return Ok(None) };
                return self.follow(request.uri(), &link).map(Some);
            }
        }
        Ok(Some(self.turn_to(&address, step)))
    }

    /// Credentials go where the file says, and nowhere else.
    fn follow(&self, from: &Uri, link: &str) -> Result<String, Verdict> {
        let refused = |reason: &str| Verdict::Refused(format!("the header `Link`: {reason}"));
        let own = server(from).map_err(|reason| refused(&reason))?;
        let address = match link.as_bytes() {
            [b'/', rest @ ..] if rest.first() != Some(&b'/') => format!("{own}{link}"),
            [b'?', ..] => format!("{own}{}{link}", from.path()),
            _ => link.to_owned(),
        };
        let uri: Uri = address.parse().map_err(|_| refused("no address"))?;
        if server(&uri).ok().as_ref() != Some(&own) {
            return Err(refused("the next page is on another server"));
        }
        let uri = uri.to_string();
        let next = match &self.query {
            Some((name, _)) => without_parameter(&uri, name),
            None => uri,
        };
        if next == from.to_string() {
            return Err(Verdict::Passing("the header `Link` names the same page again".to_owned()));
        }
        Ok(next)
    }

    fn judge(&self, response: &Response) -> Result<(), Verdict> {
        let status = response.status();
        let reason = || self.hidden.excerpt(response);
        Err(match status {
            _ if self.missing.contains(&status) => Verdict::Missing("unknown"),
            _ if status.is_success() => return Ok(()),
            StatusCode::UNAUTHORIZED => Verdict::Unauthorized(reason()),
            StatusCode::FORBIDDEN if self.has_auth => Verdict::Unauthorized(reason()),
            StatusCode::TOO_MANY_REQUESTS => Verdict::Limited(reason()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Verdict::Passing(reason()),
            _ if status.is_client_error() || status.is_redirection() => Verdict::Refused(reason()),
            _ => Verdict::Passing(reason()),
        })
    }
}

impl Auth {
    fn apply(
        &self,
        headers: &mut Vec<(HeaderName, HeaderValue)>,
        query: &mut Option<(String, HiddenQuery)>,
        hidden: &mut Hidden,
        context: &mut BuildContext<'_>,
    ) {
        let (name, at, prefix, secret) = match self {
            Self::Basic { user, password } => {
                let password = match password {
                    Some(password) => context.secret(password),
                    None => Some(String::new()),
                };
                if let (Some(user), Some(password)) = (context.secret(user), password) {
                    headers.push(basic(&user, &password, hidden));
                }
                return;
            }
            Self::Query { name, value } => {
                if let Some(secret) = context.secret(value) {
                    hidden.add(&secret);
                    let pair = format!("{}={}", percent(name), percent(&secret));
                    *query = Some((name.value.clone(), HiddenQuery::new(pair)));
                }
                return;
            }
            Self::Bearer(token) => ("authorization", token.at(), "Bearer ", token),
            Self::Header { name, value } => (name.value.as_str(), name.at, "", value),
        };
        let Some(secret) = context.secret(secret) else { return };
        hidden.add(&secret);
        if let Some((name, mut value)) = header(name, &format!("{prefix}{secret}"), at, context) {
            value.set_sensitive(true);
            headers.push((name, value));
        }
    }
}

/// Makes a header; notes the mistake otherwise, without the value.
fn header(
    name: &str,
    value: &str,
    at: Mark,
    context: &mut BuildContext<'_>,
) -> Option<(HeaderName, HeaderValue)> {
    match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => return Some((name, value)),
        (Err(_), _) => {
            let message = format!("`{name}` is no name of a header");
            context.found.push(Diagnostic::error(Code::BadValue, message, at));
        }
        (Ok(name), Err(_)) => {
            let message = format!("the header `{name}` cannot hold this value");
            context.found.push(Diagnostic::error(Code::BadValue, message, at));
        }
    }
    None
}

fn plain_headers(
    headers: &LocatedMap<Text>,
    context: &mut BuildContext<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut made = Vec::new();
    for (name, value) in &headers.0 {
        if let Some(text) = context.text(value) {
            made.extend(header(name, &text, name.at, context));
        }
    }
    made
}

fn columns(
    columns: &LocatedMap<JsonColumn>,
    at: Mark,
    context: &mut BuildContext<'_>,
) -> (Vec<LookupColumn>, Vec<String>) {
    if columns.0.is_empty() {
        let fault = Diagnostic::error(Code::BadValue, "there are no `columns`", at);
        context.found.push(fault.help("write `columns: { name: string }`"));
    }
    let (mut made, mut paths) = (Vec::new(), Vec::new());
    for (name, column) in &columns.0 {
        if !is_id(name) {
            let message = format!("`{}` is no name of a column", name.value);
            let fault = Diagnostic::error(Code::Id, message, name.at);
            context.found.push(fault.help("small letters, digits and `_`, as `first_name`"));
        }
        let (kind, path) = match column {
            JsonColumn::Type(kind) => (*kind, None),
            JsonColumn::Path(path) => (path.kind, path.path.clone()),
        };
        made.push(LookupColumn { name: name.value.clone(), kind });
        paths.push(path.unwrap_or_else(|| name.value.clone()));
    }
    (made, paths)
}

fn statuses(written: &[Located<u16>], context: &mut BuildContext<'_>) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for status in written {
        match StatusCode::from_u16(status.value) {
            Ok(code) if code.is_client_error() || code == StatusCode::NO_CONTENT => {
                statuses.push(code);
            }
            _ => {
                let message =
                    format!("{} says something else than that nothing is there", **status);
                let fault = Diagnostic::error(Code::BadValue, message, status.at);
                context
                    .found
                    .push(fault.help("statuses are 204 and 400 to 499, `[404]` otherwise"));
            }
        }
    }
    statuses
}

/// Returns the address of `rel="next"` in the header `Link`.
fn next_link(response: &Response) -> Option<String> {
    let headers = response.headers().get_all(http::header::LINK);
    let texts = headers.iter().filter_map(|value| value.to_str().ok());
    for text in texts {
        for link in text.split('<').skip(1) {
            let Some((address, parameters)) = link.split_once('>') else { continue };
            let is_next = parameters.split([';', ',']).any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                let value = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|rel| rel == "next")
            });
            if is_next {
                return Some(address.trim().to_owned());
            }
        }
    }
    None
}

/// Gives a parameter of an address a value in place of those that it has.
fn with_parameter(address: &str, name: &str, value: &str) -> String {
    let address = without_parameter(address, name);
    let sign = if address.contains('?') { '&' } else { '?' };
    format!("{address}{sign}{}={}", percent(name), percent(value))
}

fn without_parameter(address: &str, name: &str) -> String {
    let Some((place, query)) = address.split_once('?') else { return address.to_owned() };
    let name = percent(name);
    let other = |pair: &&str| !pair.is_empty() && pair.split('=').next() != Some(&name);
    let pairs: Vec<&str> = query.split('&').filter(other).collect();
    if pairs.is_empty() { place.to_owned() } else { format!("{place}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_parameters_once() {
        let address = "https://a.example/x?page=1&q=a%20b";
        assert_eq!(with_parameter(address, "page", "2"), "https://a.example/x?q=a%20b&page=2");
        assert_eq!(
            with_parameter("https://a.example/x", "a b", "é"),
            "https://a.example/x?a%20b=%C3%A9"
        );
        assert_eq!(without_parameter("https://a.example/x?page=1", "page"), "https://a.example/x");
    }

    #[test]
    fn finds_the_next_link() {
        let link = |text: &'static str| {
            let mut response = Response::new(Vec::new());
            response.headers_mut().insert("link", HeaderValue::from_static(text));
            next_link(&response)
        };
        let two = r#"<https://a/1>; rel="prev", <https://a/3>; title="x"; rel="last next""#;
        assert_eq!(link(two).as_deref(), Some("https://a/3"));
        assert_eq!(link("</x?page=2>; rel=next").as_deref(), Some("/x?page=2"));
        assert_eq!(link(r#"<https://a/1>; rel="prev""#), None);
    }
}
