//! What reads bytes of users or of the network, a function each, called with bytes. None may panic, whatever the bytes; where more can
//! be said of what comes out, it is asserted. The same functions run under cargo-fuzz (`make fuzz`) and, for a bounded number of seeds
//! and mutations, in the test suite.

mod answers;
mod api_server;
mod checks;
mod cluster;
mod leads;
mod past;
mod people;
mod receivers;
mod times;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::Name;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tidegate::api::check::dns::RecordType;
use tidegate::api::check::workload::WorkloadCheck;
use tidegate::api::right::Right;
use tidegate::api::text::{Condition, Latency, LatencyLimit, Percent, Percentage, Share, Span};
use tidegate::cli::backtest::asking;
use tidegate::cli::judge as judge_command;
use tidegate::cli::lint as lint_command;
use tidegate::decide::expression::{Expression, Purse};
use tidegate::decide::judge::{self, Bound, Criterion, Measure, OnLimit, OnUnknown, Settings, State};
use tidegate::decide::refusal::{Refusal, Why};
use tidegate::decide::snapshot::Template;
use tidegate::decide::workload::room::Nodes;
use tidegate::decide::workload::{self, Around, Subject, Wanted};
use tidegate::decide::{self, Key, promotion, rights};
use tidegate::observe::measure::counters::Totals;
use tidegate::observe::measure::exposition::{self, Limits};
use tidegate::observe::measure::instant;
use tidegate::observe::measure::names::{Names, Survey};
use tidegate::observe::measure::prometheus::{NewestSeries, WholeSeries, each_series, shown_by};
use tidegate::observe::probes::{dns, tls};
use tidegate::observe::reach::{ApiServer, Reach};
use tidegate::observe::reading::Reading;
use tidegate::observe::{self, Findings, probes, values};
use tidegate::watch::again::Again;
use tidegate::watch::index::{self, Index};
use tidegate::watch::slim;

pub use answers::{http_answer, job_result, left_of_pods};
pub use api_server::answers_of_the_api_server;
pub use checks::{config, objects};
pub use cluster::{annotations, cli_hand_back, watched};
pub use leads::lease;
pub use past::past;
pub use people::{cli_status, notification, records, secrets};
pub use receivers::receivers;
pub use times::windows;

/// Looks at an input.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: [(&str, Target); 36] = [
    ("exposition", exposition),
    ("prometheus", prometheus),
    ("numbers", numbers),
    ("json_number", json_number),
    ("criteria", criteria),
    ("slots", slots),
    ("judge_state", judge_state),
    ("manifest", manifest),
    ("release", release),
    ("world", world),
    ("texts", texts),
    ("pattern", pattern),
    ("addresses", addresses),
    ("windows", windows),
    ("lint", lint),
    ("surroundings", surroundings),
    ("brought", brought),
    ("expression", expression),
    ("certificate", certificate),
    ("dns_answer", dns_answer),
    ("http_answer", http_answer),
    ("job_result", job_result),
    ("left_of_pods", left_of_pods),
    ("annotations", annotations),
    ("watched", watched),
    ("notification", notification),
    ("secrets", secrets),
    ("records", records),
    ("objects", objects),
    ("config", config),
    ("past", past),
    ("lease", lease),
    ("cli_status", cli_status),
    ("receivers", receivers),
    ("answers_of_the_api_server", answers_of_the_api_server),
    ("cli_hand_back", cli_hand_back),
];

/// A pod's page, text format or OpenMetrics.
pub fn exposition(data: &[u8]) {
    let names = Names::default();
    let mut survey = names.survey();
    let seen = exposition::read(data, Limits::default(), |sample| survey.see(&sample.name, sample.labels));
    if seen.is_err() {
        return;
    }
    let Ok(detected) = names.choose(&survey) else { return };
    let mut totals = Totals::default();
    let again = exposition::read(data, Limits::default(), |sample| {
        let value = detected.value(&sample.name, sample.labels, sample.value);
        if let Some(value) = value.filter(|value| value.value.is_finite() && value.value >= 0.0) {
            totals.add(value.counts, value.value);
        }
    });
    assert!(again.is_ok(), "a page that was read once is read again");
    let slot = totals.into_slot(0, judge::Revision::Canary, "pod".to_owned());
    assert!(slot.errors <= slot.requests, "no more errors than requests: {slot:?}");
}

/// An answer of a Prometheus server: series of counters and of native histograms.
pub fn prometheus(data: &[u8]) {
    let names = Names::default();
    let mut survey: Survey = names.survey();
    let _read = each_series(data, |series: NewestSeries<'_>| {
        let labels = series.counting_labels();
        let name = series.metric.get("__name__").map_or("http_requests_total", AsRef::as_ref);
        survey.see(name, &labels);
        survey.see_native(name, &labels);
        if let Some((_, histogram)) = &series.histograms.0
            && let Some(histogram) = histogram.read()
        {
            histogram.at_bounds(1.0);
        }
        Ok(())
    });
    let _chosen = names.choose(&survey);
    let _read = each_series(data, |series: WholeSeries<'_>| {
        for (_, histogram) in &series.histograms {
            if let Some(histogram) = histogram.read() {
                histogram.at_bounds(1e-3);
            }
        }
        Ok(())
    });
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(value) = text.lines().next().unwrap_or_default().parse()
    {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("date", value);
        let _shown = shown_by(&headers);
    }
}

/// An answer to a query for single numbers.
pub fn numbers(data: &[u8]) {
    if let Ok(numbers) = instant::numbers(data) {
        assert!(numbers.len() <= 100, "at most as many as are looked at");
    }
}

/// A JSON answer: a pointer, a line break, the answer.
pub fn json_number(data: &[u8]) {
    let (pointer, body) = split(data);
    if let Ok(found) = values::number_at(body, &String::from_utf8_lossy(pointer)) {
        assert!(found.points.len() <= 1);
    }
}

/// What a `workload` check, and a `promotion` check, find around a template.
pub fn surroundings(data: &[u8]) {
    let Ok(found) = serde_json::from_slice::<Value>(data) else { return };
    let items = |name: &str| found[name].as_array().cloned().unwrap_or_default();
    let template = Template::new(&found["template"]);
    let mut nodes = Nodes::of(&found["template"]);
    items("nodes").iter().for_each(|node| nodes.see_node(node));
    items("pods").iter().enumerate().for_each(|(place, pod)| nodes.see_pod(pod, place % 2 == 0));
    let fits = nodes.fits();
    assert!(fits.beside <= fits.instead && fits.nodes <= fits.of, "{fits:?}");
    let subject = Subject {
        template,
        stable: Some(Template::new(&found["stable"])),
        replicas: 4,
        surge: 1,
        own: BTreeSet::new(),
    };
    let around = Around {
        budgets: Some(Ok(items("budgets"))),
        quotas: Some(Ok(items("quotas"))),
        nodes: Some(Ok(nodes)),
    };
    let (_, said) = workload::judged(Wanted::of(&WorkloadCheck::default()), &subject, &around);
    assert!(!said.is_empty());
    let wanted = promotion::Wanted {
        others: promotion::Others::Named(None),
        namespace: Some("staging".into()),
        soak: Duration::from_secs(3600),
    };
    let subject = promotion::Subject {
        namespace: "production".into(),
        release: "shop".into(),
        images: vec!["shop@sha256:11".into()],
    };
    let (release, now) = (Some(&found["release"]), Timestamp::from_second(1_800_000_000).expect("a moment"));
    let reports = items("reports");
    let other = promotion::Other { namespace: "staging", name: "shop", release, reports: &reports };
    let (_, said) = promotion::judged(&wanted, &subject, &other, now);
    assert!(!said.is_empty());
}

/// The record of a run that somebody has brought from another cluster.
pub fn brought(data: &[u8]) {
    let wanted = promotion::Wanted {
        others: promotion::Others::Brought { config_map: "staging".into(), key: "record".into() },
        namespace: None,
        soak: Duration::from_secs(3600),
    };
    let subject = promotion::Subject {
        namespace: "shop".into(),
        release: "checkout".into(),
        images: vec!["shop@sha256:11".into()],
    };
    let now = Timestamp::from_second(1_800_000_000).expect("a moment");
    let text = String::from_utf8_lossy(data);
    let (_, said) = promotion::brought::judged(&wanted, &subject, "configmap staging", &text, now);
    assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
}

/// Manifests for `kubectl tidegate lint`.
pub fn lint(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(manifests) = lint_command::manifests::read("file", text)
    {
        let linted = lint_command::lint(&manifests);
        assert_eq!(linted.errors + linted.warnings, linted.findings.len());
        let told = lint_command::text(&linted);
        assert!(!told.chars().any(|letter| letter.is_control() && letter != '\n'), "{told:?}");
    }
}

/// The criteria file of `kubectl tidegate judge`.
pub fn criteria(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _asked = judge_command::parse(text);
    }
}

/// The slots file of the same, and the judge over it.
pub fn slots(data: &[u8]) {
    let mut trouble = judge_command::Trouble::default();
    let slots = judge_command::slots_of(data, Path::new("slots"), &mut trouble).expect("bytes can be read");
    let few = &slots[..slots.len().min(200)];
    for said in judge_command::replay(&some_criteria(), &[], few) {
        assert!(!said.judgement.message.is_empty());
    }
}

/// What the judge keeps in status: the state, a line break, slots to go on with.
pub fn judge_state(data: &[u8]) {
    let (state, rest) = split(data);
    let Ok(mut state) = serde_json::from_slice::<State>(state) else { return };
    let settings = Settings::default();
    let _judged = judge::judge(&some_criteria(), &state, &settings);
    let mut trouble = judge_command::Trouble::default();
    let slots = judge_command::slots_of(rest, Path::new("slots"), &mut trouble).expect("bytes can be read");
    judge::fold(&some_criteria(), &mut state, &slots[..slots.len().min(50)], &settings);
    let _judged = judge::judge(&some_criteria(), &state, &settings);
    let kept = serde_json::to_value(&state).expect("a state can be kept");
    let again: State = serde_json::from_value(kept.clone()).expect("what was kept can be read");
    assert_eq!(serde_json::to_value(&again).expect("a state can be kept"), kept, "as it was kept");
}

/// What the judge keeps after such slots, and the slots once more, later: an input of [`judge_state`].
pub fn kept_after(slots: &[u8]) -> Vec<u8> {
    let mut trouble = judge_command::Trouble::default();
    let slots = judge_command::slots_of(slots, Path::new("slots"), &mut trouble).expect("bytes can be read");
    let mut state = State::default();
    judge::fold(&some_criteria(), &mut state, &slots, &Settings::default());
    let mut input = serde_json::to_vec(&state).expect("a state can be kept");
    for slot in slots {
        let later = json!({
            "t": slot.t + 1000, "revision": slot.revision, "pod": slot.pod, "requests": slot.requests, "errors": slot.errors,
        });
        input.extend(format!("\n{later}").bytes());
    }
    input
}

fn some_criteria() -> Vec<Criterion> {
    let of = |name: &str, measure| Criterion {
        name: name.to_owned(),
        measure,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    };
    vec![
        of("errors", Measure::ErrorRate { target: 0.01, limit: 0.05 }),
        of("latency", Measure::Latency { quantile: 0.99, target: 0.5, limit: 2.0 }),
        of("stable", Measure::ErrorRateOfStable { limit: 0.5, ignore_below: 0.001 }),
    ]
}

/// The manifest that `kubectl tidegate backtest -f` reads.
pub fn manifest(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _release = asking::release_in(text, "manifest", None);
    }
}

/// A Release as it is stored, with everything else as it is in mid-run.
pub fn release(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(release) = serde_json::from_str::<slim::Release>(text) else { return };
    let mut index = index_of(&json!({}));
    index::apply(&mut index, release);
    look(&index);
}

/// The first line picks a world; what follows changes it, node by node.
pub fn world(data: &[u8]) {
    let Some((first, script)) = data.split_first() else { return };
    let mut world = a_world(usize::from(*first));
    for change in script.chunks_exact(4).take(32) {
        let nodes = count(&world);
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % nodes;
        let other = usize::from(change[3]).wrapping_mul(31) % nodes;
        let copied = node(&mut world, &mut { other }).cloned().unwrap_or_default();
        let to = match change[2] % 20 {
            0 => Value::Null,
            1 => json!(-1),
            2 => json!(i64::MAX),
            3 => json!(i64::MIN),
            4 => json!(i32::MAX),
            5 => json!(1e308),
            6 => json!(""),
            7 => json!("9999-12-30T22:00:00Z"),
            8 => json!("-009999-01-02T01:59:59Z"),
            9 => json!("0001-01-01T00:00:00Z"),
            10 => json!([]),
            11 => json!({}),
            12 => json!("999999h999999m999999s"),
            13 => json!("100%"),
            14 => json!(0),
            15 => json!(u32::MAX),
            16 => json!(true),
            17 => json!("x".repeat(300)),
            18 => json!(f64::from(change[3])),
            _ => copied,
        };
        if let Some(node) = node(&mut world, &mut { at }) {
            *node = to;
        }
    }
    look(&index_of(&world));
}

/// One of the worlds that are kept.
fn a_world(place: usize) -> Value {
    let worlds: Vec<&str> = include_str!("../worlds.jsonl").lines().collect();
    serde_json::from_str(worlds[place % worlds.len()]).expect("a world of ours")
}

/// How many nodes there are.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The node at this place, counted from the outside in.
fn node<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    for child in children {
        let size = count(child);
        if *place < size {
            return node(child, place);
        }
        *place -= size;
    }
    None
}

/// What the watches would have in memory of such objects: those that cannot be read are not there.
fn index_of(world: &Value) -> Index {
    fn all<T: index::Indexed>(index: &mut Index, list: &Value) {
        for item in list.as_array().into_iter().flatten() {
            if let Ok(object) = serde_json::from_value::<T>(item.clone()) {
                index::apply(index, object);
            }
        }
    }
    let mut index = Index::default();
    all::<slim::Release>(&mut index, &world["releases"]);
    all::<slim::Deployment>(&mut index, &world["deployments"]);
    all::<slim::ReplicaSet>(&mut index, &world["sets"]);
    all::<slim::Pod>(&mut index, &world["pods"]);
    all::<slim::StoredTemplate>(&mut index, &world["templates"]);
    all::<slim::Job>(&mut index, &world["jobs"]);
    all::<slim::ReleaseAction>(&mut index, &world["actions"]);
    all::<slim::Freeze>(&mut index, &world["freezes"]);
    let kinds = ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
    let names = ["tidegate-workload-hold", "tidegate-workload-pace"];
    index.policies = kinds.iter().flat_map(|kind| names.map(|name| format!("{kind}/{name}"))).collect();
    let kinds = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let guards = kinds.iter().flat_map(|kind| rights::POLICIES.map(|name| format!("{kind}/{name}")));
    index.policies.extend(guards);
    index
}

/// A look at every Release that there is, and at one that is gone.
fn look(index: &Index) {
    let now = jiff::Timestamp::from_second(1_790_000_000).expect("a moment");
    let mut keys: Vec<Key> = index.releases.iter().map(|(name, _)| name.into()).collect();
    keys.push(Key { namespace: "ns".to_owned(), name: "gone".to_owned() });
    for key in keys {
        let (again, reading) = (Again::default(), Reading::default());
        // What is longer than it ever is has no room, and would be read again.
        let Ok(snapshot) = observe::observe(index, &again, &reading, &key, Findings::default(), now) else {
            continue;
        };
        let decision = decide::decide(&snapshot);
        assert_eq!(format!("{decision:?}"), format!("{:?}", decide::decide(&snapshot)), "the same twice");
        let hour = now + Duration::from_secs(3600);
        // A Release that is gone, and of which nothing is left, is not looked at again.
        let is_left = snapshot.release.is_some()
            || snapshot.target.is_some()
            || snapshot.quarantined.iter().any(|pod| pod.until > now);
        assert!(decision.wake.map_or(!is_left, |wake| wake <= hour), "a wake within the hour");
        let _needs = decide::needs(&snapshot);
        let said = r#"x is forbidden: User "u" cannot patch resource "deployments" in API group "apps""#;
        for why in [Why::Right(Right::lacking(said).expect("a right")), Why::Words(said.to_owned())] {
            let refusal = Refusal { what: "the patch of Deployment x".to_owned(), why };
            let _said = decide::refusal::decide(&snapshot, None, &refusal);
        }
    }
}

/// Durations, latencies, percentages, shares, conditions, bounds, stretches of time, and refusals of the API server.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(span) = Span(text.to_owned()).parse() {
        assert!(span <= Duration::from_secs(999_999 * 3661), "{text}: {span:?}");
    }
    let finite = |number: Option<f64>| {
        assert!(number.is_none_or(|number| number.is_finite() && number >= 0.0), "{text}")
    };
    finite(Latency(text.to_owned()).seconds());
    finite(Percent(text.to_owned()).share());
    finite(Percentage(text.to_owned()).factor());
    finite(LatencyLimit(text.to_owned()).seconds());
    if let Some((_, number)) = Condition(text.to_owned()).parse() {
        assert!(number.is_finite(), "{text}");
    }
    let _bound: Result<Bound, _> = text.parse();
    if let Ok(share) = serde_json::from_value::<Share>(json!(text)) {
        for replicas in [0, 1, 7, i32::MAX] {
            assert!(share.of(replicas).is_none_or(|of| (0..=replicas).contains(&of)), "{text} of {replicas}");
            assert!(share.at_most_of(replicas).is_none_or(|of| (0..=replicas).contains(&of)), "{text}");
        }
    }
    if let Some(right) = Right::lacking(text) {
        let said = right.to_string();
        assert!(said.chars().count() <= 1024 && !said.chars().any(char::is_control), "{said:?}");
    }
    times::of_backtest(text);
}

/// A regular expression, a line break, a text.
pub fn pattern(data: &[u8]) {
    let (pattern, text) = split(data);
    // As many letters as the API server lets through.
    let pattern: String = String::from_utf8_lossy(pattern).chars().take(256).collect();
    let text: String = String::from_utf8_lossy(text).chars().take(4096).collect();
    let _found = probes::matches(&pattern, &text);
}

/// Addresses: what is let through is none of those that must not be asked.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = reqwest::Url::parse(text) else { return };
    let api = ApiServer::known("https://10.96.0.1", None, &[]);
    if Reach::guarded(api, false).allows(&url).is_err() {
        return;
    }
    assert!(["http", "https"].contains(&url.scheme()), "{url}");
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        // By another way of looking: the four bytes that a system would take for an IPv4 address.
        let v4 = match address {
            std::net::IpAddr::V4(address) => Some(address),
            std::net::IpAddr::V6(address) => address.to_ipv4(),
        };
        assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast(), "{url}");
        if let Some(v4) = v4 {
            assert!(!v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(), "{url}");
        }
    } else {
        assert_ne!(host.trim_end_matches('.'), "metadata.google.internal", "{url}");
    }
}

/// What is before the first line break, and what is after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// An expression, a line break, and the object that it is about.
pub fn expression(data: &[u8]) {
    let (text, object) = split(data);
    let object: Value = serde_json::from_slice(object).unwrap_or_default();
    // Line breaks stand in expressions too.
    let text = String::from_utf8_lossy(text).replace('\r', "\n");
    let Ok(expression) = Expression::parse(&text, &["object"]) else { return };
    let held = expression.holds(&[("object", &object)]);
    if let Err(unsure) = &held {
        assert!(unsure.to_string().chars().count() < 400, "{unsure}");
    }
    if !text.contains(".map(") && !text.contains(".filter(") {
        // What loops over an object's fields has no order to keep to.
        assert_eq!(held, expression.holds(&[("object", &object)]), "{text}");
    }
    if let Ok(text) = expression.text(&[("object", &object)], &Purse::for_many()) {
        assert!(text.chars().count() <= 256);
    }
}

/// A certificate in PEM, or as it is.
pub fn certificate(data: &[u8]) {
    let chain = tls::certificates(data, 16).unwrap_or_else(|_| vec![CertificateDer::from(data.to_vec())]);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain.clone());
    let asked = tls::Asked {
        names: &["shop.example.com", "10.0.0.1"],
        validity: Duration::from_secs(2_592_000),
        renew: "renew it",
        authority: "one of these",
    };
    let now = Timestamp::from_second(1_795_000_000).expect("a moment");
    let (Ok(said) | Err(said)) = tls::judged(&chain, &roots, &asked, now);
    assert!(said.chars().count() <= 1024 && !said.contains('\n'), "{said}");
}

/// What a DNS server answers.
pub fn dns_answer(data: &[u8]) {
    let name = Name::from_ascii("example.com.").expect("a name");
    let kinds = [
        RecordType::A,
        RecordType::Aaaa,
        RecordType::Cname,
        RecordType::Txt,
        RecordType::Mx,
        RecordType::Ns,
        RecordType::Caa,
        RecordType::Srv,
        RecordType::Ptr,
    ];
    for kind in kinds {
        let _records = dns::records_in(data, &name, kind);
    }
}
