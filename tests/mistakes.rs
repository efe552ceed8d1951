//! Mistakes in pipeline files: `tests/mistakes/*.yaml`, each with what `pipeline check` says.

use std::path::Path;

use crate::support::Project;

#[test]
fn every_mistake_is_shown_with_its_place_and_a_fix() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("files").flatten().collect();
    files.sort_by_key(|file| file.path());
    let project = Project::new();
    project.write("people.csv", "id,name,born\n1,ANNA,2001-01-01\n");
    let mut n_files = 0;
    for file in files.iter().filter(|f| f.path().extension().is_some_and(|e| e == "yaml")) {
        let name = file.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file.path()).expect("text");
        project.write(&name, text);
        let said = project.pipeline(&["check", &name]);
        assert_eq!(said.code, Some(2), "{name}: {}", said.err);
        assert!(said.err.contains(&format!("{name}:")), "{name}: no place");
        let shown = said.err.replace(&project.path("").display().to_string(), "");
        insta::with_settings!({ snapshot_path => "mistakes", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name.trim_end_matches(".yaml"), shown);
        });
        n_files += 1;
    }
    assert!(n_files >= 8);
}

#[test]
fn json_names_file_line_and_column() {
    let project = Project::new();
    project.write("x.yaml", "version: 1\nname: x\nsource: {}\n");
    let said = project.pipeline(&["check", "x.yaml", "--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(found[0]["code"], "P002");
    assert_eq!((found[0]["line"].as_u64(), found[0]["column"].as_u64()), (Some(3), Some(1)));
    assert_eq!(found[0]["label"], "did you mean `sources`?");
    assert_eq!(found[0]["file"], "x.yaml");
}
