//! How often the pods of a run are read one by one, so that all runs together stay within one cap and no namespace slows down others. Plain arithmetic.

use std::collections::HashMap;
use std::time::Duration;

/// What one run reads of pods one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// So many pods each time.
    pub pods: usize,
    /// So often, as far as the cap allows it.
    pub every: Duration,
}

/// What the runs of one namespace read.
#[derive(Default)]
struct Demand {
    pods: u64,
    /// Reads a second, rounded up.
    a_second: u64,
}

/// How long a run in this namespace, which would like to read so often, waits between two rounds: as it likes, or longer, in whole seconds (which keep
/// the slots of a run aligned), where its namespace wants more than its share of the cap (0 counts as 1).
///
/// `all`: what every run reads, this one included, with its namespace. Shares are max-min fair: whoever wants little has it, and what is left is divided
/// equally among those who want more, at a level of L reads a second each. All together stay within the cap:
///
/// - The level is found so that the sum of min(d, L) over all namespaces is at most the cap, d being what each wants a second.
/// - A namespace with d ≤ L reads no more than d, for none of its runs reads oftener than it would like to.
/// - In one with d > L and n pods in all its runs, each run waits for n / L seconds at least, and so all of them read n / (n / L) = L a second at most.
pub fn cadence<'a>(
    namespace: &str,
    every: Duration,
    all: impl IntoIterator<Item = (&'a str, Reads)>,
    cap_per_second: u32,
) -> Duration {
    let mut namespaces: HashMap<&str, Demand> = HashMap::new();
    for (name, Reads { pods, every }) in all {
        let pods = u64::try_from(pods).unwrap_or(u64::MAX);
        let demand = namespaces.entry(name).or_default();
        demand.pods = demand.pods.saturating_add(pods);
        demand.a_second = demand.a_second.saturating_add(pods.div_ceil(every.as_secs().max(1)));
    }
    let mut demands: Vec<u64> =
        namespaces.values().map(|demand| demand.a_second).filter(|reads| *reads > 0).collect();
    demands.sort_unstable();
    // The level is rest / left: what those that want less have left over, and how many want more. It only rises.
    let (mut rest, mut left) = (u64::from(cap_per_second.max(1)), demands.len() as u64);
    for reads in demands {
        if reads.saturating_mul(left) > rest {
            break;
        }
        rest -= reads;
        left -= 1;
    }
    match namespaces.get(namespace) {
        Some(own) if own.a_second.saturating_mul(left) > rest => {
            every.max(Duration::from_secs(own.pods.saturating_mul(left).div_ceil(rest)))
        }
        Some(_) | None => every,
    }
}
