//! What `kubectl tidegate` prints for what stands in status, and what it sends.

mod act;
mod backtest;
mod follow;
mod hand_back;
mod judge;
mod lint;
mod report;
mod status;
mod view;
mod why;

use anstream::adapter::strip_str;
use serde_json::{Value, json};
use tidegate::api::{Release, ReleaseAction};
use tidegate::cli::view::Look;

/// The moment all these tests take place.
const NOW: &str = "2026-11-21T14:30:00Z";

fn look(width: Option<usize>) -> Look {
    Look { now: NOW.parse().unwrap(), width, wide: false }
}

fn bare(text: &str) -> String {
    strip_str(text).to_string()
}

/// A Release with four steps, and the status that is given.
fn release(status: Value) -> Release {
    let mut object = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release",
        "metadata": { "name": "checkout", "namespace": "shop", "creationTimestamp": "2026-11-01T00:00:00Z" },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout" },
            "steps": [
                { "name": "pilot", "replicas": 1, "soak": "48h" },
                { "name": "tenth", "replicas": "10%", "soak": "1h" },
                { "name": "half", "replicas": "50%", "soak": "1h" },
                { "name": "all", "replicas": "100%" },
            ],
        },
    });
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

/// Soaking at the second step, with one criterion that passes and one that is not known.
fn soaking() -> Release {
    release(json!({
        "phase": "Soaking",
        "summary": {
            "step": "2/4 tenth", "worst": "latency Unknown",
            "message": "soaking at tenth: latency has 40 of about 300 requests",
        },
        "step": {
            "index": 2, "of": 4, "name": "tenth", "pods": 1,
            "since": "2026-11-21T13:48:00Z", "until": "2026-11-21T14:48:00Z",
        },
        "replicas": {
            "desired": 10, "stable": { "pods": 9, "ready": 9 }, "canary": { "pods": 1, "ready": 1 }, "share": "10%",
        },
        "stable": { "revision": "checkout-7d9f", "fingerprint": "7d9f0", "images": ["shop/checkout:1.4.1"] },
        "canary": {
            "revision": "checkout-59c8", "fingerprint": "59c80", "images": ["shop/checkout:1.4.2"], "changedBy": "argocd",
        },
        "verdicts": [
            {
                "criterion": "errors", "verdict": "Pass", "value": "0.04%", "interval": ["0.01%", "0.2%"],
                "target": "1%", "limit": "5%", "have": 12000, "need": 900, "reason": "BelowTarget",
                "message": "at most 0.2% of requests fail", "source": "http_requests_total{status}",
            },
            {
                "criterion": "latency", "verdict": "Unknown", "target": "500ms", "limit": "2s", "have": 40, "need": 300,
                "reason": "TooFewRequests", "message": "too few requests",
            },
        ],
        "capture": { "mode": "Policy", "message": "the API server holds a new template before its first pod" },
        "run": run("Steps", json!({
            "step": 1,
            "progress": {
                "begun": "2026-11-21T13:47:50Z", "reached": "2026-11-21T13:48:00Z", "soaked": 0,
                "soakingSince": "2026-11-21T13:48:00Z",
            },
            "signatures": [{
                "role": "qa-manager", "by": "alice", "at": "2026-11-19T12:00:00Z", "reason": "smoke tests green",
                "action": "uid-1",
            }],
        })),
        "lastRun": undone(),
        "rejected": [{
            "fingerprint": "41aa0", "at": "2026-11-20T09:04:02Z", "run": "r6", "reason": "errors breached its limit",
        }],
    }))
}

/// A run under way, with what is special about it.
fn run(stage: &str, special: Value) -> Value {
    let mut run = json!({
        "id": "r7", "number": 7, "startedAt": "2026-11-19T11:30:00Z", "changedBy": "argocd", "originals": {},
        "stage": stage,
    });
    let Value::Object(special) = special else { panic!("an object, not {special}") };
    run.as_object_mut().unwrap().extend(special);
    run
}

/// A run that was undone, with its times to the millisecond.
fn undone() -> Value {
    json!({
        "id": "r6", "number": 6, "outcome": "Undone", "message": "errors: 12.5% of requests fail, limit 5%",
        "startedAt": "2026-11-20T09:00:00Z", "endedAt": "2026-11-20T09:04:02Z", "changedBy": "argocd",
        "undo": {
            "breachAt": "2026-11-20T09:04:00.100Z", "decidedAt": "2026-11-20T09:04:00.500Z",
            "orderedAt": "2026-11-20T09:04:00.560Z", "restoredAt": "2026-11-20T09:04:01.700Z",
        },
    })
}

fn action(spec: Value, at: &str, status: Value) -> ReleaseAction {
    let mut object = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction",
        "metadata": { "name": "checkout-x", "namespace": "shop", "uid": "uid-1", "creationTimestamp": at },
    });
    object["spec"] = spec;
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}
