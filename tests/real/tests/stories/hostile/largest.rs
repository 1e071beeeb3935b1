//! A Release in which everything that can be written is there, as long, as many and as deep as the API server lets it be, up to as much as is read of a spec.

use serde_json::{Map, Value, json};
use tidegate_real::stage::releases_crd;

use crate::given::with;

/// The spec.
pub fn largest() -> Value {
    let parts = [beside(), preflight(), steps(), measured(), undo(), notify()];
    parts.into_iter().fold(json!({}), with)
}

fn many(count: usize, of: impl Fn(usize) -> Value) -> Value {
    (0..count).map(of).collect()
}

fn name(place: usize) -> String {
    format!("{place:0>63}")
}

/// The names of 40 letters that some have.
fn short(place: usize) -> String {
    format!("{place:0>40}")
}

fn object(place: usize) -> String {
    format!("{place:x>253}")
}

fn url(letters: usize) -> String {
    format!("http://shop/{}", "x".repeat(letters - "http://shop/".len()))
}

fn roles() -> Value {
    many(8, |role| json!(format!("{role:a>63}")))
}

/// 1024 characters, as deep as they can be.
fn expression() -> String {
    format!("{}true{}", "(".repeat(510), ")".repeat(510))
}

fn headers() -> Map<String, Value> {
    (0..16).map(|place| (format!("{place:a>64}"), json!("x".repeat(1024)))).collect()
}

fn labels() -> Value {
    let prefix = "x".repeat(253);
    let all: Map<String, Value> =
        (0..32).map(|place| (format!("{prefix}/{place:a>63}"), json!("x".repeat(63)))).collect();
    json!({ "matchLabels": all })
}

fn job() -> Value {
    let container = json!({"name": "c", "image": "local/shop", "env": many(2, |place| json!({"name": name(place), "value": "x".repeat(256)}))});
    json!({
        "template": {"spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}},
        "result": {"from": "LastLogLine", "expression": expression()},
    })
}

/// What stands beside checks and steps.
fn beside() -> Value {
    let kinds = ["Expand", "Irreversible", "Contract"];
    let minutes = (0..59).map(|_| "0").collect::<Vec<_>>().join(",");
    json!({
        "windows": {
            "allow": many(8, |_| json!({"cron": format!("{minutes} * * * *"), "for": "744h", "timeZone": "America/Argentina/ComodRivadavia"})),
            "blackouts": many(32, |place| json!({"from": format!("9{place:0>3}-01-01"), "to": "9999-12-31", "reason": "x".repeat(256)})),
            "lowTraffic": {"promql": "x".repeat(2048), "below": "-999999999999999.999999999e+99", "over": "744h"},
        },
        "locks": many(4, |place| json!(name(place))),
        "migrations": many(16, |place| json!({
            "name": short(place), "kind": kinds[place % 3], "job": job(), "verify": job(), "timeout": "999999h999999m999999s",
        })),
        "signOff": {"roles": roles(), "quorum": 8, "validFor": "999999h"},
        "watch": many(8, |place| json!({"for": format!("{}h", 100_000 * (place + 1)), "every": "99999h"})),
        "reports": {"keep": 100, "for": "999999h"},
    })
}

fn preflight() -> Value {
    let keys =
        || many(64, |place| json!({"key": format!("{place:0>253}"), "pattern": "(a{99}){99}".repeat(20)}));
    let label = "x".repeat(63);
    let domain = [label.as_str(), &label, &label, &label[..61]].join(".");
    let check = |place: usize| match place % 8 {
        0 => json!({"timeout": "000000h000010m000000s", "http": {
            "url": url(1024), "headers": headers(), "expect": {"status": 599, "bodyMatches": "(a?){99}".repeat(32), "within": "999999.999s"},
        }}),
        1 => json!({"approval": {"roles": roles(), "quorum": 8}}),
        2 => {
            json!({"config": {"configMaps": [{"name": object(0), "keys": if place == 2 { keys() } else { json!([]) }}]}})
        }
        3 => json!({"object": {
            "apiVersion": format!("{}/v1", "x".repeat(250)), "resource": "x".repeat(63), "selector": format!("a={}", "x".repeat(510)), "namespace": name(place),
            "expression": expression(), "maxAge": "999999h", "timestamp": expression(),
        }}),
        4 => {
            json!({"dns": {"name": domain, "type": "TXT", "values": many(16, |value| json!(format!("{value:x>1024}")))}})
        }
        5 => {
            json!({"attest": {"text": "x".repeat(512), "roles": roles(), "link": url(512), "validFor": "999999h"}})
        }
        6 => json!({"job": job()}),
        _ => json!({"http": {"url": url(1024), "expect": {"expression": expression()}}}),
    };
    json!({"preflight": many(32, |place| with(check(place), json!({"name": name(place)})))})
}

fn steps() -> Value {
    let check = |place: usize| {
        json!({
            "name": name(place), "every": "999999h999999m999999s", "retries": {"limit": 10, "backoff": "999999h"},
            "http": {"podPath": format!("/{}", "x".repeat(511)), "expect": {"headers": {"location": "(a?){99}".repeat(32)}}},
        })
    };
    let step = |place: usize| {
        let step = json!({
            "name": name(place), "replicas": place * 3000 + 1, "soak": "999999h999999m999999s", "deadline": "999999h999999m999999s",
            "checks": many(if place < 8 { 8 } else { 0 }, check),
        });
        // In one place: in all of them they are more than is read.
        let pilot = json!({"pilot": {"nodes": labels(), "pods": labels()}, "approval": {"roles": roles(), "quorum": 8}});
        if place == 31 { with(step, pilot) } else { step }
    };
    json!({"steps": many(32, step)})
}

fn measured() -> Value {
    let exact: Map<String, Value> =
        (0..8).map(|place| (format!("{place:a>128}"), json!("x".repeat(256)))).collect();
    let limit = "value > 999999999999999.999999999e+99";
    let criterion = |place: usize| match place % 4 {
        0 => {
            json!({"value": {"promql": "x".repeat(2048), "limit": limit, "for": "999999h", "by": "x".repeat(128)}})
        }
        1 => json!({"value": {"podGauge": {"name": "x".repeat(256), "labels": exact}, "limit": limit}}),
        2 => {
            json!({"value": {"json": {"url": url(1024), "pointer": format!("/{}", "x".repeat(255))}, "limit": limit}})
        }
        _ => json!({"latency": {"quantile": 0.999_999_999, "limit": "999999.999s"}}),
    };
    json!({
        "criteria": many(32, |place| with(criterion(place), json!({"name": name(place)}))),
        "metrics": {
            "prometheus": {"url": format!("http://prometheus/{}", "x".repeat(494)), "scrapeInterval": "999999h",
                "headers": many(8, |place| json!({"name": format!("{place:a>64}"), "value": "x".repeat(256)}))},
            "ignorePaths": many(32, |place| json!(format!("/{place:a>254}*"))),
        },
    })
}

fn undo() -> Value {
    let nested = (0..20).fold(json!("x".repeat(4096)), |inner, _| json!({ "a": inner }));
    let hook = |place: usize| match place % 4 {
        0 => json!({"http": {
            "url": url(1024), "headers": headers(), "body": "x".repeat(4096),
            "secretHeader": {"name": "x".repeat(64), "secret": object(0), "key": "x".repeat(253), "prefix": "x".repeat(32)},
        }}),
        1 => {
            json!({"configMap": {"name": object(0), "key": "x".repeat(253), "value": "x".repeat(4096)}})
        }
        2 => json!({"patch": {
            "apiVersion": format!("{}/v1", "x".repeat(250)), "resource": "x".repeat(63), "name": object(0), "patch": nested,
        }}),
        _ => json!({"job": job()}),
    };
    let check = |place: usize| json!({"name": name(place), "http": {"url": url(1024), "expect": {"expression": expression()}}});
    json!({"undo": {
        "budget": "999999h999999m999999s",
        "phases": {"decision": "1h", "execution": "1h", "validation": "1h", "communication": "1h"},
        "approval": {"roles": roles(), "quorum": 8, "timeout": "15m"},
        "hooks": many(8, |place| with(hook(place), json!({"name": short(place)}))),
        "validate": {"for": "999999h", "checks": many(8, check)},
        "evidence": {"pods": 3, "logLines": 200},
        "quarantine": {"pods": 5, "for": "168h"},
    }})
}

fn notify() -> Value {
    let crd = releases_crd().expect("the CRD");
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let all = &spec["notify"]["items"]["properties"]["events"]["items"]["enum"];
    assert!(all.is_array(), "{all}");
    let reasons = || many(32, |place| json!(format!("{place:x>64}")));
    let address = |place: usize| format!("{place:a>242}@example.com");
    let channel = |place: usize| match place % 4 {
        0 => json!({"webhook": {"url": url(512)}, "events": all, "reasons": reasons()}),
        1 => {
            json!({"slack": {"secret": object(0), "key": "x".repeat(253)}, "events": all, "exceptReasons": reasons()})
        }
        2 => json!({
            "email": {"host": object(0), "from": address(0), "to": many(16, |place| json!(address(place)))},
            "events": ["AwaitingApproval", "Held", "MissingRight"], "after": "999999h",
        }),
        _ => {
            json!({"pagerDuty": {"secret": object(0), "key": "x".repeat(253), "url": url(512)}, "events": ["Held"]})
        }
    };
    let more = |place: usize| json!({"name": name(place), "template": "{{message}}".repeat(93)});
    json!({"notify": many(16, |place| with(channel(place), more(place)))})
}
