//! What a user can write: values with their place in the file, and the words for what is wrong.
//!
//! Pure: nothing here reads a file, a clock or the environment.

mod diagnostic;
mod family;
mod located;
mod suggest;
mod testcase;
mod text;
mod units;
mod vars;

pub use diagnostic::{Code, Diagnostic, Format, Origin, Severity, explanation, render};
pub use family::Family;
pub(crate) use family::kinds;
pub use located::{Located, LocatedMap, Mark, is_id};
pub use suggest::{did_you_mean, list};
pub use testcase::{TestCase, TestRows};
pub use text::{Scope, Secret, Text, tidy};
pub use units::Share;
pub use vars::{Value, VarDecl, VarType};
