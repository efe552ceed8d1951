//! `pipeline`: declarative data pipelines that are fast, exact and honest about the APIs they
//! depend on.
//!
//! ```text
//! cli                                 faces: parse a request, make one call, render
//! engine                              file → checked → plan → run → report
//! sources     transforms     sinks    components; the families never import each other
//! lookups                             what an API knows of a key
//! context                             all that a component may reach
//! quota                               may another call go now, and is there budget for it
//! state                               the state file: what ran, what it published, what was answered
//! fetch       feeds                   files from elsewhere, and feeds that never end
//! publish                             how staged data becomes visible
//! spec  table  sandbox                the user's words · Arrow's words · a made-up register
//! scan  error  clock  cores  failpoint  net  the ground; requests and responses
//! ```
//!
//! A line may only point down; `tests/tidy.rs` checks it. `docs/architecture.md` tells the rest.

pub mod error;

pub mod clock;
pub mod cores;
pub mod failpoint;

pub mod sandbox;
pub mod spec;
pub mod table;

pub mod net;
pub mod publish;

pub mod feeds;
pub mod fetch;

pub mod state;

pub mod quota;

pub mod context;

pub mod lookups;

pub mod sinks;
pub mod sources;
pub mod transforms;

pub mod engine;

pub mod cli;
