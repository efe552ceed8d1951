//! The files that decide how a pipeline fares: its own and those that a check and its tests read,
//! for `pipeline dev`. Files that are not there belong to them too: they may come.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check::{Options, scope};
use super::file::{self, Node};
use crate::context::read_text;
use crate::spec::{Scope, tidy};
use crate::transforms::TransformKind;

/// Returns the files that a check of the pipeline file at `path` and its tests read, there or not.
/// A folder stands for the files in it.
pub fn watched(text: &str, path: &Path, options: &Options) -> BTreeSet<PathBuf> {
    let path = tidy(path);
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut files = BTreeSet::from([path.clone(), folder.clone()]);
    let (Some(file), _) = file::parse(text) else { return files };
    let scope = scope(&file, options, &path, &mut Vec::new());
    for case in &file.tests {
        let rows = case.given.0.iter().chain(&case.expect.rows.0);
        let named = rows.filter_map(|(_, rows)| rows.file.as_ref());
        files.extend(named.map(|name| tidy(&folder.join(&name.value))));
    }
    for source in &file.sources {
        files.extend(source.kind.settings().looks_into(&scope));
    }
    add_fragments(&file.transforms, &folder, &scope, &mut files);
    files
}

/// Adds the fragments that transforms use, and those that these use.
fn add_fragments(
    transforms: &[Node<TransformKind>],
    folder: &Path,
    scope: &Scope,
    files: &mut BTreeSet<PathBuf>,
) {
    for node in transforms {
        let TransformKind::Use(settings) = &node.kind else { continue };
        let Some(name) = settings.0.resolve(scope).ok().flatten() else { continue };
        let path = tidy(&folder.join(name));
        // One that was seen before may use itself.
        if !files.insert(path.clone()) {
            continue;
        }
        let fragment = read_text(&path).ok().and_then(|text| file::parse(&text).0);
        if let Some(fragment) = fragment {
            let folder = path.parent().unwrap_or(Path::new("/"));
            add_fragments(&fragment.transforms, folder, scope, files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Result};

    #[test]
    fn finds_fragments_in_fragments_schemas_fixtures_and_files_there_or_not() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(Path::new("tmp"), e))?;
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(path(name).parent().unwrap_or(Path::new("/")))
                .and_then(|()| std::fs::write(path(name), text))
                .map_err(|e| Error::io(&path(name), e))
        };
        let fragment = "version: 1\nfragment: f\ninputs: { r: { a: int } }\noutputs: [x]\n";
        write(
            "shared/f.yaml",
            &format!("{fragment}transforms:\n  x: {{ use: g.yaml, with: {{ r: r }} }}\n"),
        )?;
        write(
            "shared/g.yaml",
            &format!("{fragment}transforms:\n  x: {{ use: f.yaml, with: {{ r: r }} }}\n"),
        )?;
        write("in/1.csv", "a\n1\n")?;
        let text = "version: 1
name: p
vars: { part: { type: string, default: shared } }
sources:
  one: { csv: { path: ./a.csv, schema: ./a_schema.yaml } }
  two: { csv: { path: ./in/*.csv, schema: basic_company_data } }
  three: { csv: { path: \"https://example.org/a.csv\" } }
  four: { csv: { path: \"-\" } }
  five: { companies_house_bulk: { file: latest } }
  six: { sqlite: { path: ./x.db, table: t } }
transforms:
  f: { use: \"${part}/f.yaml\", with: { r: one } }
  lost: { use: lost.yaml, with: { r: one } }
sinks: {}
tests:
  - name: a
    given: { one: { file: given.csv } }
    expect: { f: { file: expected.csv } }
";
        let found = watched(text, &path("p.yaml"), &Options::default());
        let expected = [
            "",
            "a.csv",
            "a_schema.yaml",
            "expected.csv",
            "given.csv",
            "in",
            "in/1.csv",
            "lost.yaml",
            "p.yaml",
            "shared/f.yaml",
            "shared/g.yaml",
            "x.db",
        ];
        let expected: BTreeSet<PathBuf> = expected.iter().map(|name| tidy(&path(name))).collect();
        assert_eq!(found, expected);
        Ok(())
    }
}
