//! From the text of a pipeline file to published rows: file, checked, plan, run, report.

mod answers;
mod asked;
mod check;
mod commit;
mod count;
mod definition;
mod divide;
mod drawing;
mod enrich;
mod explain;
mod fault;
mod fetch;
mod file;
mod first;
mod follow;
mod fragment;
mod graph;
mod land;
mod limits;
mod operator;
mod outlet;
mod outlook;
mod part;
mod plan;
mod project;
mod pushdown;
mod replay;
mod report;
mod run;
mod schema;
mod streams;
mod testing;
mod update;
mod watched;

pub use check::{Checked, Following, Options, Preview, RESERVED_IDS, check};
pub use drawing::{Drawing, GraphNode, draw};
pub use explain::{Explained, explain};
pub use fetch::{Fetched, fetch};
pub use file::File;
pub use follow::{Follow, Followed, Told};
pub use limits::OtherVar;
pub use outlook::{
    Change, Download, LookupOutlook, NodeOutlook, Outlook, SinkOutlook, SourceOutlook, There,
    Unfinished, outlook,
};
pub use project::{Outputs, open_tables, outputs, pipelines_in, query_duckdb};
pub use replay::{Replay, kept_rows};
pub use report::{NodeReport, Report, grouped, words};
pub use run::{Progress, Run, SourceProgress};
pub use schema::{Component, Field, components, schema};
pub use testing::{Difference, StandIn, Tested, test};
pub use update::{Rewritten, Updated, update};
pub use watched::watched;
