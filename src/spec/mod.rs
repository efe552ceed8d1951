//! What a user can write: values with their place in the file, and the words for what is wrong.
//!
//! Pure: nothing here reads a file, a clock or the environment.

mod alert;
mod asking;
mod batch;
mod diagnostic;
mod family;
mod located;
mod resources;
mod rewrite;
mod schedule;
mod schema;
mod since;
mod suggest;
mod testcase;
mod text;
mod units;
mod vars;

pub use alert::Alert;
pub use asking::{AnswerRows, Asking, OnError, OnMissing, Retry};
pub use batch::BatchSize;
pub use diagnostic::{Code, Diagnostic, Format, Origin, Severity, explanation, render};
pub use family::Family;
pub(crate) use family::kinds;
pub use located::{Located, LocatedMap, Mark, is_id};
pub use resources::{Budget, Rate, RateLimit, Resources};
pub use rewrite::{RowsEdit, rewrite_csv, rewrite_rows};
pub use schedule::{Holidays, Missed, Overlap, Schedule};
pub use since::ChangedSince;
pub use suggest::{did_you_mean, list};
pub use testcase::{Expected, Row, TestAnswer, TestCase, TestFailure, TestRows};
pub use text::{Scope, Secret, Text, tidy};
pub use units::{Period, Share};
pub use vars::{Value, VarDecl, VarType};
