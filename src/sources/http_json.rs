//! `http_json`: records of an API that answers in JSON, page after page.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt as _;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::contract::{CheckedColumn, Contract};
use super::convert::MOST_RAW;
use super::refused::{Refused, rejected};
use super::{Batch, BatchStream, BuildSource, Source};
use crate::context::{BuildContext, ReadContext};
use crate::error::{Error, Result};
use crate::lookups::Verdict;
use crate::lookups::json_api::{Auth, JsonApi, JsonColumn, Page, Paging, Settings};
use crate::net::{Bounds, Request, Transport};
use crate::spec::{LocatedMap, Row, Text};
use crate::table::{Column, RowBuilder};

/// The most pages of a reading.
const PAGES: u64 = 1_000_000;
/// How often a page is asked for before the run fails.
const ATTEMPTS: u32 = 3;
/// A server that wants us to wait longer makes the run fail.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Reads the records of an API that answers in JSON: a row for each. A record with a value that is
/// not of its column's type goes to `.rejected`; null and what is not there are null. A page that
/// does not come is asked for three times, after a second and after two, or when the server says.
/// No rate limit is kept but that.
///
/// ```yaml
/// sources:
///   ratings:
///     http_json:
///       url: "https://api.example.org/ratings?since=2026-01-01"
///       auth: { bearer: "${secret:RATINGS_KEY}" }
///       paging: { cursor: { parameter: after, path: meta.next } }
///       records: data.items
///       columns:
///         company_number: string
///         rating: float
///         rated_on: { type: date, path: meta.day }
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpJson {
    /// The address.
    pub url: Text,
    /// How the API knows who asks: `basic`, `bearer`, `header` or `query`.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Headers of every request. Secrets belong into `auth`.
    #[serde(default)]
    pub headers: LocatedMap<Text>,
    /// How the API tells that there is more: `page`, `offset`, `cursor` or `link_header`; one
    /// request otherwise.
    #[serde(default)]
    pub paging: Option<Paging>,
    /// Where the records are, as `data.items`: a list, or an object that is the only one. The whole
    /// answer otherwise.
    #[serde(default)]
    pub records: Option<String>,
    /// The columns: `name: type`, or `name: { type: …, path: a.b.0.c }`.
    pub columns: LocatedMap<JsonColumn>,
}

#[async_trait]
impl BuildSource for HttpJson {
    fn build(
        &self,
        contract: &Contract,
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Source>> {
        let api = JsonApi::build(self.settings(), &[], context)?;
        let columns = contract.apply(columns(&api), context);
        Some(Arc::new(Records::new(api, columns)))
    }
}

impl HttpJson {
    fn settings(&self) -> Settings<'_> {
        Settings {
            url: &self.url,
            auth: self.auth.as_ref(),
            headers: &self.headers,
            paging: self.paging.as_ref(),
            records: self.records.as_deref(),
            columns: &self.columns,
            // An address without records is a mistake, not an empty list.
            missing: &[],
        }
    }
}

fn columns(api: &JsonApi) -> Vec<Column> {
    let column = |name: &String, kind| Column { kind, ..Column::text(name.clone(), name) };
    api.columns.iter().map(|made| column(&made.name, made.kind)).collect()
}

/// An API that can be read.
#[derive(Clone, Debug)]
struct Records {
    api: Arc<JsonApi>,
    columns: Vec<CheckedColumn>,
    schema: SchemaRef,
}

impl Records {
    fn new(api: JsonApi, columns: Vec<CheckedColumn>) -> Self {
        let fields: Vec<_> = columns.iter().map(|(column, _)| column.field()).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { api: Arc::new(api), columns, schema }
    }
}

impl Source for Records {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn read(&self, context: ReadContext) -> BatchStream {
        let request = Some(self.api.first(&[]));
        let records = self.clone();
        let reading = Reading { records, context, network: None, request, n_read: 0 };
        stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|batch| (batch, reading)))
        })
        .boxed()
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn fingerprint(&self) -> String {
        // Nobody can tell what an API will say.
        self.api.identity()
    }

    fn describe(&self) -> String {
        format!("records of {}", self.api.template.server())
    }
}

/// A reading, page after page.
struct Reading {
    records: Records,
    context: ReadContext,
    network: Option<Arc<dyn Transport>>,
    /// The next page.
    request: Option<Request>,
    n_read: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Batch>> {
        let is_enough = self.context.limit.is_some_and(|limit| self.n_read >= limit);
        let Some(request) = self.request.take().filter(|_| !is_enough) else { return Ok(None) };
        let page = self.ask(&request).await?;
        self.request = page.next;
        self.batch(page.rows).map(Some)
    }

    /// Asks for a page until it comes, or not.
    async fn ask(&mut self, request: &Request) -> Result<Page> {
        let network = match &self.network {
            Some(network) => Arc::clone(network),
            None => self.context.outside.network(Bounds::default())?,
        };
        self.network = Some(Arc::clone(&network));
        let mut n_failures = 0;
        loop {
            n_failures += 1;
            let (reason, wait) = match network.send(request.clone()).await {
                Err(failure) => (failure.to_string(), None),
                Ok(response) => match self.records.api.read(request, &response, PAGES) {
                    Ok(page) => return Ok(page),
                    Err(Verdict::Passing(reason) | Verdict::Limited(reason)) => {
                        let after = response.headers().get(http::header::RETRY_AFTER);
                        let after = after.and_then(|text| text.to_str().ok()?.parse().ok());
                        (reason, after.map(Duration::from_secs))
                    }
                    Err(other) => return Err(self.failed(&reason_of(other))),
                },
            };
            if n_failures == ATTEMPTS {
                return Err(self.failed(&format!("{reason}, {ATTEMPTS} times in a row")));
            }
            let wait = wait.unwrap_or(Duration::from_secs(1 << (n_failures - 1)));
            if wait > LONGEST_WAIT {
                return Err(self.failed(&format!("{reason}; again in {} s", wait.as_secs())));
            }
            tracing::info!(server = self.records.api.template.server(), %reason, "asks again");
            self.context.outside.clock.sleep(wait).await;
        }
    }

    fn failed(&self, reason: &str) -> Error {
        Error::external(format!("`{}`: {reason}", self.records.api.template.server()))
    }

    /// Turns the rows of a page into columns, up to the limit.
    fn batch(&mut self, rows: Vec<Result<Row, (String, String)>>) -> Result<Batch> {
        let records = &self.records;
        let schema = records.schema.project(&self.context.projection);
        let schema = schema.map_err(|e| Error::internal("a projection").because(e))?;
        let mut builder = RowBuilder::new(&records.columns, &self.context.projection)
            .ok_or_else(|| Error::internal("an unchecked date format"))?;
        let (mut refused, mut n_rows) = (Vec::new(), 0);
        for row in rows {
            if self.context.limit.is_some_and(|limit| self.n_read >= limit) {
                break;
            }
            self.n_read += 1;
            let refusal = match row {
                Err(refusal) => Some(refusal),
                Ok(row) => add(&row, &mut builder).map(|reason| {
                    let names = records.columns.iter().map(|(column, _)| column.name.clone());
                    let values = row.into_iter().map(serde_json::Value::from);
                    (reason, serde_json::Value::Object(names.zip(values).collect()).to_string())
                }),
            };
            match refusal {
                None => n_rows += 1,
                Some((reason, mut raw)) => {
                    raw.truncate(raw.floor_char_boundary(MOST_RAW));
                    refused.push(Refused { line: self.n_read, reason, raw });
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = builder
            .finish()
            .and_then(|c| RecordBatch::try_new_with_options(Arc::new(schema), c, &options))
            .map_err(|e| Error::internal("rows do not fit their schema").because(e))?;
        Ok(Batch {
            rejected: rejected(self.records.api.template.server(), &refused)?,
            ..Batch::new(rows)
        })
    }
}

/// Adds a row, or says why it does not fit.
fn add(row: &Row, builder: &mut RowBuilder) -> Option<String> {
    let fault = builder.add(|index| row.get(index).and_then(Option::as_deref).unwrap_or_default());
    fault.map(|fault| fault.to_string())
}

fn reason_of(verdict: Verdict) -> String {
    match verdict {
        Verdict::Unauthorized(reason) => format!("{reason}; check the secrets of `auth`"),
        Verdict::Barred(reason) | Verdict::Refused(reason) => reason,
        Verdict::Limited(reason) | Verdict::Passing(reason) => reason,
        Verdict::Missing(word) => word.to_owned(),
        Verdict::Answer | Verdict::Next(_) => "an answer in the wrong place".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test fails by panicking")]

    use std::sync::Mutex;

    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;
    use crate::context::{Files, Outside};
    use crate::net::{Failure, Response, Stage};
    use crate::spec::Scope;

    /// A server that says one thing after the other.
    #[derive(Debug)]
    struct Script(Mutex<Vec<Result<(u16, &'static str), Failure>>>);

    #[async_trait]
    impl Transport for Script {
        async fn send(&self, _: Request) -> Result<Response, Failure> {
            let next = self.0.lock().expect("a lock").remove(0);
            next.map(|(status, body)| {
                let mut response = Response::new(body.as_bytes().to_vec());
                *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
                response.headers_mut().insert("retry-after", http::HeaderValue::from_static("0"));
                response
            })
        }
    }

    /// Reads what a server says; ids, refused rows, and the error at the end.
    fn read(
        script: Vec<Result<(u16, &'static str), Failure>>,
        limit: Option<u64>,
    ) -> (Vec<i64>, usize, Option<String>) {
        let settings: HttpJson = serde_saphyr::from_str(
            "{ url: 'https://a.example/x', records: items, columns: { id: int, name: string }, \
             paging: { page: { parameter: page, size: 2 } } }",
        )
        .expect("settings");
        let scope = Scope::default();
        let mut context = BuildContext::new(&scope, Files::MayBeMissing);
        let api = JsonApi::build(settings.settings(), &[], &mut context).expect("an API");
        let columns = Contract::default().apply(columns(&api), &mut context);
        let records = Records::new(api, columns);
        let transport: Arc<dyn Transport> = Arc::new(Script(Mutex::new(script)));
        let outside = Outside { transport: Some(transport), ..Outside::default() };
        let context = ReadContext { projection: vec![0], limit, outside, ..ReadContext::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let (mut ids, mut n_refused, mut error) = (Vec::new(), 0, None);
            let mut batches = records.read(context);
            while let Some(batch) = batches.next().await {
                match batch {
                    Ok(batch) => {
                        ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values());
                        n_refused += batch.rejected.map_or(0, |rows| rows.num_rows());
                    }
                    Err(failed) => error = Some(failed.to_string()),
                }
            }
            (ids, n_refused, error)
        })
    }

    const FIRST: &str = r#"{"items":[{"id":1,"name":"a"},{"id":2}]}"#;
    const LAST: &str = r#"{"items":[{"id":3}]}"#;

    #[test]
    fn reads_page_after_page_and_asks_again() {
        let cut = Failure { stage: Stage::Body, reason: "cut".to_owned() };
        let script =
            vec![Ok((503, "")), Ok((200, "{")), Ok((200, FIRST)), Ok((429, "")), Ok((200, LAST))];
        assert_eq!(read(script, None), (vec![1, 2, 3], 0, None));
        assert_eq!(read(vec![Ok((200, FIRST))], Some(1)), (vec![1], 0, None));
        let (ids, _, error) =
            read(vec![Ok((200, FIRST)), Err(cut), Ok((500, "")), Ok((500, ""))], None);
        assert_eq!(ids, [1, 2]);
        assert!(error.is_some_and(|e| e.contains("500 Internal Server Error, 3 times in a row")));
        let (_, _, error) = read(vec![Ok((404, ""))], None);
        assert!(error.is_some_and(|error| error.contains("404 Not Found")));
    }

    #[test]
    fn a_record_that_does_not_fit_is_refused_alone() {
        let odd = r#"{"items":[{"id":"1"},{"id":2,"name":"b"},7]}"#;
        let script = vec![Ok((200, odd)), Ok((200, LAST))];
        assert_eq!(read(script, None), (vec![2, 3], 2, None));
    }
}
