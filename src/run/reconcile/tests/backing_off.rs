//! How soon what failed is tried again.

use super::*;
use crate::act::ActError;

/// For how long a Release waits after each of its first eight writes, none of which gets through.
fn waits(reconciler: &Reconciler, name: &str, back: bool) -> Vec<Duration> {
    let key = Key { namespace: "ns".into(), name: name.to_owned() };
    let fails = |_| {
        let error = ActError::Unreachable("connection refused".to_owned());
        reconciler.failed(&key, &Failed { what: "the status".to_owned(), error }, back);
        reconciler.own.backs_off(&key, back).expect("it waits") - clock::instant()
    };
    (0..8).map(fails).collect()
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_ever_more_seldom_what_goes_back_soon_and_each_at_a_time_of_its_own() {
    let reconciler = reconciler(slow(Written::default()), 8);
    for (back, seconds) in [(false, [1, 2, 4, 8, 16, 32, 60, 60]), (true, [1, 2, 3, 3, 3, 3, 3, 3])] {
        let mut firsts = Vec::new();
        for number in 0..20 {
            let waits = waits(&reconciler, &format!("shop-{back}-{number}"), back);
            for (wait, seconds) in waits.iter().zip(seconds) {
                let least = Duration::from_secs(seconds);
                assert!((least..=least + least / 4).contains(wait), "{back}: {waits:?}");
            }
            firsts.push(waits[0]);
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 15, "those that failed together come together: {firsts:?}");
    }
}
