//! `pipeline init`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Surroundings, output, schema};
use crate::engine;
use crate::error::{Error, Result};
use crate::spec::is_id;

/// Start a project: a pipeline with a test, its schema for editors, and what git shall ignore.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline init
  pipeline init my_leads")]
pub(super) struct Arguments {
    /// Name of the pipeline and its file.
    #[arg(default_value = "leads")]
    name: String,
}

const STARTER: &str = include_str!("init/starter.yaml");

const IGNORED: &str = "\
/out/
/downloads/
/pipeline.db*
.pipeline-staging/
/BasicCompanyData*
";

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<ExitCode> {
    let name = &arguments.name;
    let is_reserved = engine::RESERVED_IDS.contains(&name.as_str());
    if !is_id(name) || is_reserved || ["today", "now", "select", "from"].contains(&name.as_str()) {
        let message = format!("a pipeline cannot be named `{name}`");
        return Err(Error::user(message).because("use lowercase letters, digits and `_`"));
    }
    let file = format!("{name}.yaml");
    let files = [
        (file.clone(), STARTER.replace("my_leads", name)),
        (".pipeline/schema.json".to_owned(), schema::pretty(&engine::schema())?),
        (".gitignore".to_owned(), IGNORED.to_owned()),
    ];
    let path = |name: &str| surroundings.working_folder.join(name);
    if path(&file).exists() {
        let message = format!("`{file}` is there already");
        return Err(Error::user(message).because("give another name: `pipeline init NAME`"));
    }
    for (name, text) in &files {
        let path: PathBuf = path(name);
        // A schema is made anew; what the user ignores is the user's.
        if path.exists() && name == ".gitignore" {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        std::fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
        output::say(&format!("made {name}"));
    }
    output::print(&format!(
        "
Next, on a made-up register of 20,000 companies:

  pipeline sandbox snapshot --rows 20000 --out BasicCompanyData-2026-11-01.csv
  pipeline test {file}
  pipeline run {file}
  pipeline query \"select company_name, score, post_town from {name}_table order by score desc limit 5\"

Then on the real one (490 MB are downloaded once a month):

  pipeline run {file} --var file=latest
"
    ));
    Ok(ExitCode::SUCCESS)
}
