//! What the judge remembers between slots: under a kilobyte or so a criterion, in the run's status.
//!
//! Everything here can be made again by folding all slots anew; it is kept so that a restart need
//! only fold what came since. Floats are written as text in their shortest exact form: a JSON
//! reader that is one bit off would make a replay differ from the live run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    Bound,
    count::{Bounds, Counts},
    criterion::{Terms, Thresholds},
    evidence::{NO_WORSE, Trials, log_sum_exp},
    lanes::{GRAIN, Lanes, Schedule},
    rank::DRAWS,
    recent::Recent,
    split::Stake,
    spread::{BLOCKS, Blocks, Spread, Sums},
};

/// How far what was measured may lie ahead of a clock that was not set back: as far as those of two leaders are apart.
const LEEWAY: i64 = 2;
/// What was measured before a clock was set back is taken to have ended so many seconds ago: what was measured since then is later.
pub const SET_BACK: i64 = 5;

/// The judge's memory of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// What the counts were read with, in a word of the caller's; absent where nothing was said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Start of the first slot folded, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_slot: Option<i64>,
    /// Start of the last slot folded, seconds: slots up to here are never folded again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_slot: Option<i64>,
    /// End of the last slot folded, seconds; 0 before the first.
    pub measured_until: i64,
    /// The most canary pods that were counted in one slot.
    #[serde(skip_serializing_if = "is_nothing")]
    pub pods: u64,
    /// Canary pod-slots that reported lately, since the step began.
    pub reported: Recent,
    /// Canary pod-slots that should have reported lately, since the step began, and did not.
    pub missing: Recent,
    /// The last slot told to [`note_missing`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_noted: Option<i64>,
    /// Seconds that pods were measured for, all together, and the requests they had meanwhile: what traffic to expect.
    pub pod_seconds: u64,
    /// See `pod_seconds`.
    pub pod_requests: u64,
    /// The share of α that no criterion holds: what dropped ones left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unspent: Option<Exact>,
    /// By the criterion's name.
    pub criteria: BTreeMap<String, Memory>,
}

/// What is remembered of one criterion. It stands still once the limit is breached, so that the
/// evidence for the undo stays to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The thresholds this evidence is about; others start a fresh test.
    pub measure: String,
    /// The share of α that this criterion holds; of a shadow, that it would hold.
    pub share: Exact,
    /// Enforced never.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The bucket bounds in use, for a latency criterion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// The canary's counts since the test began.
    pub canary: Counts,
    /// The canary's counts before something began to speak against stable; absent while nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_before: Option<Counts>,
    /// The canary's requests that were not compared with stable's, while its pods warmed up; of a fixed limit there are none.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub warm_up: u64,
    /// Canary pod-slots that had no histogram lately, since the step began, or not the bounds in use.
    #[serde(default)]
    pub unread: Recent,
    /// The cash all tests of this criterion bet from.
    #[schemars(with = "String")]
    pub schedule: Schedule,
    /// "The canary is above the limit."
    pub limit: Suspicion,
    /// "The canary is worse than stable", by counts, without which a breach could be a shared incident.
    #[schemars(with = "String")]
    pub worse: Lanes,
    /// The same by rank; absent until the first block has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub rank: Option<Rank>,
    /// "The canary is no worse than stable": ln of the ratios from the start; absent where stable is not the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub no_worse: Option<NoWorse>,
    /// "The canary is above the target"; absent when target and limit are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Suspicion>,
    /// The last slot in which stable had requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_served: Option<i64>,
    /// "Stable is above the limit, now."
    #[schemars(with = "String")]
    pub stable: Lanes,
    /// What was learnt of stable pods' noise.
    #[schemars(with = "String")]
    pub spread: Spread,
    /// Blocks under way.
    #[schemars(with = "String")]
    pub blocks: Blocks,
    /// Stable's requests by bound, until its quantile is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub usual: BTreeMap<Bound, u64>,
    /// φ of the last slot, by which evidence against the canary was divided.
    pub tempered: Exact,
    /// End of the slot whose fold brought the evidence over the threshold, seconds. Sticky.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breached_at: Option<i64>,
}

/// A test and the stretch of time that speaks for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspicion {
    /// The evidence.
    #[schemars(with = "String")]
    pub lanes: Lanes,
    /// Start of the first slot since which something speaks against the canary, seconds.
    pub since: i64,
    /// Requests since then.
    pub requests: u64,
    /// Bad ones among them.
    pub bad: u64,
}

impl Suspicion {
    /// The requests since then.
    pub(super) fn trials(&self) -> Trials {
        Trials::new(self.requests, self.bad)
    }
}

/// The rank test: when its first block has ended, half of what "worse than stable" is worth by then is bet on it, on blocks that begin
/// later. No request is bet on twice, or the mean of all that would not stay at one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    /// The evidence of its blocks.
    pub lanes: Lanes<{ DRAWS.len() }>,
    /// Capital not bet.
    pub cash: f64,
    /// ln of what the test by counts was worth when this began.
    pub stake: f64,
    /// End of what was bet on, seconds.
    pub until: i64,
}

/// ln of the ratios of B1's pass side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoWorse(pub [f64; NO_WORSE.len()]);

/// A number that is written as text, in its shortest exact form.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, JsonSchema)]
#[schemars(with = "String")]
pub struct Exact(pub f64);

impl Exact {
    /// To three decimals: what only people and plans need.
    pub(super) fn thousandths(number: f64) -> Self {
        Self((number * 1e3).round() / 1e3)
    }
}

impl Memory {
    pub(super) fn new(measure: String, share: f64, terms: &Terms) -> Self {
        Self {
            measure,
            share: Exact(share),
            shadow: false,
            bounds: None,
            canary: Counts::default(),
            canary_before: None,
            warm_up: 0,
            unread: Recent::default(),
            schedule: Schedule::default(),
            limit: Suspicion::default(),
            worse: Lanes::default(),
            rank: None,
            no_worse: terms.times_stable.map(|_| NoWorse::default()),
            target: terms.target.map(|_| Suspicion::default()),
            stable_served: None,
            stable: Lanes::default(),
            spread: Spread::default(),
            blocks: Blocks::default(),
            usual: BTreeMap::new(),
            tempered: Exact(1.0),
            breached_at: None,
        }
    }

    /// ln of the evidence that the canary is worse than stable: half by counts and half by rank, once there is a rank.
    pub(super) fn log_worse_evidence(&self) -> f64 {
        let by_counts = self.worse.log_evidence(self.schedule.cash);
        match &self.rank {
            None => by_counts,
            Some(rank) => {
                let by_rank = rank.stake + rank.lanes.log_evidence(rank.cash);
                log_sum_exp(&[by_counts, by_rank]) - std::f64::consts::LN_2
            }
        }
    }

    /// What it holds of α, and what that is worth. A shadow holds nothing.
    pub(super) fn stake(&self) -> Option<Stake> {
        let log_worth = self.log_worse_evidence();
        (!self.shadow).then_some(Stake { share: self.share.0, log_worth })
    }

    /// ln of the evidence that the canary is above the limit; without one there is nothing to show.
    pub(super) fn log_above_evidence(&self, terms: &Terms) -> f64 {
        match terms.limit {
            None => f64::INFINITY,
            Some(_) => self.limit.lanes.log_evidence(self.schedule.cash),
        }
    }

    /// Whether there is evidence enough that the canary is above the limit and worse than stable.
    pub(super) fn is_breached(&self, terms: &Terms, thresholds: &Thresholds) -> bool {
        self.log_worse_evidence() >= thresholds.worse && self.log_above_evidence(terms) >= thresholds.above
    }
}

impl State {
    /// Start of the first slot that counts and end of the last, seconds.
    pub fn window(&self) -> Option<(i64, i64)> {
        self.first_slot.map(|first| (first, self.measured_until))
    }

    /// Whether a slot, or a round with missing pods, of the second `t` is still to be counted in by a clock that reads `now`.
    /// What lies ahead of it was measured while the clock was set back: counted in, it would be counted in again in each look.
    pub fn lacks(&self, t: i64, now: i64) -> bool {
        !is_ahead(Some(t), now) && (self.is_ahead(now) || self.last_slot.is_none_or(|last| t > last))
    }

    /// The same of pods that were missing.
    pub fn lacks_missing(&self, t: i64, now: i64) -> bool {
        !is_ahead(Some(t), now) && (self.is_ahead(now) || self.missing_noted.is_none_or(|noted| t > noted))
    }

    /// Whether the clock was set back: what was counted in was measured later than `now`. Nothing more would be counted in until
    /// it has caught up.
    pub fn is_ahead(&self, now: i64) -> bool {
        is_ahead(self.last_slot.max(self.missing_noted), now)
    }

    /// Takes what was measured to have ended [`SET_BACK`] before `now`. All keeps its length, and its order.
    pub fn set_back(&mut self, now: i64) {
        let Some(last) = self.last_slot.max(self.missing_noted) else { return };
        let by = last.saturating_sub(now.saturating_sub(SET_BACK));
        let earlier = |t: &mut i64| *t = t.saturating_sub(by);
        let Self {
            first_slot, last_slot, measured_until, reported, missing, missing_noted, criteria, ..
        } = self;
        for t in [first_slot, last_slot, missing_noted] {
            t.iter_mut().for_each(earlier);
        }
        if *measured_until > 0 {
            earlier(measured_until);
            // None of it is of now.
            *measured_until = (*measured_until).min(now.saturating_sub(SET_BACK));
        }
        for recent in [reported, missing] {
            recent.set_back(now.saturating_sub(SET_BACK));
        }
        for memory in criteria.values_mut() {
            memory.unread.set_back(now.saturating_sub(SET_BACK));
            memory.blocks.set_back(now.saturating_sub(SET_BACK));
            for suspicion in [Some(&mut memory.limit), memory.target.as_mut()].into_iter().flatten() {
                earlier(&mut suspicion.since);
            }
            memory.stable_served.iter_mut().for_each(earlier);
            memory.breached_at.iter_mut().for_each(earlier);
            memory.rank.iter_mut().for_each(|rank| earlier(&mut rank.until));
        }
    }

    /// Says what counts are read with from now on. What was counted with something else was other requests: each criterion starts afresh with the next
    /// [`fold`](fn@super::fold), as with another threshold, and no slot of before is folded any more. Where nothing was said so far, it was the same.
    pub fn read_with(&mut self, definition: &str) {
        let before = self.definition.replace(definition.to_owned());
        if before.is_none_or(|before| before == definition) {
            return;
        }
        self.first_slot = None;
        (self.reported, self.missing) = (Recent::default(), Recent::default());
        (self.pod_seconds, self.pod_requests, self.pods) = (0, 0, 0);
        for memory in self.criteria.values_mut() {
            // Evidence about nothing that is asked: its share of α is handed on.
            memory.measure.clear();
        }
    }

    /// Requests a second and pod, as far as seen.
    pub fn traffic(&self) -> Option<f64> {
        (self.pod_seconds > 0).then(|| self.pod_requests as f64 / self.pod_seconds as f64)
    }
}

/// Whether something was seen later than a clock tells that was not set back.
pub fn is_ahead(last: Option<i64>, now: i64) -> bool {
    last.is_some_and(|last| last > now.saturating_add(LEEWAY))
}

/// A new step begins: fresh lanes get their share anew, missing data is counted anew. Nothing that
/// was learnt is forgotten.
pub fn begin_step(state: &mut State) {
    state.reported = Recent::default();
    state.missing = Recent::default();
    for memory in state.criteria.values_mut() {
        memory.unread = Recent::default();
        memory.schedule.begin_step();
    }
}

/// Says that in the slot starting at `t` so many canary pods should have reported and did not.
/// A slot is noted once: the same or an earlier `t` again changes nothing.
pub fn note_missing(state: &mut State, t: i64, pods: u32) {
    if state.missing_noted.is_none_or(|noted| t > noted) {
        state.missing_noted = Some(t);
        state.missing.add(t, u64::from(pods));
        state.reported.turn(t);
    }
}

fn is_nothing(count: &u64) -> bool {
    *count == 0
}

/// Whole millionths of a nat: the wealth, then how far the rest stands from it, which is mostly nothing.
fn lanes_text<const K: usize>(lanes: &Lanes<K>) -> String {
    let whole = |log: f64| (log * GRAIN).round() as i64;
    let wealth = lanes.wealth.map(whole);
    let rest = (0..K).map(|k| whole(lanes.rest[k]) - wealth[k]);
    let words: Vec<String> = wealth.into_iter().chain(rest).map(|number| number.to_string()).collect();
    words.join(" ")
}

/// What a wealth, and a rest's distance from it, can be in what is read, in millionths of a nat: far beyond any evidence, and exact in what they are kept in.
const MOST: f64 = 1e15;

fn lanes<const K: usize>(numbers: &[f64]) -> Option<Lanes<K>> {
    let (wealth, rest) = numbers.split_at_checked(K)?;
    let wealth: [f64; K] = wealth.try_into().ok()?;
    let rest: [f64; K] = rest.try_into().ok()?;
    let [wealth, rest] = [wealth, rest].map(|numbers| numbers.map(|number| number.clamp(-MOST, MOST)));
    let rest = std::array::from_fn(|k| (wealth[k] + rest[k]) / GRAIN);
    Some(Lanes { wealth: wealth.map(|log| log / GRAIN), rest })
}

impl<const K: usize> Serialize for Lanes<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&lanes_text(self))
    }
}

impl<'de, const K: usize> Deserialize<'de> for Lanes<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lanes(&numbers(&String::deserialize(deserializer)?, 2 * K).map_err(D::Error::custom)?)
            .ok_or_else(|| D::Error::custom("too few numbers"))
    }
}

impl Serialize for Rank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { lanes, cash, stake, until } = self;
        serializer.serialize_str(&format!("{cash} {stake} {until} {}", lanes_text(lanes)))
    }
}

impl<'de> Deserialize<'de> for Rank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all =
            numbers(&String::deserialize(deserializer)?, 3 + 2 * DRAWS.len()).map_err(D::Error::custom)?;
        let wrong = || D::Error::custom("more to bet than there ever was");
        let [cash, stake, until, rest @ ..] = all.as_slice() else { return Err(wrong()) };
        if !(0.0..=0.5).contains(cash) {
            return Err(wrong());
        }
        Ok(Self { lanes: lanes(rest).ok_or_else(wrong)?, cash: *cash, stake: *stake, until: *until as i64 })
    }
}

impl Serialize for NoWorse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&words(&self.0))
    }
}

impl<'de> Deserialize<'de> for NoWorse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = numbers(&String::deserialize(deserializer)?, NO_WORSE.len()).map_err(D::Error::custom)?;
        all.try_into().map(Self).map_err(|_| D::Error::custom("too few numbers"))
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = numbers(&String::deserialize(deserializer)?, 1).map_err(D::Error::custom)?;
        Ok(Self(all[0]))
    }
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sums = self.sums.iter().flat_map(|sums| [&sums.squares, &sums.noise, &sums.weight]);
        let Trials { requests, bad } = self.seen;
        let sums = words(std::iter::once(&self.minutes).chain(sums));
        serializer.serialize_str(&format!("{requests} {bad} {sums}"))
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        spread(&text).ok_or_else(|| D::Error::custom("expected counts and sums of stable pods"))
    }
}

fn spread(text: &str) -> Option<Spread> {
    let mut words = text.splitn(3, ' ');
    let seen = Trials::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let all = numbers(words.next()?, 1 + 3 * BLOCKS.len()).ok()?;
    if all.iter().any(|number| *number < 0.0) {
        return None;
    }
    let sums = |from: usize| Sums { squares: all[from], noise: all[from + 1], weight: all[from + 2] };
    Some(Spread { minutes: all[0], seen, sums: [sums(1), sums(4)] })
}

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [minute, five] = self.number;
        let pods = |pods: &BTreeMap<u32, [Trials; 2]>| {
            let pod = |(id, [one, other]): (&u32, &[Trials; 2])| {
                format!("{id:x} {} {} {} {}", one.requests, one.bad, other.requests, other.bad)
            };
            pods.iter().map(pod).collect::<Vec<_>>().join(",")
        };
        let text = format!("{minute} {five};{};{}", pods(&self.stable), pods(&self.canary));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        blocks(&text).ok_or_else(|| D::Error::custom("expected counts by pod"))
    }
}

fn blocks(text: &str) -> Option<Blocks> {
    let mut parts = text.split(';');
    let (minute, five) = parts.next()?.split_once(' ')?;
    let pods = |text: &str| -> Option<BTreeMap<u32, [Trials; 2]>> {
        let pod = |text: &str| {
            let mut words = text.split(' ');
            let id = u32::from_str_radix(words.next()?, 16).ok()?;
            let mut trials = || Some(Trials::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?));
            Some((id, [trials()?, trials()?]))
        };
        text.split(',').filter(|text| !text.is_empty()).map(pod).collect()
    };
    Some(Blocks {
        number: [minute.parse().ok()?, five.parse().ok()?],
        stable: pods(parts.next()?)?,
        canary: pods(parts.next()?)?,
    })
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let age = f64::from(self.age);
        serializer.collect_str(&words([&self.cash, &self.allowance, &age]))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = numbers(&String::deserialize(deserializer)?, 3).map_err(D::Error::custom)?;
        let (cash, allowance, age) = (all[0], all[1], all[2]);
        if !(0.0..=0.5).contains(&cash) || !(0.0..=0.5).contains(&allowance) {
            return Err(D::Error::custom("more to bet than there ever was"));
        }
        Ok(Self { cash, allowance, age: age as u32 })
    }
}

fn words<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> String {
    let words: Vec<String> = numbers.into_iter().map(f64::to_string).collect();
    words.join(" ")
}

fn numbers(text: &str, count: usize) -> Result<Vec<f64>, String> {
    let numbers: Vec<f64> = text
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .filter(|number: &f64| number.is_finite())
        .collect();
    if numbers.len() == count {
        Ok(numbers)
    } else {
        Err(format!("expected {count} finite numbers with spaces between"))
    }
}
