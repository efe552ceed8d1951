//! From the text of a pipeline file to published rows: file, checked, plan, run, report.

mod check;
mod commit;
mod count;
mod drawing;
mod fault;
mod fetch;
mod file;
mod first;
mod fragment;
mod graph;
mod land;
mod limits;
mod operator;
mod outlet;
mod plan;
mod project;
mod report;
mod run;
mod schema;
mod testing;
mod update;

pub use check::{Checked, Options, Preview, RESERVED_IDS, check};
pub use drawing::{Drawing, GraphNode, draw};
pub use fetch::{Fetched, fetch};
pub use file::File;
pub use plan::{Explained, explain};
pub use project::{Outputs, open_tables, outputs, pipelines_in, query_duckdb};
pub use report::{NodeReport, Report};
pub use run::{Progress, Run, SourceProgress};
pub use schema::{Component, Field, components, schema};
pub use testing::{Difference, StandIn, Tested, test};
pub use update::{Rewritten, Updated, update};
