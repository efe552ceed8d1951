//! The schema and the reference are made from the types; what is written down is what they say.

use std::path::Path;

/// Compares a file with what it should hold; `UPDATE_REFERENCE=1` writes it.
fn is_current(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{name} is not current: run the tests with UPDATE_REFERENCE=1");
}

#[test]
fn the_reference_is_current() {
    let schema = serde_json::to_string_pretty(&pipeline::engine::schema()).expect("JSON");
    is_current("schemas/pipeline.schema.json", &(schema + "\n"));
    is_current("docs/reference/components.md", &pipeline::cli::components_reference());
    is_current("docs/reference/commands.md", &pipeline::cli::commands_reference());
}

/// Says what a pipeline file breaks of the schema.
fn faults(text: &str) -> Vec<String> {
    let instance: serde_json::Value = serde_saphyr::from_str(text).expect("YAML");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("pipeline.json", pipeline::engine::schema()).expect("a schema");
    let index = compiler.compile("pipeline.json", &mut schemas).expect("compiled");
    match schemas.validate(&instance, index) {
        Ok(()) => Vec::new(),
        Err(error) => format!("{error:#}").lines().skip(1).map(str::to_owned).collect(),
    }
}

#[test]
fn shipped_pipelines_fit_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut n_files = 0;
    for folder in [
        "pipelines",
        "pipelines/shared",
        "examples/quickstart",
        "examples/everything",
        "src/cli/init",
    ] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "yaml") {
                let text = std::fs::read_to_string(&path).expect("text");
                assert_eq!(faults(&text), [""; 0], "{}", path.display());
                n_files += 1;
            }
        }
    }
    assert!(n_files >= 5, "{n_files} files");
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let sound = "{version: 1, name: p, sources: {a: {csv: {path: ./a.csv}}}, sinks: {b: {from: a, \
                 csv: {path: ./b.csv}, write: replace}}}";
    assert_eq!(faults(sound), [""; 0]);
    for (from, to) in [
        ("version: 1", "version: 2"),
        ("name: p, ", ""),
        ("name: p", "nam: p"),
        ("csv: {path: ./a.csv}", "csv: {pth: ./a.csv}"),
        ("csv: {path: ./a.csv}", "csv: {path: ./a.csv}, sqlite: {path: x, table: y}"),
        ("csv: {path: ./a.csv}", "contract: {}"),
        ("csv: {path: ./a.csv}", "csv: {path: ./a.csv}, contract: {at_most: 5}"),
        ("write: replace", "write: overwrite"),
        ("from: a, ", ""),
        ("{a: ", "{A-b: "),
    ] {
        assert!(!faults(&sound.replace(from, to)).is_empty(), "{to}");
    }
}
