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
fn all_that_people_write_has_a_bound() {
    for (name, yaml) in tidegate::api::crds::all() {
        let crd: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        // The operator alone writes reports.
        if crd["spec"]["names"]["kind"] == "ReleaseReport" {
            continue;
        }
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let mut lacking = Vec::new();
            let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            assert!(spec["properties"].is_object(), "{name} has a spec");
            unbounded(spec, "spec", &mut lacking);
            assert!(lacking.is_empty(), "{name}: {lacking:#?}");
        }
    }
}

/// Texts, lists and maps below this schema that may be of any length. Whole objects of others (a Job's template, a patch) are as large as the
/// API server takes them.
fn unbounded(schema: &serde_json::Value, path: &str, lacking: &mut Vec<String>) {
    let has = |bound: &str| !schema[bound].is_null();
    let is_text = schema["type"] == "string" || has("x-kubernetes-int-or-string");
    let is_bounded = match schema["type"].as_str() {
        _ if is_text => has("maxLength") || has("enum") || schema["format"] == "date-time",
        Some("array") => has("maxItems"),
        Some("object") => has("maxProperties") || !has("additionalProperties"),
        _ => true,
    };
    if !is_bounded {
        lacking.push(path.to_owned());
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        unbounded(inner, &format!("{path}.{name}"), lacking);
    }
    for (place, inner) in [("[]", &schema["items"]), ("{}", &schema["additionalProperties"])] {
        if inner.is_object() {
            unbounded(inner, &format!("{path}{place}"), lacking);
        }
    }
}

#[test]
fn no_enum_lists_null_and_no_key_is_a_word_that_yaml_reads_as_a_boolean() {
    for (name, yaml) in tidegate::api::crds::all() {
        let value: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        walk(&value, name);
    }
}

#[test]
fn the_notes_of_the_chart_uninstall_as_the_manual_does_the_guarded_too() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (notes, manual) = (read("charts/tidegate/templates/NOTES.txt"), read("docs/hand-back.md"));
    let (_, uninstalling) = manual.split_once("## Uninstalling").expect("the chapter");
    let (_, last) = notes.split_once("Before you uninstall it").expect("the last of the notes");
    let commands = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
        let all = ["kubectl annotate releases", "kubectl delete releases", "kubectl get deployments"];
        lines.filter(|line| all.iter().any(|wanted| line.starts_with(wanted))).map(str::to_owned).collect()
    };
    assert_eq!(commands(last), commands(uninstalling));
    assert_eq!(commands(last).len(), 3, "{last}");
    let guarded =
        last.split_once("{{ if .Values.policies.guardDelete }}").expect("only where it is guarded").1;
    assert!(guarded.trim_start().starts_with("kubectl annotate releases"), "{guarded}");
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
