//! What happens to rows on their way. A transform is one file: its settings, their documentation,
//! and the piece of plan that it stands for.
//!
//! To add one: a file here, a line in [`TransformKind`], a line in the changelog.

mod deduplicate;
mod enrich;
mod filter;
mod fragment;
mod route;
mod select;
mod sql;
mod validate;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::dataframe::DataFrame;

use crate::context::Sql;
use crate::lookups::LookupKind;
use crate::spec::{Diagnostic, Located, Share, kinds};
use schemars::JsonSchema;

pub use deduplicate::Deduplicate;
pub(crate) use enrich::PORTS as LOOKUP_PORTS;
pub use enrich::{Enrich, Enrichment};
pub use filter::Filter;
pub use fragment::Use;
pub(crate) use route::PORT;
pub use route::Route;
pub use select::Select;
pub use sql::SqlQuery;
pub use validate::Validate;

kinds! {
    /// A kind of transform with its settings.
    pub enum TransformKind ("transform" as dyn Transform) {
        /// Keeps the rows for which a condition holds.
        "filter" => Filter,
        /// Chooses and computes columns.
        "select" => Select,
        /// One SQL query over any nodes.
        "sql" => SqlQuery,
        /// Keeps one row of those with the same key.
        "deduplicate" => Deduplicate,
        /// Checks rows against rules.
        "validate" => Validate,
        /// Divides rows into ports.
        "route" => Route,
        /// Asks an API about keys, and adds its answers.
        "enrich" => Enrich,
        /// Uses the transforms of another file.
        "use" => Use,
    }
    reserved: ["score", "verify_contacts", "screen"]
}

/// Settings that rewrite the plan. Planning does no I/O.
#[async_trait]
pub trait Transform: fmt::Debug + Send + Sync {
    /// Returns the nodes it reads when it names them itself; `None` when it reads its `from`.
    fn reads(&self, sql: &Sql) -> Result<Option<Vec<Located<String>>>, Diagnostic> {
        let _ = sql;
        Ok(None)
    }

    /// Returns the ports by which alone its rows are read; none for most transforms.
    fn ports(&self) -> Vec<&Located<String>> {
        Vec::new()
    }

    /// Returns the look-up by which it adds columns; none for most transforms.
    fn enriches(&self) -> Option<&LookupKind> {
        None
    }

    /// Plans it over the table `from`.
    async fn plan(&self, from: &str, sql: &Sql) -> Result<Planned, Vec<Diagnostic>>;
}

/// The plan of a transform.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its rows. The last columns are there for the operator alone.
    pub rows: DataFrame,
    /// The operator of the engine that its rows go through; none for most transforms.
    pub operator: Option<Operator>,
}

impl From<DataFrame> for Planned {
    fn from(rows: DataFrame) -> Self {
        Self { rows, operator: None }
    }
}

/// What the engine does with the rows of a transform.
#[derive(Clone, Debug)]
pub enum Operator {
    /// Divides them by rules. The last columns say, one for each rule, whether a row keeps it.
    Divide(Arc<[Rule]>),
    /// Keeps the first row of each key. The last columns are the order, one for each direction.
    First {
        /// The columns of the key, by index.
        by: Vec<usize>,
        /// The direction of each of the last columns.
        order: Vec<SortOptions>,
    },
    /// Counts them by port. The last column, `__port`, names the port of each row; a row without
    /// one goes nowhere.
    Route,
    /// Asks an API about their keys. The last columns are the order in which it is asked.
    Enrich(Arc<Enrichment>),
}

impl Operator {
    /// Returns how many of the last columns are the operator's own, and go no further.
    pub fn n_own_columns(&self) -> usize {
        match self {
            Self::Divide(rules) => rules.len(),
            Self::First { order, .. } => order.len(),
            Self::Route => 0,
            Self::Enrich(enrichment) => enrichment.order.len(),
        }
    }

    /// Returns the rules by which it divides.
    pub fn rules(&self) -> &[Rule] {
        match self {
            Self::Divide(rules) => rules,
            Self::First { .. } | Self::Route | Self::Enrich(_) => &[],
        }
    }
}

/// A rule that rows must keep. A row for which it is false, or unknown, breaks it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name: the `reason` of rejected rows.
    pub name: String,
    /// What happens to a row that breaks it.
    pub otherwise: Otherwise,
    /// The share of rows that may break it; more stops the run before anything is published.
    pub at_most: Option<Share>,
}

/// What happens to a row that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It goes to the port `.rejected` with the rule's name as `reason`.
    Reject,
    /// It goes on, and is counted.
    Warn,
    /// The run stops before anything is published.
    Stop,
}
