//! What `kubectl tidegate lint` says of files.

use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::cli::lint::schema::{TextRule, schema};
use tidegate::cli::lint::{Linted, lint, manifests, text};
use tidegate::decide::lint::RULES;

/// A check whose Job runs this container.
fn job(name: &str, container: Value) -> Value {
    let pods = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    json!({"name": name, "job": {"template": {"spec": {"template": pods}}}})
}

fn migration(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "job": {"template": {"spec": {"template": {"spec": {}}}}}})
}

fn linted(yaml: &str) -> Linted {
    lint(&manifests::read("shop.yaml", yaml).unwrap())
}

fn release(spec: Value) -> Value {
    let mut whole = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": whole,
    })
}

fn deployment(spec: Value) -> Value {
    let mut whole = json!({"replicas": 4, "template": {"spec": {"containers": [
        {"name": "shop", "image": "shop:1.4.2", "readinessProbe": {"httpGet": {"path": "/healthz"}}},
    ]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout", "namespace": "shop"}, "spec": whole,
    })
}

/// What is found in a Release and its Deployment: `error steps spec.steps[1].replicas`.
fn found(spec: Value, workload: Value) -> Vec<String> {
    let told = linted(&json!({"kind": "List", "items": [release(spec), deployment(workload)]}).to_string());
    told.findings.iter().map(|it| format!("{} {} {}", it.severity, it.rule, it.field)).collect()
}

#[test]
fn what_is_as_it_should_be_is_not_remarked_upon() {
    let none = json!({});
    assert_eq!(found(none.clone(), none.clone()), [""; 0]);
    let whole = json!({
        "steps": [{"name": "pilot", "replicas": 1, "soak": "48h", "deadline": "72h", "advanceEarly": true}, {"name": "half", "replicas": "50%", "soak": "1h"}],
        "criteria": [
            {"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}},
            {"name": "slower", "latency": {"quantile": 0.95, "relativeTo": "stable", "limit": "150%"}},
            {"name": "memory", "value": {"podGauge": {"name": "x"}, "limit": "value > 8e8", "target": "value < 5e8", "onLimit": "Notify"}},
        ],
        "preflight": [{"name": "smoke", "http": {"url": "http://shop.shop/health", "expect": {"bodyMatches": "(?P<state>ok)"}}}],
        "watch": [{"for": "15m", "every": "15s"}, {"for": "24h", "every": "5m"}],
        "undo": {"budget": "15m"}, "reports": {"keep": 5, "for": "720h"},
    });
    assert_eq!(found(whole, none), [""; 0]);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let none = json!({});
    let probe = |more: Value| {
        let mut container = json!({"name": "shop", "image": "shop:1", "readinessProbe": {}});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"template": {"spec": {"containers": [container]}}})
    };
    let criterion = |kind: Value| {
        let mut criterion = json!({"name": "one"});
        criterion.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        json!({"criteria": [criterion]})
    };
    // Two hours, of which every year has fifty.
    let night = || json!({"allow": [{"days": ["Mon"], "from": "02:00", "to": "04:00"}]});
    let cases = [
        (
            json!({"steps": [{"name": "a", "replicas": "50%"}, {"name": "b", "replicas": "10%"}]}),
            none.clone(),
            "error steps spec.steps[1].replicas",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": "10%"}, {"name": "b", "replicas": 3}]}),
            none.clone(),
            "error steps spec.steps[1].replicas",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 3}, {"name": "b", "replicas": 3}]}),
            none.clone(),
            "error steps spec.steps[1].replicas",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1}, {"name": "a", "replicas": 2}]}),
            none.clone(),
            "error steps spec.steps[1].name",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "soak": "2h", "deadline": "1h"}]}),
            none.clone(),
            "error soak spec.steps[0].soak",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "advanceEarly": true}]}),
            none.clone(),
            "error soak spec.steps[0].advanceEarly",
        ),
        (
            json!({
                "steps": [{"name": "a", "replicas": 1, "soak": "1h", "advanceEarly": true}],
                "criteria": [{"name": "ready", "availability": {"limit": "90%"}}],
            }),
            none.clone(),
            "error soak spec.steps[0].advanceEarly",
        ),
        (json!({"watch": [{"for": "1m", "every": "5m"}]}), none.clone(), "error watch spec.watch[0].every"),
        (
            json!({"windows": night(), "steps": [{"name": "pilot", "replicas": 1, "soak": "48h"}]}),
            none.clone(),
            "error window spec.steps[0].soak",
        ),
        (
            json!({
                "windows": night(),
                "steps": [{"name": "a", "replicas": "10%", "soak": "1h"}, {"name": "b", "replicas": "50%", "soak": "1h"}],
            }),
            none.clone(),
            "error window spec.windows.allow",
        ),
        (
            json!({"undo": {"budget": "5m", "phases": {"decision": "1m", "execution": "3m", "validation": "2m"}}}),
            none.clone(),
            "error plan spec.undo.phases",
        ),
        (
            json!({"undo": {"phases": {"validation": "1m"}, "validate": {"for": "5m"}}}),
            none.clone(),
            "error plan spec.undo.validate.for",
        ),
        (
            json!({"undo": {"phases": {"execution": "5s"}}}),
            probe(json!({"readinessProbe": {"initialDelaySeconds": 30}})),
            "error undo-budget spec.undo.phases.execution",
        ),
        (
            json!({"undo": {"phases": {"decision": "2m"}, "approval": {"roles": ["sre"], "timeout": "10m"}}}),
            none.clone(),
            "error undo-budget spec.undo.phases.decision",
        ),
        (
            json!({"undo": {"budget": "4m", "approval": {"roles": ["sre"]}}}),
            none.clone(),
            "error undo-budget spec.undo.budget",
        ),
        (
            json!({"undo": {"validate": {"checks": [{"name": "room", "workload": {"room": "Required"}}]}}}),
            none.clone(),
            "error plan spec.undo.validate.checks[0]",
        ),
        (
            json!({"preflight": [{"name": "a", "timeout": "15m", "http": {"url": "http://shop/"}}]}),
            none.clone(),
            "error plan spec.preflight[0].timeout",
        ),
        (
            json!({"undo": {"hooks": [{"name": "a", "patch": {"apiVersion": "v1", "resource": "pods", "name": "a", "patch": {}}}]}}),
            none.clone(),
            "error plan spec.undo.hooks[0].patch",
        ),
        (
            json!({"watch": [{"for": "10m", "every": "1m"}, {"for": "5m", "every": "1m"}]}),
            none.clone(),
            "error watch spec.watch[1].for",
        ),
        (
            criterion(json!({"errorRate": {"target": "6%", "limit": "5%"}})),
            none.clone(),
            "error target spec.criteria[0].errorRate.target",
        ),
        (
            criterion(json!({"latency": {"quantile": 0.9, "target": "3s", "limit": "2000ms"}})),
            none.clone(),
            "error target spec.criteria[0].latency.target",
        ),
        (
            criterion(
                json!({"value": {"json": {"url": "http://q/x", "pointer": ""}, "limit": "value > 5", "target": "value > 3"}}),
            ),
            none.clone(),
            "error target spec.criteria[0].value.target",
        ),
        (
            criterion(
                json!({"value": {"json": {"url": "http://q/x", "pointer": ""}, "limit": "value < 5", "target": "value > 3"}}),
            ),
            none.clone(),
            "error target spec.criteria[0].value.target",
        ),
        (
            criterion(json!({"errorRate": {"limit": "0%"}})),
            none.clone(),
            "error limit spec.criteria[0].errorRate.limit",
        ),
        (
            criterion(json!({"latency": {"quantile": 99, "limit": "2s"}})),
            none.clone(),
            "error limit spec.criteria[0].latency.quantile",
        ),
        (
            criterion(json!({"latency": {"quantile": 0.9, "limit": "50%"}})),
            none.clone(),
            "error limit spec.criteria[0].latency.limit",
        ),
        (json!({"criteria": []}), none.clone(), "error no-limit spec.criteria"),
        (
            criterion(json!({"errorRate": {"limit": "5%", "shadow": true}})),
            none.clone(),
            "error no-limit spec.criteria",
        ),
        (
            criterion(json!({"errorRate": {"limit": "5%", "onLimit": "Notify"}})),
            none.clone(),
            "error no-limit spec.criteria",
        ),
        (json!({"undo": {"budget": "0s"}}), none.clone(), "error undo-budget spec.undo.budget"),
        (
            json!({"undo": {"budget": "20s"}}),
            probe(json!({"readinessProbe": {"initialDelaySeconds": 30}})),
            "error undo-budget spec.undo.budget",
        ),
        (
            json!({"preflight": [{"name": "a", "http": {"url": "ftp://shop/x"}}]}),
            none.clone(),
            "error url spec.preflight[0].http.url",
        ),
        (
            json!({"metrics": {"prometheus": {"url": "http://me:pw@prom:9090"}}}),
            none.clone(),
            "error url spec.metrics.prometheus.url",
        ),
        (
            json!({"metrics": {"prometheus": {"url": "http://prom", "headers": [{"name": "X-Scope-OrgID", "value": "TODO"}]}}}),
            none.clone(),
            "error placeholder spec.metrics.prometheus.headers[0].value",
        ),
        (
            json!({"preflight": [{"name": "a", "job": {"template": {"spec": {"template": {"spec": {"containers": [{"image": "your_registry/x:1"}]}}}}}}]}),
            none.clone(),
            "error placeholder spec.preflight[0].job.template.spec.template.spec.containers[0].image",
        ),
        (
            criterion(json!({"value": {"promql": "x", "limit": "value > 5"}})),
            none.clone(),
            "error plan spec.criteria[0].value.promql",
        ),
        (
            json!({"preflight": [{"name": "a", "approval": {"roles": ["x", "y"], "quorum": 3}}]}),
            none.clone(),
            "error plan spec.preflight[0].approval.quorum",
        ),
        (
            none.clone(),
            probe(json!({"image": "shop:latest"})),
            "error image spec.template.spec.containers[0].image",
        ),
        (
            none.clone(),
            probe(json!({"image": "registry:5000/shop"})),
            "error image spec.template.spec.containers[0].image",
        ),
        (none.clone(), json!({"strategy": {"type": "Recreate"}}), "error downtime spec.downtime"),
        (json!({"downtime": "Accepted"}), none.clone(), "error downtime spec.downtime"),
        (
            json!({"preflight": [{"name": "pinned", "workload": {"imageByDigest": "Required"}}]}),
            none.clone(),
            "error workload-check spec.preflight[0].workload",
        ),
        (
            json!({"preflight": [{"name": "seen", "telemetry": {"criteria": ["load"]}}]}),
            none.clone(),
            "error plan spec.preflight[0].telemetry",
        ),
        (
            none.clone(),
            probe(json!({"env": [{"name": "KEY", "value": "changeme-please"}]})),
            "error template-placeholder spec.template.spec.containers[0].env[0].value",
        ),
        (
            json!({"preflight": [{"name": "db-migrate", "job": {"template": {"spec": {"template": {}}}}}]}),
            none.clone(),
            "warning migration spec.preflight[0]",
        ),
        (
            json!({"steps": [{"name": "half", "replicas": "50%", "checks": [{"name": "migrate", "job": {"template": {"spec": {"template": {}}}}}]}]}),
            none.clone(),
            "warning migration spec.steps[0].checks[0]",
        ),
        (
            json!({"steps": [{"name": "half", "replicas": "50%", "checks": [job("migrate", json!({"command": ["flyway", "migrate"]}))]}]}),
            none.clone(),
            "error late-migration spec.steps[0].checks[0]",
        ),
        (
            json!({"preflight": [job("schema", json!({"args": ["bundle", "exec", "rake", "db:migrate"]}))]}),
            none.clone(),
            "warning migration spec.preflight[0]",
        ),
        (
            json!({"migrations": [migration("42-expand", "Contract")]}),
            none.clone(),
            "error migration-kind spec.migrations[0].kind",
        ),
        (
            json!({"migrations": [migration("contract-orders", "Expand")]}),
            none.clone(),
            "error migration-kind spec.migrations[0].kind",
        ),
        (
            json!({"migrations": [migration("a", "Expand"), migration("b", "Contract"), migration("c", "Irreversible")]}),
            none.clone(),
            "warning migration spec.migrations[2]",
        ),
        (
            none.clone(),
            probe(json!({"command": ["sh", "-c", "rails db:migrate && exec rails server"]})),
            "warning pod-migration spec.template.spec.containers[0]",
        ),
        (none.clone(), json!({"replicas": 1}), "warning one-replica spec.steps"),
        (
            none.clone(),
            probe(json!({"readinessProbe": null})),
            "warning readiness spec.template.spec.containers",
        ),
        (
            json!({"preflight": [{"name": "starts", "http": {"podPath": "/healthz"}}]}),
            probe(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
            "warning trial spec.preflight[0].http.podPath",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "pilot": {"nodes": {"matchLabels": {"tier": "pilot", "os": "linux"}}}}]}),
            json!({"template": {"spec": {"nodeSelector": {"tier": "common", "os": "linux"}}}}),
            "warning pilot spec.steps[0].pilot.nodes.matchLabels.tier",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "pilot": {"atLeast": 1}}]}),
            none.clone(),
            "error plan spec.steps[0].pilot",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "pilot": {"node": {"matchLabels": {"tier": "pilot"}}}}]}),
            none.clone(),
            "error schema spec.steps[0].pilot.node",
        ),
        (json!({"stepss": []}), none.clone(), "error schema spec.stepss"),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "soak": "7d"}]}),
            none.clone(),
            "error schema spec.steps[0].soak",
        ),
        (
            json!({"steps": [{"name": "a", "replicas": 1, "soak": 600}]}),
            none.clone(),
            "error schema spec.steps[0].soak",
        ),
        (json!({"steps": [{"name": "a"}]}), none.clone(), "error schema spec.steps[0].replicas"),
        (
            criterion(json!({"errorRate": {"limit": "5%", "onLimit": "undo"}})),
            none.clone(),
            "error schema spec.criteria[0].errorRate.onLimit",
        ),
        (json!({"reports": {"keep": 0}}), none.clone(), "error schema spec.reports.keep"),
        (
            json!({"steps": [{"name": "half", "replicas": "50%", "soak": "2h", "approval": {"roles": ["qa"], "validFor": "1h"}}]}),
            none.clone(),
            "warning valid-for spec.steps[0].approval.validFor",
        ),
        (
            json!({"signOff": {"roles": ["qa", "lead"], "quorum": 3}}),
            none.clone(),
            "error plan spec.signOff.quorum",
        ),
        (
            json!({"criteria": [{"name": "a", "restarts": {"limit": 1}}, {"name": "a", "restarts": {"limit": 1}}]}),
            none.clone(),
            "error schema spec.criteria[1].name",
        ),
    ];
    let mut rules: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    for (spec, workload, wanted) in cases {
        let all = found(spec.clone(), workload);
        assert_eq!(all, [wanted], "{spec}");
        rules.retain(|rule| !wanted.contains(&format!(" {rule} ")));
    }
    // That one knows what serves: see the small world.
    assert_eq!(rules, ["same-image"], "rules without a case");
}

#[test]
fn a_soak_that_no_window_is_open_for_is_told_with_how_long_they_are() {
    let windows = |more: Value| {
        let mut windows = json!({"allow": [
            {"days": ["Mon", "Fri"], "from": "22:00"}, {"days": ["Tue"], "to": "01:00"},
        ]});
        windows.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        windows
    };
    let told = |soak: &str, windows: Value| {
        let spec = json!({"windows": windows, "steps": [{"name": "a", "replicas": 1, "soak": soak}]});
        let told = linted(&json!([release(spec), deployment(json!({}))]).to_string());
        told.findings.iter().map(|it| it.problem.clone()).collect::<Vec<_>>()
    };
    // What touches is one.
    assert_eq!(told("2h30m", windows(json!({}))), [""; 0]);
    let problem = "the soak of 3h30m is longer than every window: none is open for more than 3h";
    assert_eq!(told("3h30m", windows(json!({}))), [problem]);
    let problem = "the plan takes 3h2m, and none of them is open for more than 3h";
    assert_eq!(told("3h", windows(json!({}))), [problem]);
    // A year without releases is over some day.
    let closed =
        json!({"blackouts": [{"from": "2026-01-01", "to": "2026-12-31", "reason": "a year of rest"}]});
    assert_eq!(told("1h", windows(closed)), [""; 0]);
}

/// What is found in a step whose check runs this.
fn found_in_step(name: &str, container: Value) -> Vec<String> {
    let step = json!({"name": "half", "replicas": "50%", "checks": [job(name, container)]});
    found(json!({"steps": [step]}), json!({}))
}

#[test]
fn a_call_that_changes_a_schema_is_known_in_each_way_to_write_it() {
    for words in [
        "flyway -url=jdbc:postgresql://db/shop migrate",
        "flyway info migrate",
        "liquibase --changelog-file=all.xml update",
        "python -m alembic -c /app/alembic.ini upgrade head",
        "flask db upgrade",
        "npx -y prisma@5 migrate deploy",
        "RAILS_ENV=production bundle exec rails db:migrate",
        "bin/rake db:migrate",
        "python3 ./manage.py migrate --noinput",
        "goose -dir /migrations postgres dsn up",
        "dbmate --wait up",
        "/usr/bin/migrate -path /migrations -database dsn up 2",
        "atlas migrate apply --url dsn",
        "yarn knex migrate:latest",
        "npx sequelize-cli db:migrate",
        "typeorm -d dist/source.js migration:run",
        "sqlx migrate run --source /migrations",
        "diesel migration run",
        "php artisan migrate --force",
        "bin/console doctrine:migrations:migrate --no-interaction",
        "dotnet ef database update",
    ] {
        let late = ["error late-migration spec.steps[0].checks[0]"];
        let each: Vec<&str> = words.split(' ').collect();
        assert_eq!(found_in_step("schema", json!({"command": each})), late, "{words}");
        let text = format!("set -e\n./wait-for db:5432; {words} 2>&1 | tee log");
        assert_eq!(found_in_step("schema", json!({"args": ["/bin/sh", "-ec", text]})), late, "{words}");
    }
    // The image's own program, a container that comes first, and what is said of it.
    let first = json!({"restartPolicy": "Never", "containers": [{"args": ["smoke"]}], "initContainers": [
        {"image": "registry.internal:5000/flyway/flyway:10", "args": ["-url=jdbc:postgresql://me:s3cret@db", "migrate"]},
    ]});
    let check = json!({"name": "smoke", "job": {"template": {"spec": {"template": {"spec": first}}}}});
    let step = json!({"name": "half", "replicas": "50%", "checks": [check]});
    let told = linted(&json!([release(json!({"steps": [step]})), deployment(json!({}))]).to_string());
    insta::assert_snapshot!(text(&told), @r"
    shop.yaml: Release shop/checkout: error: spec.steps[0].checks[0]: code before its migration: check 'smoke' runs flyway migrate when pods of the new version serve already; write it in spec.migrations: with kind Expand it runs before the first pod
    1 error, 0 warnings in 1 Release
    ");
}

#[test]
fn what_only_looks_at_a_schema_or_speaks_of_one_is_no_migration() {
    for words in [
        "flyway info",
        "flyway validate",
        "flyway migrate -dryRunOutput=plan.sql",
        "liquibase update-sql",
        "liquibase status",
        "alembic current",
        "alembic upgrade head --sql",
        "prisma migrate status",
        "rails db:migrate:status",
        "rails db:abort_if_pending_migrations",
        "python manage.py migrate --check",
        "python manage.py migrate --plan",
        "goose -dir /migrations postgres dsn status",
        "dbmate status",
        "migrate -path /migrations -database dsn version",
        "atlas migrate apply --dry-run",
        "sqlx migrate info",
        "php artisan migrate:status",
        "php artisan migrate --pretend",
        "bin/console doctrine:migrations:migrate --dry-run",
        "dotnet ef migrations list",
        "echo rails db:migrate",
        "k6 run update.js",
        "wait-for --check -- smoke up",
    ] {
        let each: Vec<&str> = words.split(' ').collect();
        assert_eq!(found_in_step("schema", json!({"command": each})), [""; 0], "{words}");
        assert_eq!(found_in_step("schema", json!({"command": ["sh", "-c", words]})), [""; 0], "{words}");
    }
    let text = "# flyway migrate\nprintf 'then: flyway migrate'; smoke \"flyway migrate\"";
    assert_eq!(found_in_step("schema", json!({"command": ["sh", "-c", text]})), [""; 0]);
    // What has the name of one is still warned of.
    let named = found_in_step("check-migrations", json!({"command": ["flyway", "info"]}));
    assert_eq!(named, ["warning migration spec.steps[0].checks[0]"]);
    // Contracts that are made of paper.
    let migrations =
        json!([migration("add-contract-number", "Expand"), migration("drop-contract", "Contract")]);
    assert_eq!(found(json!({"migrations": migrations}), json!({})), [""; 0]);
}

#[test]
fn downtime_that_was_accepted_is_not_remarked_upon() {
    assert_eq!(found(json!({"downtime": "Accepted"}), json!({"strategy": {"type": "Recreate"}})), [""; 0]);
}

#[test]
fn it_is_said_with_the_file_the_field_and_what_to_write() {
    let yaml = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: tidegate.dev/v1alpha1
kind: Release
metadata: {name: checkout, namespace: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}
  steps:
    - {name: tenth, replicas: 10%, soaks: 1h}
    - {name: half, replicas: 5%, soak: 2h, deadline: 1h}
  criteria:
    - {name: errors, errorRate: {target: 6%, limit: 5%}}
  preflight:
    - {name: smoke, http: {url: "https://shop.example.com/health"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: shop}
spec:
  replicas: 1
  template: {spec: {containers: [{name: shop, image: "shop:latest"}]}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Release
metadata: {name: again, namespace: shop}
spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: checkout}}
---
apiVersion: tidegate.dev/v1
kind: Release
metadata: {name: alone}
spec: {targetRef: {apiVersion: apps/v1, kind: StatefulSet, name: alone}}
"#;
    insta::assert_snapshot!(text(&linted(yaml)), @r#"
    shop.yaml: Release shop/checkout: error: spec.steps[0].soaks: there is no such field; did you mean soak?
    shop.yaml: Release shop/checkout: error: spec.steps[1].replicas: 5% is not more than the 10% of the step before; let steps grow: first numbers of pods, then percentages
    shop.yaml: Release shop/checkout: error: spec.steps[1].soak: the soak of 2h is longer than the step's deadline of 1h; leave deadline out (twice the soak) or make it longer
    shop.yaml: Release shop/checkout: error: spec.criteria[0].errorRate.target: target 6% is above limit 5%; a target is at most the limit: exchange them
    shop.yaml: Release shop/checkout: error: spec.preflight[0].http.url: 'example.com' stands for something; write what is meant
    shop.yaml: Deployment shop/checkout: error: spec.template.spec.containers[0].image: image shop:latest has no tag but latest: it changes without a release, and going back starts it again; pin it by digest (name@sha256:...) or by a tag that is never moved
    shop.yaml: Release shop/checkout: warning: spec.steps: the Deployment has one replica: a step of any share is all of it; have more replicas, or one step of 100%
    shop.yaml: Deployment shop/checkout: warning: spec.template.spec.containers: no container has a readinessProbe: a pod counts as Ready before it can serve; write one
    shop.yaml: Release shop/again: error: spec.targetRef.name: Release shop/checkout has Deployment checkout too; a Deployment belongs to one Release: delete one of them
    shop.yaml: Release shop/again: warning: spec.steps: the Deployment has one replica: a step of any share is all of it; have more replicas, or one step of 100%
    shop.yaml: Release alone: error: apiVersion: tidegate.dev/v1 is not served; write tidegate.dev/v1alpha1
    shop.yaml: Release alone: error: spec.targetRef.kind: there is no such value as 'StatefulSet'; write Deployment
    Release alone: its Deployment is in none of the files: its images, strategy and probes were not looked at
    9 errors, 3 warnings in 3 Releases
    "#);
}

#[test]
fn every_rule_of_the_crd_about_one_text_is_held() {
    // A text with a rule that is not understood here is told by a function of its own, or not before the API server.
    fn walk(schema: &Value, path: &str, not_held: &mut Vec<String>) {
        if schema["type"] == "string" {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                if TextRule::read(rule["rule"].as_str().unwrap()).is_none() {
                    not_held.push(format!("{path}: {}", rule["message"].as_str().unwrap_or_default()));
                }
            }
        }
        for part in ["properties", "items", "additionalProperties"] {
            match &schema[part] {
                Value::Object(all) if part == "properties" => {
                    all.iter().for_each(|(name, inner)| walk(inner, &format!("{path}.{name}"), not_held));
                }
                inner @ Value::Object(_) => walk(inner, &format!("{path}[]"), not_held),
                _ => {}
            }
        }
    }
    let mut not_held = Vec::new();
    walk(schema(), "spec", &mut not_held);
    insta::assert_snapshot!(not_held.join("\n"), @r#"
    spec.criteria[].value.json.url: is not an http(s) URL
    spec.metrics.prometheus.url: is not an http(s) URL
    spec.metrics.prometheus.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.notify[].cloudEvents.url: is not an http(s) URL
    spec.notify[].cloudEvents.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.notify[].email.host: host is a name or an address: write smtp.example.com
    spec.notify[].opsgenie.url: is not an http(s) URL without a user
    spec.notify[].pagerDuty.url: is not an http(s) URL without a user
    spec.notify[].webhook.url: is not an http(s) URL
    spec.notify[].webhook.url: no user in the URL: write credentials into a Secret and name it as auth.basic.secret
    spec.preflight[].attest.link: is not an http(s) URL
    spec.preflight[].dns.server: 
    spec.preflight[].http.url: is not an http(s) URL
    spec.steps[].checks[].attest.link: is not an http(s) URL
    spec.steps[].checks[].dns.server: 
    spec.steps[].checks[].http.url: is not an http(s) URL
    spec.undo.hooks[].http.url: is not an http(s) URL
    spec.undo.validate.checks[].attest.link: is not an http(s) URL
    spec.undo.validate.checks[].dns.server: 
    spec.undo.validate.checks[].http.url: is not an http(s) URL
    "#);
}

fn run(arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"))
        .arg("lint")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read all of it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_code_says_whether_there_are_errors() {
    let good = run(&["-"], &release(json!({})).to_string());
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("0 errors, 0 warnings in 1 Release"), "{good:?}");
    let bad = run(&["-", "-o", "json"], &release(json!({"criteria": []})).to_string());
    assert_eq!(bad.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!(told["findings"][0]["field"], "spec.criteria");
    assert_eq!((&told["errors"], &told["findings"][0]["file"]), (&json!(1), &json!("standard input")));
    let none = run(&["-"], "kind: ConfigMap");
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no Release of tidegate.dev in -"), "{none:?}");
}

#[test]
fn a_file_that_nobody_wrote_is_refused_in_a_sentence() {
    let bomb = {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        text
    };
    let deep = "[".repeat(100_000);
    let deep_block = (0..5000).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    let long = "x: y\n".repeat(2_000_000);
    let many = "- {}\n".repeat(200_000);
    for (what, text) in [
        ("bomb", &bomb),
        ("deep", &deep),
        ("deep blocks", &deep_block),
        ("long", &long),
        ("many", &many),
        ("broken", &"a: [".to_owned()),
    ] {
        let told = run(&["-"], text);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(2), "{what}: {said}");
        assert!(
            said.starts_with("error: ") && said.len() < 500 && said.contains("standard input"),
            "{what}: {said}"
        );
    }
}

#[test]
fn no_value_of_an_environment_is_told() {
    let env = json!({"template": {"spec": {"containers": [{
        "name": "shop", "image": "shop:1", "readinessProbe": {}, "env": [{"name": "KEY", "value": "s3cret TODO s3cret"}],
    }]}}});
    let told = linted(&json!([release(json!({})), deployment(env)]).to_string());
    assert_eq!(told.errors, 1);
    assert!(!text(&told).contains("s3cret"), "{}", text(&told));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in r#"(?s)[ \n\t{}\[\]:,&*!|>'"%@`#?a-z0-9<.~-]{0,200}"#) {
        if let Ok(read) = manifests::read("x", &text) {
            drop(lint(&read));
        }
    }
}
