//! What an API knows of a key. A look-up is one file: its settings, their documentation, the
//! requests that it makes and how it reads the answers. It sends nothing itself and waits for
//! nothing: rate limits, retries and what was asked before are the engine's.
//!
//! To add one: a file here, a line in [`LookupKind`], a line in the changelog.

mod address;
mod companies_house;
mod companies_house_officers;
mod companies_house_profile;
mod http_json;
mod json;
pub(crate) mod json_api;
mod template;

use std::fmt;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::net::{Request, Response};
use crate::spec::{Located, Row, kinds};
use crate::table::ColumnType;

pub(crate) use companies_house::{Register, company_number};
pub use companies_house_officers::CompaniesHouseOfficers;
pub use companies_house_profile::CompaniesHouseProfile;
pub use http_json::HttpJson;

kinds! {
    /// A kind of look-up with its settings.
    pub enum LookupKind ("look-up" as dyn BuildLookup) {
        /// The officers of a company, by its number.
        "companies_house_officers" => CompaniesHouseOfficers,
        /// What the register says of a company today, by its number.
        "companies_house_profile" => CompaniesHouseProfile,
        /// Any API that answers in JSON.
        "http_json" => HttpJson,
    }
    reserved: ["apollo_organization", "apollo_people"]
}

/// Settings that can become a look-up.
pub trait BuildLookup: fmt::Debug + Send + Sync {
    /// Builds it; notes mistakes in the context and returns `None` when it cannot. `by` are the
    /// columns that make its key. A secret without a value is a mistake only of a run.
    fn build(
        &self,
        by: &[Located<String>],
        context: &mut BuildContext<'_>,
    ) -> Option<Arc<dyn Lookup>>;
}

/// A key as the API takes it: a text for each column of `by`.
pub type Key = Vec<String>;

/// A column that a look-up adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupColumn {
    /// Its name in SQL.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
}

/// An API that can be asked for keys.
pub trait Lookup: fmt::Debug + Send + Sync {
    /// Returns the columns that it adds; the same in every run.
    fn columns(&self) -> &[LookupColumn];

    /// Returns what tells its answers from those of other settings: kind, address, options and a
    /// number that grows when the answers are read otherwise. No secret is in it: answers do not
    /// depend on the key with which they were got.
    fn identity(&self) -> String;

    /// Returns the server (scheme, host and port) that it asks: what is barred is barred whole.
    fn server(&self) -> &str;

    /// Turns the values of `by` into a key, so that the same thing has one key (`7382019` is the
    /// company 07382019). `Err` says why no API could know such a thing; nothing is asked then.
    fn key(&self, values: &[&str]) -> Result<Key, String>;

    /// Returns the first request for a key.
    fn ask(&self, key: &Key) -> Request;

    /// Reads the response to a request that [`Lookup::ask`] or [`Verdict::Next`] gave for a key; its
    /// extensions say what it was for, and a copy has them too. Rows of earlier responses are in
    /// `rows`; those of this one are added to them, a text (or null) for each column, each a value
    /// of its column's type. A list that changed while it was read is begun anew, without rows. A
    /// verdict other than `Answer` and `Next` leaves `rows` as they are: the same request may be
    /// sent again. Never panics, whatever the response holds.
    fn read(
        &self,
        key: &Key,
        request: &Request,
        response: &Response,
        rows: &mut Vec<Row>,
    ) -> Verdict;
}

/// What a response says.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All rows of the key are there, one at least.
    Answer,
    /// There is nothing for this key, and why in a word: `unknown`, `none`.
    Missing(&'static str),
    /// Another request is needed.
    Next(Box<Request>),
    /// Too many requests; the rate limit says when to go on.
    Limited(String),
    /// The server bars the whole address for a while.
    Barred(String),
    /// It may be otherwise later.
    Passing(String),
    /// This key is refused, now and later.
    Refused(String),
    /// The credentials are refused: no key will be answered.
    Unauthorized(String),
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
