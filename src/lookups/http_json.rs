//! `http_json`: any API that answers in JSON, by columns that stand in the address.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::json_api::{Auth, JsonApi, JsonColumn, Paging, Settings};
use super::{BuildLookup, Key, Lookup, LookupColumn, Verdict};
use crate::context::BuildContext;
use crate::net::{Request, Response};
use crate::spec::{Located, LocatedMap, Mark, Row, Text};

/// The most pages that are read for a key.
const PAGES: u64 = 100;

/// Asks an API that answers in JSON: a row for each record. Columns of `by` stand in the address
/// as `{name}`. A value that is not of its column's type is a fault of the answer, which is asked
/// for again; null and what is not there are null.
///
/// ```yaml
/// enrich:
///   http_json:
///     url: "https://api.example.org/companies/{company_number}/ratings"
///     auth: { bearer: "${secret:RATINGS_KEY}" }
///     paging: { page: { parameter: page, size: 50, size_parameter: per_page } }
///     records: data.items
///     columns:
///       rating: float
///       rated_on: { type: date, path: meta.day }
/// by: [company_number]
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpJson {
    /// The address, with `{name}` for a column of `by`.
    pub url: Text,
    /// How the API knows who asks: `basic`, `bearer`, `header` or `query`.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Headers of every request. Secrets belong into `auth`.
    #[serde(default)]
    pub headers: LocatedMap<Text>,
    /// How the API tells that there is more: `page`, `offset`, `cursor` or `link_header`; one
    /// request otherwise. No more than 100 pages are read for a key.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// Where the records are, as `data.items`: a list, or an object that is the only one. The whole
    /// answer otherwise.
    #[serde(default)]
    pub records: Option<String>,
    /// The columns that it adds: `name: type`, or `name: { type: …, path: a.b.0.c }`.
    pub columns: LocatedMap<JsonColumn>,
    /// Statuses that say that there is nothing for a key, `[404]` otherwise.
    #[serde(default)]
    pub missing: Option<Vec<Located<u16>>>,
}

impl BuildLookup for HttpJson {
    fn build(
        &self,
        by: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Lookup>> {
        let not_found = [Located::new(404, Mark::default())];
        let settings = Settings {
            url: &self.url,
            auth: self.auth.as_ref(),
            headers: &self.headers,
            paging: self.paging.as_ref(),
            records: self.records.as_deref(),
            columns: &self.columns,
            missing: self.missing.as_deref().unwrap_or(&not_found),
        };
        let api = JsonApi::build(settings, by, context)?;
        Some(Arc::new(Api { api }))
    }
}

/// An API that is asked for keys.
#[derive(Debug)]
struct Api {
    api: JsonApi,
}

impl Lookup for Api {
    fn columns(&self) -> &[LookupColumn] {
        &self.api.columns
    }

    fn identity(&self) -> String {
        format!("http_json {}", self.api.identity())
    }

    fn server(&self) -> &str {
        self.api.template.server()
    }

    fn key(&self, values: &[&str]) -> Result<Key, String> {
        let key: Key = values.iter().map(|value| value.trim().to_owned()).collect();
        self.api.template.check_values(&key)?;
        Ok(key)
    }

    fn ask(&self, key: &Key) -> Request {
        self.api.first(key)
    }

    fn read(
        &self,
        _: &Key,
        request: &Request,
        response: &Response,
        rows: &mut Vec<Row>,
    ) -> Verdict {
        let page = match self.api.read(request, response, PAGES) {
            Ok(page) => page,
            // Some say of the page after the last one that it is not there.
            Err(Verdict::Missing(_)) if !rows.is_empty() => return Verdict::Answer,
            Err(verdict) => return verdict,
        };
        let read: Result<Vec<Row>, _> = page.rows.into_iter().collect();
        match read {
            Err((reason, _)) => return Verdict::Passing(reason),
            Ok(read) => rows.extend(read),
        }
        match page.next {
            Some(next) => Verdict::Next(Box::new(next)),
            None if rows.is_empty() => Verdict::Missing("none"),
            None => Verdict::Answer,
        }
    }
}
