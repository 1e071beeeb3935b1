//! How far a move may go: the arithmetic of maxSurge and maxUnavailable.
//!
//! With `minReadySeconds` parked the native controller never sees a canary pod as available. It therefore keeps
//! `N - maxUnavailable` stable pods and brings up `maxUnavailable + maxSurge` canary pods, and stops there. One pair of numbers
//! is one order.

use serde_json::{Value, json};

use crate::api::Capacity;

/// What is written into `spec.strategy.rollingUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub unavailable: i32,
    pub surge: i32,
}

/// The owner's maxSurge and maxUnavailable, in pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub surge: i32,
    pub unavailable: i32,
}

/// Pods as they stand, by order (`spec.replicas` of the ReplicaSets) and by readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// `spec.replicas` of the Deployment.
    pub replicas: i32,
    /// Stable pods ordered.
    pub stable: i32,
    /// Stable pods that are Ready.
    pub stable_ready: i32,
    /// Pods of every other revision ordered.
    pub canary: i32,
    /// Canary pods that have been Ready for the owner's minReadySeconds.
    pub good: i32,
}

/// What a move needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Where it should be: pause.
    Rest,
    /// Order this.
    Order(Pace),
    /// Canary pods are on their way.
    Wait,
    /// Stable pods are not Ready and the owner's limits leave no room.
    NoRoom,
    /// More canary pods than the step allows.
    TooMany,
}

impl Limits {
    /// The owner's limits as the native controller resolves them: surge rounds up, unavailable rounds down, and when both
    /// come to nothing one pod may be unavailable.
    pub fn of(strategy: &Value, replicas: i32) -> Self {
        let rolling = &strategy["rollingUpdate"];
        let surge = resolve(&rolling["maxSurge"], replicas, true);
        let unavailable = resolve(&rolling["maxUnavailable"], replicas, false).min(replicas);
        if surge == 0 && unavailable == 0 {
            return Self { surge: 0, unavailable: 1 };
        }
        Self { surge, unavailable }
    }
}

/// Whether an order is within the owner's limits for any other number of replicas, too. Of more than a hundred pods not every number is a
/// percentage; and where what may be unavailable comes to nothing and there is no surge, the native controller takes one pod.
pub fn scales(order: &Value, replicas: i32, owners: Limits) -> bool {
    let is_number = order["rollingUpdate"]["maxUnavailable"].as_i64().is_some_and(|pods| pods > 0);
    let is_without_surge = Limits::of(order, replicas).surge == 0 && owners.surge > 0;
    !is_number && !is_without_surge
}

fn resolve(value: &Value, replicas: i32, up: bool) -> i32 {
    let Some(text) = value.as_str() else {
        return match value.as_i64() {
            Some(pods) => i32::try_from(pods.max(0)).unwrap_or(i32::MAX),
            None => resolve(&Value::from("25%"), replicas, up),
        };
    };
    let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(25).max(0);
    let pods = i64::from(replicas) * percent;
    i32::try_from(if up { (pods + 99) / 100 } else { pods / 100 }).unwrap_or(i32::MAX)
}

impl Pace {
    /// Nothing may move but, were somebody to unpause, one surged pod: both may not be 0.
    pub const PARKED: Self = Self { unavailable: 0, surge: 1 };

    /// As `spec.strategy`. maxUnavailable is a percentage wherever one hits the wanted number exactly, so that an autoscaler that
    /// shrinks the Deployment in mid-move does not take its last stable pods.
    pub fn strategy(self, replicas: i32) -> Value {
        let exact =
            (0..=100).find(|percent| i64::from(replicas) * percent / 100 == i64::from(self.unavailable));
        let unavailable = match exact {
            Some(percent) if replicas > 0 && self.unavailable > 0 => Value::from(format!("{percent}%")),
            _ => Value::from(self.unavailable),
        };
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": unavailable, "maxSurge": self.surge } })
    }

    /// The same for the way back, where more of a surge than is needed brings no pod more. It is a percentage, too: the smallest that comes
    /// to as many pods, of more than a hundred replicas perhaps to some more. The native controller notes on each ReplicaSet with how much
    /// of a surge it was sized last, and goes by that note when it scales it in proportion to others: sized for few replicas with the surge
    /// of many, it would lose pods to a scale-up, its last one included.
    pub fn strategy_back(self, replicas: i32) -> Value {
        let mut strategy = self.strategy(replicas);
        if self.surge > 0 && replicas > 0 {
            let percent = (i64::from(self.surge - 1) * 100 / i64::from(replicas) + 1).min(100);
            strategy["rollingUpdate"]["maxSurge"] = Value::from(format!("{percent}%"));
        }
        strategy
    }

    /// The same within limits of the owner's. Where their maxSurge is a percentage ours is one too, the smallest that comes to as many
    /// pods: scaled in mid-move, there are never more than theirs would allow of the new number.
    pub fn strategy_within(self, owners: &Value, replicas: i32) -> Value {
        let mut strategy = self.strategy(replicas);
        if !owners["rollingUpdate"]["maxSurge"].is_number() && self.surge > 0 {
            let comes_to =
                |percent: &i64| (i64::from(replicas) * percent + 99) / 100 == i64::from(self.surge);
            if let Some(percent) = (1..=100).find(comes_to) {
                strategy["rollingUpdate"]["maxSurge"] = Value::from(format!("{percent}%"));
            }
        }
        strategy
    }
}

/// The next order of a move to `target` canary pods (`most`: what proportional rounding may make of the same share).
pub fn forward(stand: Stand, limits: Limits, target: i32, most: i32) -> Next {
    let Stand { replicas, stable, stable_ready, canary, good } = stand;
    if canary > most.max(target) {
        return Next::TooMany;
    }
    if good < canary {
        return Next::Wait;
    }
    if canary >= target {
        if stable <= replicas - canary {
            return Next::Rest;
        }
        // Scaled in the moment in which it is ordered, the native controller first sizes all revisions alike, to what may be there: without a
        // surge Ready canary pods would go with the stable ones. With one more of them come than were asked for, but where all are there.
        let surge = if canary < replicas { 0 } else { stable.min(limits.surge) };
        return Next::Order(Pace { unavailable: canary, surge });
    }
    let lacking = (replicas - stable_ready - good).max(0);
    let room = target - canary;
    let surge = limits.surge.min(room);
    let unavailable = (limits.unavailable - lacking).max(0).min(room - surge);
    if surge + unavailable == 0 {
        // Stable pods have gone for canary pods that are not ordered yet: the last order is still being carried out.
        let ordered = replicas - stable;
        return if canary < ordered && ordered <= target {
            Next::Order(Pace { unavailable: ordered, surge: 0 })
        } else if stable_ready == 0 && stable > 0 && limits.unavailable > 0 {
            // None of them serves: fewer of them are no loss, and what mends them may be what waits here.
            Next::Order(Pace { unavailable: canary + limits.unavailable.min(room).min(stable), surge: 0 })
        } else {
            Next::NoRoom
        };
    }
    Next::Order(Pace { unavailable: canary + unavailable, surge })
}

/// The order that goes back: the stable template is in the Deployment, so its ReplicaSet is the new one and the canary the old.
/// Missing stable pods are surged all at once; but where stable ones serve and all bad ones may go at once none is, for the native
/// controller brings new pods up before it looks at old ones, and comes to these only a look later. `to_make_room`: how many pods more may be
/// unavailable, so that stable ones have room; of several the last that serves makes none before a stable one is Ready, unless its owner allows that
/// nobody serves.
pub fn back(stand: Stand, limits: Limits, capacity: Capacity, to_make_room: i32) -> Pace {
    let missing = (stand.replicas - stand.stable_ready).clamp(0, stand.replicas);
    let gone_at_once = gone_at_once(capacity, limits, stand.replicas);
    let stays = i32::from(stand.replicas > 1 && stand.stable_ready == 0 && gone_at_once < stand.replicas);
    let unavailable = (gone_at_once + to_make_room).min((stand.replicas - stays).max(1));
    let all_may_go = stand.stable_ready > 0 && unavailable > 0 && missing <= unavailable;
    // As many as stand: a template that somebody writes now pauses the Deployment, and paused, the native controller takes what is more
    // than that from all revisions alike.
    let excess = if stand.replicas > 0 { stand.stable + stand.canary - stand.replicas } else { 0 };
    let missing = if all_may_go { 0 } else { missing.max(i32::from(unavailable == 0)) };
    Pace { unavailable, surge: missing.max(excess) }
}

/// How many pods may be unavailable on the way back, whether there is room for stable ones or not.
pub fn gone_at_once(capacity: Capacity, limits: Limits, replicas: i32) -> i32 {
    match capacity {
        Capacity::MitigateFirst => replicas.max(1),
        Capacity::Auto => limits.unavailable,
        Capacity::CapacityFirst => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(surge: i32, unavailable: i32) -> Limits {
        Limits { surge, unavailable }
    }

    #[test]
    fn limits_resolve_as_the_native_controller_does() {
        let of = |surge: Value, unavailable: Value, n| {
            Limits::of(&json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}), n)
        };
        assert_eq!(of(json!("25%"), json!("25%"), 10), limits(3, 2));
        assert_eq!(of(json!(0), json!(1), 10), limits(0, 1));
        assert_eq!(of(json!("100%"), json!(0), 7), limits(7, 0));
        assert_eq!(of(json!(0), json!("10%"), 3), limits(0, 1));
        assert_eq!(Limits::of(&json!({}), 4), limits(1, 1));
    }

    #[test]
    fn a_share_of_stable_pods_is_written_as_a_percentage_where_one_fits() {
        assert_eq!(
            Pace { unavailable: 8, surge: 0 }.strategy(16)["rollingUpdate"]["maxUnavailable"],
            json!("50%")
        );
        assert_eq!(
            Pace { unavailable: 0, surge: 1 }.strategy(10)["rollingUpdate"]["maxUnavailable"],
            json!(0)
        );
        for n in 1..=500 {
            for unavailable in 1..=n {
                if let Some(text) =
                    (Pace { unavailable, surge: 0 }).strategy(n)["rollingUpdate"]["maxUnavailable"].as_str()
                {
                    let percent: i32 = text.trim_end_matches('%').parse().unwrap();
                    assert_eq!(n * percent / 100, unavailable, "{n} {text}");
                }
            }
        }
    }

    /// The native controller, as far as a parked move is concerned: it carries an order out.
    fn obey(stand: Stand, pace: Pace) -> Stand {
        let stable = stand.stable.min(stand.replicas - pace.unavailable).max(0);
        let canary = stand.canary.max(stand.replicas + pace.surge - stable).min(stand.replicas);
        Stand { stable, stable_ready: stable, canary, ..stand }
    }

    #[test]
    fn every_move_reaches_its_step_within_the_owners_limits() {
        let shapes = [(0, 1), (1, 0), (3, 2), (1, 1), (1000, 0), (0, 1000), (50, 50)];
        for n in [1, 2, 3, 4, 5, 7, 10, 16, 33, 100, 250, 500] {
            for (surge, unavailable) in shapes {
                let limits = limits(surge.min(n), unavailable.min(n));
                let mut stand = Stand { replicas: n, stable: n, stable_ready: n, ..Stand::default() };
                for percent in [1, 10, 25, 50, 100] {
                    let target = (n * percent / 100).max(1);
                    let mut orders = 0;
                    loop {
                        match forward(stand, limits, target, target) {
                            Next::Rest => break,
                            Next::Order(pace) => {
                                assert!(pace.unavailable + pace.surge > 0, "both are 0");
                                stand = obey(stand, pace);
                                let total = stand.stable + stand.canary;
                                assert!(stand.canary <= target, "never past the step");
                                assert!(total <= n + limits.surge, "{n} {limits:?}: {total} pods");
                                assert!(
                                    stand.stable_ready + stand.good >= n - limits.unavailable,
                                    "{n} {limits:?}"
                                );
                                stand.good = stand.canary;
                            }
                            other => panic!("{other:?} at {stand:?} {limits:?}"),
                        }
                        orders += 1;
                        assert!(orders < 2000, "does not end");
                    }
                    assert_eq!((stand.canary, stand.stable), (target, n - target));
                }
            }
        }
    }

    #[test]
    fn the_last_order_keeps_its_surge_and_an_earlier_one_has_none() {
        let stand = Stand { replicas: 16, stable: 16, stable_ready: 16, canary: 16, good: 16 };
        let last = forward(stand, limits(16, 0), 16, 16);
        assert_eq!(last, Next::Order(Pace { unavailable: 16, surge: 16 }));
        assert_eq!(forward(stand, limits(4, 0), 16, 16), Next::Order(Pace { unavailable: 16, surge: 4 }));
        let stand = Stand { replicas: 16, stable: 16, stable_ready: 16, canary: 8, good: 8 };
        assert_eq!(forward(stand, limits(16, 0), 8, 8), Next::Order(Pace { unavailable: 8, surge: 0 }));
    }

    #[test]
    fn nothing_moves_while_a_canary_pod_is_not_good() {
        let stand = Stand { replicas: 10, stable: 9, stable_ready: 9, canary: 2, good: 1 };
        assert_eq!(forward(stand, limits(3, 2), 5, 5), Next::Wait);
    }

    #[test]
    fn stable_pods_that_are_down_use_up_what_the_owner_allows() {
        let stand = Stand { replicas: 10, stable: 10, stable_ready: 9, ..Stand::default() };
        assert_eq!(forward(stand, limits(0, 1), 5, 5), Next::NoRoom);
    }

    #[test]
    fn where_no_stable_pod_is_ready_it_goes_on_within_what_the_owner_allows() {
        let stand = Stand { replicas: 3, stable: 3, ..Stand::default() };
        assert_eq!(forward(stand, limits(0, 1), 3, 3), Next::Order(Pace { unavailable: 1, surge: 0 }));
        let stand = Stand { replicas: 3, stable: 2, canary: 1, good: 1, ..Stand::default() };
        assert_eq!(forward(stand, limits(0, 1), 3, 3), Next::Order(Pace { unavailable: 2, surge: 0 }));
        let stand = Stand { replicas: 3, stable: 3, ..Stand::default() };
        assert_eq!(forward(stand, limits(0, 0), 3, 3), Next::NoRoom);
    }

    #[test]
    fn a_surge_grows_and_shrinks_no_faster_than_the_owners() {
        let owners = json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}});
        // Of more than a hundred pods not every number is a percentage.
        for n in 1..=100 {
            let limit = Limits::of(&owners, n).surge;
            for surge in 1..=limit {
                let ours = Pace { unavailable: 0, surge }.strategy_within(&owners, n);
                assert_eq!(Limits::of(&ours, n).surge, surge, "{n}: {ours}");
                for scaled in 1..=200 {
                    assert!(
                        Limits::of(&ours, scaled).surge <= Limits::of(&owners, scaled).surge,
                        "{n}, {scaled}"
                    );
                }
            }
        }
        let pods = json!({"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 0}});
        assert_eq!(
            Pace { unavailable: 0, surge: 2 }.strategy_within(&pods, 10)["rollingUpdate"]["maxSurge"],
            2
        );
    }

    #[test]
    fn the_surge_of_the_way_back_comes_to_as_many_pods_and_is_small_where_replicas_are_few() {
        for n in 1..=300 {
            for surge in 1..=n {
                let ours = Pace { unavailable: 0, surge }.strategy_back(n);
                let comes_to = Limits::of(&ours, n).surge;
                assert!((surge..surge + (n + 99) / 100).contains(&comes_to), "{n}, {surge}: {ours}");
                assert_eq!(Limits::of(&ours, 1).surge, 1, "{n}: {ours}");
            }
        }
        // More pods stand than twice the replicas: as many again as these is enough.
        assert_eq!(
            Pace { unavailable: 1, surge: 23 }.strategy_back(2)["rollingUpdate"]["maxSurge"],
            json!("100%")
        );
    }

    #[test]
    fn an_order_that_does_not_change_with_the_replicas_is_told_from_one_that_does() {
        let scales = |unavailable, surge, n, owners| {
            super::scales(&Pace { unavailable, surge }.strategy(n), n, owners)
        };
        assert!(scales(3, 2, 10, limits(2, 0)));
        assert!(scales(6, 2, 226, limits(2, 0)));
        assert!(!scales(8, 2, 226, limits(2, 0)), "no percentage of 226 is 8");
        assert!(!scales(3, 0, 10, limits(1, 0)), "of 3 it is one, with no surge in its place");
        assert!(scales(3, 0, 10, limits(0, 1)), "as their owner would have it");
    }

    #[test]
    fn an_order_that_is_half_carried_out_is_given_again() {
        let stand = Stand { replicas: 10, stable: 8, stable_ready: 8, canary: 1, good: 1 };
        assert_eq!(forward(stand, limits(0, 1), 5, 5), Next::Order(Pace { unavailable: 2, surge: 0 }));
    }

    #[test]
    fn an_undo_takes_bad_pods_at_once_only_within_the_limits() {
        let stand = Stand { replicas: 10, stable: 5, stable_ready: 5, canary: 5, good: 5 };
        assert_eq!(back(stand, limits(3, 2), Capacity::Auto, 0), Pace { unavailable: 2, surge: 5 });
        assert_eq!(back(stand, limits(3, 2), Capacity::MitigateFirst, 0), Pace { unavailable: 10, surge: 0 });
        assert_eq!(back(stand, limits(3, 2), Capacity::CapacityFirst, 0), Pace { unavailable: 0, surge: 5 });
        assert_eq!(back(stand, limits(3, 2), Capacity::Auto, 3), Pace { unavailable: 5, surge: 0 });
        assert_eq!(back(stand, limits(3, 2), Capacity::Auto, 2), Pace { unavailable: 4, surge: 5 });
        let few = Stand { replicas: 10, stable: 9, stable_ready: 9, canary: 1, good: 1 };
        assert_eq!(back(few, limits(3, 2), Capacity::Auto, 0), Pace { unavailable: 2, surge: 0 });
        assert_eq!(back(few, limits(3, 0), Capacity::Auto, 0), Pace { unavailable: 0, surge: 1 });
        let surged = Stand { replicas: 4, stable: 3, stable_ready: 3, canary: 2, good: 0 };
        assert_eq!(back(surged, limits(1, 1), Capacity::Auto, 0), Pace { unavailable: 1, surge: 1 });
        // More than their owner's replicas stand, and none of them may go before the native controller has looked: it finds room for all.
        let surged = Stand { replicas: 10, stable: 10, stable_ready: 10, canary: 10, good: 0 };
        assert_eq!(back(surged, limits(10, 0), Capacity::Auto, 0), Pace { unavailable: 0, surge: 10 });
        assert_eq!(
            back(surged, limits(10, 2), Capacity::CapacityFirst, 0),
            Pace { unavailable: 0, surge: 10 }
        );
        let surged = Stand { stable: 8, stable_ready: 8, ..surged };
        assert_eq!(back(surged, limits(10, 1), Capacity::Auto, 0), Pace { unavailable: 1, surge: 8 });
        // Bad pods are all that serve: one of them makes no room for stable ones before the first of these is Ready.
        let bad = Stand { replicas: 5, stable: 0, stable_ready: 0, canary: 5, good: 5 };
        assert_eq!(back(bad, limits(0, 4), Capacity::Auto, 5), Pace { unavailable: 4, surge: 5 });
        assert_eq!(back(bad, limits(0, 5), Capacity::Auto, 5), Pace { unavailable: 5, surge: 5 });
        assert_eq!(back(bad, limits(0, 4), Capacity::MitigateFirst, 5), Pace { unavailable: 5, surge: 5 });
        let only = Stand { replicas: 1, stable: 0, stable_ready: 0, canary: 1, good: 1 };
        assert_eq!(back(only, limits(1, 0), Capacity::Auto, 1), Pace { unavailable: 1, surge: 1 });
        let restored = Stand { replicas: 10, stable: 10, stable_ready: 10, canary: 0, good: 0 };
        assert_eq!(back(restored, limits(3, 0), Capacity::Auto, 0), Pace { unavailable: 0, surge: 1 });
    }
}
