//! Numbers as people read them, and the sentences of judgements.

use super::{
    Measure,
    criterion::{Slow, Terms},
    evidence::Trials,
    slot::Bound,
    state::Memory,
};

/// What would undo a breach.
pub const STANDS: &str = "by nothing: a breach stands until its run has ended";

/// "0.31 %": three significant digits.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent > 0.0 && percent.is_finite() {
        (2 - percent.log10().floor() as i32).clamp(0, 9) as usize
    } else {
        0
    };
    let text = format!("{percent:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// "500 ms", "2 s".
pub(super) fn duration(seconds: f64) -> String {
    if seconds.abs() < 1.0 { format!("{} ms", (seconds * 1e6).round() / 1e3) } else { format!("{seconds} s") }
}

/// "1 request", "20 requests".
pub(super) fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

/// "the error rate is 3.1 % (31 of 1000 requests)" or "2.3 % of the requests took longer than
/// 500 ms (23 of 1000)".
pub(super) fn seen(trials: Trials, bound: Option<Bound>) -> String {
    let share = percent(trials.share().unwrap_or(0.0));
    let Trials { requests, bad } = trials;
    match bound {
        None => format!("the error rate is {share} ({bad} of {requests} requests)"),
        Some(bound) if bound == Bound::INFINITE => {
            format!("no bucket can show a request that is too slow ({requests} requests)")
        }
        Some(bound) => {
            let bound = duration(bound.seconds());
            format!("{share} of the requests took longer than {bound} ({bad} of {requests})")
        }
    }
}

/// "the limit of 5 %", "the limit of 1 % slower than 500 ms".
pub(super) fn threshold(name: &str, share: f64, seconds: Option<f64>) -> String {
    let share = percent(share);
    match seconds {
        None => format!("the {name} of {share}"),
        Some(seconds) => {
            let seconds = duration(seconds);
            format!("the {name} of {share} slower than {seconds}")
        }
    }
}

/// Says which bucket bounds stand in for thresholds that are none; empty when none do.
pub(super) fn substitutes(memory: &Memory, terms: &Terms, measure: &Measure) -> String {
    let (Some(bounds), Some(Slow::Than { target, limit })) = (memory.bounds, terms.slow) else {
        return String::new();
    };
    let Measure::Latency { quantile, .. } = measure else {
        return String::new();
    };
    let mut notes = Vec::new();
    if bounds.limit.seconds() != limit {
        let above = if bounds.limit == Bound::INFINITE {
            "a breach can never be shown".to_owned()
        } else {
            format!("a breach is judged at {}", duration(bounds.limit.seconds()))
        };
        let below = match bounds.pass {
            Some(bound) => format!("a pass at {}", duration(bound.seconds())),
            None => "a pass can never be shown".to_owned(),
        };
        notes.push(format!("{} is no bucket bound: {above}, {below}", duration(limit)));
    }
    if terms.target.is_some() && bounds.target.seconds() != target {
        let above = if bounds.target == Bound::INFINITE {
            "a miss of the target can never be shown".to_owned()
        } else {
            format!("the target is judged at {}", duration(bounds.target.seconds()))
        };
        notes.push(format!("{} is no bucket bound: {above}", duration(target)));
    }
    if notes.is_empty() {
        String::new()
    } else {
        format!(" (p{}; {})", quantile_name(*quantile), notes.join("; "))
    }
}

fn quantile_name(quantile: f64) -> String {
    let name = (quantile * 1e8).round() / 1e6;
    name.to_string()
}
