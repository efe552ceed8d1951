//! The command line: parse a request, make one call of the engine, show the answer.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 the run
//! failed, 2 the user's file or flags are wrong, 3 the environment, 130 interrupted.

mod check;
mod dev;
mod explain;
mod explain_error;
mod graph;
mod init;
mod output;
mod plan;
mod preview;
mod progress;
mod query;
mod rejects;
mod run;
mod runs;
mod sandbox;
mod schema;
mod state;
mod test;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Once, OnceLock};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::sync::watch::{self as signals, Receiver};

pub use schema::{commands_reference, components_reference};

use crate::clock::Clock;
use crate::context::read_text;
use crate::engine::{self, Checked, Options};
use crate::error::{Error, Kind, Result};
use crate::feeds::Feeds;
use crate::fetch::Meter;
use crate::spec::{self, Diagnostic, Severity};

/// Declarative data pipelines, fast, exact and honest about the APIs they depend on.
#[derive(Debug, Parser)]
#[command(name = "pipeline", version, arg_required_else_help = true)]
struct Arguments {
    /// How answers are written to standard output.
    #[arg(long, global = true, value_enum)]
    format: Option<Format>,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: Colour,
    /// Only say what went wrong.
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Run(run::Arguments),
    Check(check::Arguments),
    Plan(plan::Arguments),
    Dev(dev::Arguments),
    Explain(explain::Arguments),
    ExplainError(explain_error::Arguments),
    Graph(graph::Arguments),
    Preview(preview::Arguments),
    Query(query::Arguments),
    Runs(runs::Arguments),
    Rejects(rejects::Arguments),
    State(state::Arguments),
    Test(test::Arguments),
    Sandbox(sandbox::Arguments),
    List(schema::ListArguments),
    Schema(schema::SchemaArguments),
    Completions(schema::CompletionsArguments),
    Man(schema::ManArguments),
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// What every command needs to know about its surroundings.
#[derive(Clone)]
struct Surroundings {
    format: Option<Format>,
    is_quiet: bool,
    has_colour: bool,
    working_folder: PathBuf,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match arguments.run() {
        Ok(code) => code,
        Err(error) => {
            output::say(&format!("error: {error}"));
            ExitCode::from(code_of(error.kind()))
        }
    }
}

fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Run | Kind::Internal => 1,
        Kind::User => 2,
        Kind::External => 3,
        Kind::Interrupted => 130,
    }
}

/// Logs go to standard error, warnings and worse unless `RUST_LOG` says otherwise.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // Fails only when a log was started before: then that one serves.
    let _ = subscriber.try_init();
}

impl Arguments {
    fn run(self) -> Result<ExitCode> {
        let working_folder = std::env::current_dir()
            .map_err(|e| Error::external("the current folder cannot be read").because(e))?;
        let has_colour = match self.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let choice = anstream::AutoStream::choice(&std::io::stderr());
                choice != anstream::ColorChoice::Never
            }
        };
        let surroundings =
            Surroundings { format: self.format, is_quiet: self.quiet, has_colour, working_folder };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::external("threads cannot be started").because(e))?;
        let code = runtime.block_on(async {
            match self.command {
                Command::Run(arguments) => run::run(arguments, &surroundings).await,
                Command::Check(arguments) => check::run(arguments, &surroundings).await,
                Command::Plan(arguments) => plan::run(arguments, &surroundings).await,
                Command::Dev(arguments) => dev::run(arguments, &surroundings).await,
                Command::Explain(arguments) => explain::run(arguments, &surroundings).await,
                Command::Graph(arguments) => graph::run(arguments, &surroundings).await,
                Command::ExplainError(arguments) => explain_error::run(&arguments),
                Command::Runs(arguments) => runs::run(arguments, &surroundings).await,
                Command::Preview(arguments) => preview::run(arguments, &surroundings).await,
                Command::Query(arguments) => query::run(arguments, &surroundings).await,
                Command::Test(arguments) => test::run(arguments, &surroundings).await,
                Command::Rejects(arguments) => rejects::run(arguments, &surroundings).await,
                Command::State(arguments) => state::run(arguments, &surroundings),
                Command::Init(arguments) => init::run(&arguments, &surroundings),
                Command::List(arguments) => schema::list_kinds(&arguments, &surroundings),
                Command::Schema(arguments) => schema::schema(&arguments),
                Command::Completions(arguments) => Ok(schema::completions(&arguments)),
                Command::Man(arguments) => schema::man(&arguments),
                Command::Sandbox(arguments) => sandbox::run(arguments, &surroundings).await,
            }
        });
        // Threads that still read must not keep an interrupted process alive.
        runtime.shutdown_background();
        code
    }
}

/// A pipeline file that was read and checked.
struct Loaded {
    name: String,
    text: String,
    checked: Option<Checked>,
    found: Vec<Diagnostic>,
}

impl Surroundings {
    /// Reads the text of a pipeline file; `-` is standard input.
    fn read(&self, path: &Path) -> Result<String> {
        let text = match path == Path::new("-") {
            true => std::io::read_to_string(std::io::stdin()),
            false => read_text(path),
        };
        text.map_err(|e| Error::user(format!("`{}` cannot be read", path.display())).because(e))
    }

    /// Returns where a pipeline file is; standard input is in the current folder.
    fn place(&self, path: &Path) -> PathBuf {
        match path == Path::new("-") {
            true => self.working_folder.join("stdin.yaml"),
            false => self.working_folder.join(path),
        }
    }

    /// Returns the pipeline files that arguments name: a folder stands for the `*.yaml` in it.
    fn expand(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let files = |path: &PathBuf| match path.is_dir() {
            true => engine::pipelines_in(path),
            false => vec![path.clone()],
        };
        paths.iter().flat_map(files).collect()
    }

    /// Reads and checks a pipeline file; `-` is standard input.
    /// What runs gets its files from elsewhere before.
    async fn load(&self, path: &Path, mut options: Options) -> Result<Loaded> {
        let text = self.read(path)?;
        let place = self.place(path);
        if options.is_run {
            options.fetched = self.fetch(&text, &place, &options).await?;
        }
        let (checked, found) = engine::check(&text, &place, options).await;
        Ok(Loaded { name: path.display().to_string(), text, checked, found })
    }

    async fn fetch(
        &self,
        text: &str,
        place: &Path,
        options: &Options,
    ) -> Result<BTreeMap<String, PathBuf>> {
        let meter = Meter::default();
        let fetched = tokio::select! {
            fetched = engine::fetch(text, place, options, &meter) => fetched?,
            () = progress::show_download(&meter, self.is_quiet) => Vec::new(),
            () = interrupted() => {
                let message = "interrupted; the next run goes on with the download";
                return Err(Error::new(Kind::Interrupted, message));
            }
        };
        for file in &fetched {
            let path = file.path.strip_prefix(&self.working_folder).unwrap_or(&file.path);
            match (&file.warning, file.is_new) {
                (Some(warning), _) => output::say(&format!("warning: {}: {warning}", file.node)),
                (None, true) if !self.is_quiet => {
                    output::say(&format!("{}: downloaded `{}`", file.node, path.display()));
                }
                _ => {}
            }
        }
        Ok(fetched.into_iter().map(|file| (file.node, file.path)).collect())
    }

    fn options(&self, vars: &[String], is_run: bool, limit: Option<u64>) -> Result<Options> {
        let mut given = BTreeMap::new();
        for pair in vars {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::user(format!("`--var {pair}`: write `--var name=value`")))?;
            given.insert(name.trim().to_owned(), value.to_owned());
        }
        Ok(Options {
            transport: None,
            feeds: Feeds::default(),
            follow: None,
            vars: given,
            // Names and values that are not text cannot be written in a pipeline file either.
            env: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            working_folder: self.working_folder.clone(),
            clock: Clock::system(),
            run_id: uuid::Uuid::now_v7().simple().to_string(),
            is_run,
            fetched: BTreeMap::new(),
            stand_in: None,
            replay: None,
            preview: None,
            is_dry: false,
            may_shrink: false,
            limit,
        })
    }

    /// Shows what is wrong with a file, on standard error; as JSON on standard output when that is
    /// the answer: to a check, or when nothing else can be answered.
    fn show(&self, loaded: &Loaded, is_answer: bool) {
        let is_answer = is_answer || loaded.checked.is_none();
        let format = match self.format {
            Some(Format::Json | Format::Ndjson) if is_answer => spec::Format::Json,
            _ => self.plain(),
        };
        self.show_as(loaded, format);
    }

    /// Shows what is wrong with a file on standard error, beside an answer on standard output.
    fn show_beside(&self, loaded: &Loaded) {
        self.show_as(loaded, self.plain());
    }

    fn plain(&self) -> spec::Format {
        if self.has_colour { spec::Format::Colour } else { spec::Format::Plain }
    }

    fn show_as(&self, loaded: &Loaded, format: spec::Format) {
        let is_wrong = loaded.found.iter().any(|fault| fault.severity == Severity::Error);
        if loaded.found.is_empty() && format != spec::Format::Json || self.is_quiet && !is_wrong {
            return;
        }
        let text = spec::render(&loaded.found, &loaded.name, &loaded.text, format);
        match format {
            spec::Format::Json => output::print(&text),
            _ => output::say(text.trim_end()),
        }
    }
}

/// Waits for Ctrl-C or SIGTERM, also one that came while nobody waited. A second one ends the
/// process at once.
async fn interrupted() {
    static SAYS: Once = Once::new();
    wait_for_signal().await;
    SAYS.call_once(|| output::say("stopping; once more to stop at once"));
}

/// Waits for the first signal since somebody began to wait for one.
async fn wait_for_signal() {
    static CAME: OnceLock<Receiver<bool>> = OnceLock::new();
    let mut came = CAME.get_or_init(listen).clone();
    if came.wait_for(|came| *came).await.is_err() {
        // There are no handlers.
        std::future::pending::<()>().await;
    }
}

/// Listens to signals from now on: what has a listener once does not end the process by itself any
/// more, so none may be missed between two who wait.
fn listen() -> Receiver<bool> {
    use tokio::signal::unix::{SignalKind, signal};

    let (sender, receiver) = signals::channel(false);
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    // Without handlers signals end the process as ever.
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        return receiver;
    };
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send_replace(true) {
                std::process::exit(130);
            }
        }
    });
    receiver
}
