//! A folder of its own for each test, and the `pipeline` command in it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A folder in which a test runs pipelines.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // Another build of the same binary, for cases that are too long for this one.
        let other = std::env::var_os("PIPELINE_BINARY");
        let binary = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_pipeline").into());
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command.env_remove("PIPELINE_FAILPOINT").env_remove("RUST_LOG");
        command
    }

    pub(crate) fn pipeline(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().expect("the command starts"))
    }

    /// Runs a pipeline that must succeed; returns its report.
    pub(crate) fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["run", "--format", "json"];
        all.extend(arguments);
        let said = self.pipeline(&all);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
        serde_json::from_str(&said.out).expect("the report is JSON")
    }

    /// Asks a query; returns the lines of the answer without the header.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let said = self.pipeline(&["query", sql, "--format", "csv"]);
        assert_eq!(said.code, Some(0), "{sql}: {}", said.err);
        said.out.lines().skip(1).map(str::to_owned).collect()
    }

    /// Returns the files below a folder, relative to it, in the order of their names.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut files = Vec::new();
        collect(&root, &mut files);
        let relative = |path: &PathBuf| {
            path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned()
        };
        let mut files: Vec<String> = files.iter().map(relative).collect();
        files.sort();
        files
    }

    /// Makes a register of companies.
    pub(crate) fn snapshot(&self, name: &str, rows: u64, date: &str) -> PathBuf {
        let rows = rows.to_string();
        let arguments =
            ["sandbox", "snapshot", "--rows", &rows, "--date", date, "--broken", "--out", name];
        let said = self.pipeline(&arguments);
        assert_eq!(said.code, Some(0), "{}", said.err);
        self.path(name)
    }
}

/// A made-up Companies House on a port of its own, until it is dropped.
pub(crate) struct Sandbox {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Sandbox {
    /// Serves a register of a project.
    pub(crate) fn start(project: &Project, register: &str, arguments: &[&str]) -> Self {
        let mut all = vec!["sandbox", "serve", "--snapshot", register, "--port", "0"];
        all.extend(arguments);
        let mut command = project.command(&all);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server starts");
        let mut address = String::new();
        let out = child.stdout.take().expect("standard output");
        BufReader::new(out).read_line(&mut address).expect("its address");
        let address = address.trim().to_owned();
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        Self { child, address }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, files),
            path => files.push(path),
        }
    }
}

/// Reads all Parquet files of a folder, in the order of their names.
pub(crate) fn parquet(folder: &Path) -> Vec<RecordBatch> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
    let mut batches = Vec::new();
    for path in files {
        let file = std::fs::File::open(&path).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a whole Parquet file");
        batches.extend(reader.build().expect("a reader").map(|batch| batch.expect("a batch")));
    }
    batches
}

/// Returns the node of a report.
pub(crate) fn node<'a>(report: &'a serde_json::Value, id: &str) -> &'a serde_json::Value {
    let nodes = report["nodes"].as_array().expect("nodes");
    nodes.iter().find(|node| node["node"] == id).unwrap_or_else(|| panic!("no node {id}"))
}
