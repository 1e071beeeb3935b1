//! The examples as they lie there: each is clean before any API server is asked, and could really go out in its own window.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tidegate::api::ReleaseSpec;
use tidegate::cli::lint::manifests::Manifest;
use tidegate::cli::lint::{lint, manifests, text};
use tidegate::decide::calendar::Fit;
use tidegate::decide::{gate, plan};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/runbooks")
}

fn runbooks() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    assert_eq!(found.len(), 5, "{found:?}");
    found
}

fn read(path: &Path) -> Vec<Manifest> {
    manifests::read(&path.display().to_string(), &std::fs::read_to_string(path).unwrap()).unwrap()
}

fn spec(runbook: &Path) -> (Value, ReleaseSpec) {
    let release = read(&runbook.join("release.yaml")).remove(0).object;
    let spec = serde_json::from_value(release["spec"].clone()).unwrap();
    (release, spec)
}

fn containers(document: &Value) -> impl Iterator<Item = &Value> {
    document["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten()
}

#[test]
fn lint_has_nothing_to_remark_on_a_runbook_with_any_of_its_versions() {
    for runbook in runbooks() {
        let mut all = read(&runbook.join("release.yaml"));
        all.extend(read(&runbook.join("workload.yaml")));
        let linted = lint(&all);
        assert!(linted.findings.is_empty() && linted.without_deployment.is_empty(), "{}", text(&linted));
        let upstream = runbook.join("upstream.yaml");
        if upstream.exists() {
            let linted = lint(&read(&upstream));
            // Nobody uses what is there: one replica of it is enough.
            let remarks: Vec<_> = linted.findings.iter().filter(|it| it.rule != "one-replica").collect();
            assert!(remarks.is_empty() && linted.without_deployment.is_empty(), "{}", text(&linted));
        }
    }
}

#[test]
fn pilots_go_first_as_the_labels_of_their_release_say() {
    let all = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pilots.yaml"));
    let linted = lint(&all);
    assert!(linted.findings.is_empty() && linted.without_deployment.is_empty(), "{}", text(&linted));
    let releases: Vec<&Value> =
        all.iter().map(|it| &it.object).filter(|it| it["kind"] == "Release").collect();
    let spec: ReleaseSpec = serde_json::from_value(releases[1]["spec"].clone()).unwrap();
    let selector = spec.preflight[0].promotion.as_ref().unwrap().selector.as_ref().unwrap();
    let labels = |release: &Value| serde_json::from_value(release["metadata"]["labels"].clone()).unwrap();
    let selected: Vec<bool> = releases.iter().map(|release| selector.match_these(&labels(release))).collect();
    assert_eq!(selected, [true, false]);
}

#[test]
fn pilots_on_nodes_are_counted_by_the_label_that_the_template_spreads_them_over() {
    let all = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pilot-nodes.yaml"));
    let linted = lint(&all);
    assert!(linted.findings.is_empty() && linted.without_deployment.is_empty(), "{}", text(&linted));
    let spread = &all[0].object["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    let spec: ReleaseSpec = serde_json::from_value(all[1].object["spec"].clone()).unwrap();
    let nodes = spec.steps[0].pilot.as_ref().unwrap().nodes.as_ref().unwrap();
    let labels: Vec<&String> = nodes.match_labels.keys().collect();
    assert_eq!(labels, [spread["topologyKey"].as_str().unwrap()]);
}

#[test]
fn what_a_runbook_promotes_from_is_a_release_of_its_own_files() {
    for runbook in runbooks() {
        let upstream = runbook.join("upstream.yaml");
        let documents = if upstream.exists() { read(&upstream) } else { Vec::new() };
        let releases: Vec<Value> =
            documents.into_iter().map(|it| it.object).filter(|it| it["kind"] == "Release").collect();
        let mut asked: Vec<String> = Vec::new();
        for spec in releases.iter().map(|release| &release["spec"]).chain([&spec(&runbook).0["spec"]]) {
            let checks = spec["preflight"].as_array().into_iter().flatten();
            asked.extend(checks.filter_map(|it| it["promotion"]["namespace"].as_str().map(str::to_owned)));
        }
        let there: Vec<&str> =
            releases.iter().filter_map(|release| release["metadata"]["namespace"].as_str()).collect();
        assert_eq!(asked, there, "{}", runbook.display());
    }
}

#[test]
fn what_a_runbook_plans_fits_into_its_windows() {
    // A Friday.
    let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
    for runbook in runbooks() {
        let plan = plan::plan(&spec(&runbook).1, false).unwrap();
        let needed = gate::length(&plan, None);
        match plan.calendar.fit(now, needed) {
            Fit::Now | Fit::Later { .. } => {}
            Fit::Never { longest, .. } => panic!("{}: takes {needed:?}, of {longest:?}", runbook.display()),
        }
    }
}

#[test]
fn each_version_is_another_image_by_digest_of_the_deployment_that_is_released() {
    for runbook in runbooks() {
        let (release, _) = spec(&runbook);
        let mut images = Vec::new();
        for file in ["workload.yaml", "good.yaml", "bad.yaml"] {
            let documents = read(&runbook.join(file));
            let deployment = documents.iter().find(|it| it.object["kind"] == "Deployment").unwrap();
            assert_eq!(deployment.object["metadata"]["name"], release["spec"]["targetRef"]["name"]);
            assert_eq!(deployment.object["metadata"]["namespace"], release["metadata"]["namespace"]);
            images.extend(containers(&deployment.object).map(|it| it["image"].as_str().unwrap().to_owned()));
        }
        assert!(images.iter().all(|image| image.contains("@sha256:")), "{images:?}");
        let all = images.len();
        images.sort();
        images.dedup();
        assert_eq!(images.len(), all, "{}", runbook.display());
    }
}

#[test]
fn each_role_that_a_runbook_asks_for_is_a_persons_and_never_the_deployers() {
    for runbook in runbooks() {
        let (_, spec) = spec(&runbook);
        let people = read(&runbook.join("people.yaml"));
        let is_of_people = |role: &str, verb: &str| {
            let is_bound = people.iter().any(|it| {
                it.object["kind"] == "RoleBinding"
                    && it.object["roleRef"]["name"] == format!("sign-as-{role}")
                    && it.object["subjects"][0]["kind"] == "User"
            });
            let gives = |rule: &Value| {
                let holds = |field: &str, word: &str| {
                    rule[field].as_array().into_iter().flatten().any(|it| it == word)
                };
                holds("resources", &format!("releases/{role}")) && holds("verbs", verb)
            };
            let is_given = people.iter().any(|it| {
                it.object["metadata"]["name"] == format!("sign-as-{role}")
                    && it.object["rules"].as_array().into_iter().flatten().any(gives)
            });
            is_bound && is_given
        };
        let checks = || spec.preflight.iter().chain(spec.steps.iter().flat_map(|step| &step.checks));
        let approvals = checks()
            .filter_map(|check| check.approval.as_ref())
            .chain(spec.steps.iter().filter_map(|step| step.approval.as_ref()))
            .chain(&spec.sign_off)
            .flat_map(|approval| &approval.roles.0);
        let consent = spec.undo.as_ref().and_then(|undo| undo.approval.as_ref());
        for role in approvals.chain(consent.into_iter().flat_map(|approval| &approval.roles.0)) {
            assert!(is_of_people(role, "approve"), "{}: nobody signs as {role}", runbook.display());
        }
        for attest in checks().filter_map(|check| check.attest.as_ref()) {
            let somebody = attest.roles.iter().any(|role| is_of_people(role, "attest"));
            assert!(somebody, "{}: nobody attests as {:?}", runbook.display(), attest.roles);
        }
    }
}

#[test]
fn each_link_of_the_examples_leads_to_a_file() {
    let mut links = 0;
    let readmes = runbooks().into_iter().chain([directory(), directory().join("..")]);
    for directory in readmes {
        let text = std::fs::read_to_string(directory.join("README.md")).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                assert!(directory.join(link).exists(), "{}: {link}", directory.display());
                links += 1;
            }
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn a_readme_says_for_each_runbook_what_it_leaves_to_people() {
    for runbook in runbooks() {
        let readme = std::fs::read_to_string(runbook.join("README.md")).unwrap();
        assert!(readme.contains("\n## Left to people\n"), "{}", runbook.display());
        let (release, _) = spec(&runbook);
        let told = ["preflight", "migrations"].map(|list| release["spec"][list].as_array());
        for one in told.into_iter().flatten().flatten() {
            let name = format!("`{}`", one["name"].as_str().unwrap());
            assert!(readme.contains(&name), "{}: {name} is not told", runbook.display());
        }
    }
}
