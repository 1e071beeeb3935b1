//! Each rule finds what it is for, and nothing else.

use serde_json::{Value, json};
use tidegate::decide::lint::RULES;

use super::{deployment, found, job, linted, migration, release};

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
            criterion(json!({"errorRate": {"relativeTo": "stable", "limit": "50%", "ignoreBelow": "100%"}})),
            none.clone(),
            "error limit spec.criteria[0].errorRate.ignoreBelow",
        ),
        (
            criterion(json!({"latency": {"quantile": 0.9, "limit": "0ms"}})),
            none.clone(),
            "error limit spec.criteria[0].latency.limit",
        ),
        (
            criterion(json!({"latency": {"quantile": 0.9, "relativeTo": "stable", "limit": "0%"}})),
            none.clone(),
            "error limit spec.criteria[0].latency.limit",
        ),
        (
            criterion(json!({"latency": {"quantile": 0.9, "target": "0s", "limit": "500ms"}})),
            none.clone(),
            "error limit spec.criteria[0].latency.target",
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

#[test]
fn what_lies_below_a_name_without_end_is_not_looked_at() {
    let below = |name: &str| {
        let container = json!({"name": "a", "annotations": {name: ["x", "TODO", "TBD"]}});
        found(json!({"preflight": [job("a", container)]}), json!({}))
    };
    let container = "spec.preflight[0].job.template.spec.template.spec.containers[0]";
    let each = |place: u8| format!("error placeholder {container}.annotations.note[{place}]");
    assert_eq!(below("note"), [each(1), each(2)]);
    assert_eq!(below(&"n".repeat(1000)), [""; 0]);
}

#[test]
fn downtime_that_was_accepted_is_not_remarked_upon() {
    assert_eq!(found(json!({"downtime": "Accepted"}), json!({"strategy": {"type": "Recreate"}})), [""; 0]);
}
