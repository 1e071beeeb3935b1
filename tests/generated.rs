//! What is generated from the types stands in the repository as it would be generated now. `UPDATE=1 cargo test` writes it.

use std::path::Path;

#[test]
fn the_crds_in_the_repository_are_those_of_the_types() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["crds", "charts/tidegate/files/crds"] {
        for (name, wanted) in tidegate::api::crds::all() {
            let path = root.join(directory).join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &wanted).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(found == wanted, "{} differs from the types: run `make crds`", path.display());
        }
    }
}

#[test]
fn the_crds_are_small_enough_for_kubectl_apply() {
    for (name, yaml) in tidegate::api::crds::all() {
        let json =
            serde_json::to_string(&serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap()).unwrap();
        assert!(json.len() < 200_000, "{name}: {} bytes; kubectl apply takes 262,144", json.len());
    }
}

#[test]
fn no_enum_lists_null_and_no_key_is_a_word_that_yaml_reads_as_a_boolean() {
    for (name, yaml) in tidegate::api::crds::all() {
        let value: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        walk(&value, name);
    }
}

fn walk(value: &serde_json::Value, path: &str) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Array(values)) = map.get("enum") {
                assert!(values.iter().all(|value| !value.is_null()), "{path}: null among the values");
                for value in values.iter().filter_map(|value| value.as_str()) {
                    assert!(!boolean(value), "{path}: {value}");
                }
            }
            for (key, inner) in map {
                assert!(!boolean(key), "{path}: {key}");
                walk(inner, &format!("{path}.{key}"));
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|inner| walk(inner, path)),
        _ => {}
    }
}

fn boolean(word: &str) -> bool {
    ["y", "n", "yes", "no", "on", "off", "true", "false"].contains(&word.to_lowercase().as_str())
}
