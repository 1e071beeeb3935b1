//! Faults at random: two operators behind proxies, and whatever may happen to them, to the network, to the API server and to the control plane.
//!
//! One fault at a time, each heals. They are drawn as from a deck of cards: each kind comes once before one comes again. Which and when
//! comes from a seed. How the machine is meanwhile does not, so a seed gives the same faults and not the same moments.
//!
//! Not played: what is refused for good, admission policies, authorities that change, kinds that stay unheard, nodes. Stories do that.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use serde_json::Value;
use tokio::sync::watch;

use crate::credentials::{self, TokenFile};
use crate::operator::{NAMESPACE, Operator};
use crate::relay::{Relay, Weather};
use crate::stage::{self, Stage};

/// The two operators, by the name of their proxies.
pub const NAMES: [&str; 2] = ["one", "two"];

/// Until something that the stage does has come to be, with nothing in its way.
const SOON: Duration = Duration::from_secs(60);
/// Until operators use a token that has been put in the place of a void one: they read it within a minute.
const TOKEN_READ: Duration = Duration::from_secs(100);

/// Numbers at random from a seed (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Less than `below`.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from))
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// kill -9 of an operator, and a fresh one.
    Kill,
    /// SIGTERM, and a fresh one.
    Stop,
    Freeze,
    /// Its connections stay open and nothing goes through.
    Hang,
    /// Its connections are closed, new ones too.
    Cut,
    Delay,
    /// Nothing goes through from either, for longer than the one that leads may write.
    Away,
    /// Whatever either asks takes two seconds.
    Slow,
    /// Whatever either asks is answered with 500. This and the next: but what is about the Lease.
    Broken,
    /// Whatever either asks is answered with 429, and when to come back.
    Overloaded,
    /// The watches of both stay open, and nothing comes any more.
    Silence,
    /// Somebody deletes the Lease, and one that was killed is started again just then.
    LeaseGone,
    /// The token of both is void, and a while later there is a new one.
    TokenVoid,
    /// The CRD of Releases is upgraded, and a while later it is as it was.
    Upgrade,
    /// kill -9 of a part of the control plane, which is started again.
    Restart(&'static str),
    Pause(&'static str),
}

const FAULTS: [Fault; 19] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Freeze,
    Fault::Hang,
    Fault::Cut,
    Fault::Delay,
    Fault::Away,
    Fault::Slow,
    Fault::Broken,
    Fault::Overloaded,
    Fault::Silence,
    Fault::LeaseGone,
    Fault::TokenVoid,
    Fault::Upgrade,
    Fault::Restart("kube-apiserver"),
    Fault::Restart("etcd"),
    Fault::Restart("kube-controller-manager"),
    Fault::Pause("etcd"),
    Fault::Pause("kube-controller-manager"),
];

impl Fault {
    /// Whom it meets, where it is one of the two operators.
    fn meets(self, which: usize) -> &'static str {
        match self {
            Self::Kill
            | Self::Stop
            | Self::Freeze
            | Self::Hang
            | Self::Cut
            | Self::Delay
            | Self::LeaseGone => NAMES[which],
            Self::Away | Self::Slow | Self::Broken | Self::Overloaded | Self::Silence | Self::TokenVoid => {
                "both"
            }
            Self::Upgrade | Self::Restart(_) | Self::Pause(_) => "",
        }
    }
}

/// Faults to come, and those that have been.
#[derive(Default)]
struct Deck {
    left: Vec<Fault>,
    played: BTreeMap<Fault, usize>,
}

impl Deck {
    fn draw(&mut self, dice: &mut Dice) -> Fault {
        if self.left.is_empty() {
            self.left.extend(FAULTS);
        }
        let place = dice.roll(self.left.len() as u64);
        self.left.swap_remove(usize::try_from(place).expect("less than there are"))
    }

    fn has_been(&mut self, fault: Fault) {
        *self.played.entry(fault).or_default() += 1;
    }

    fn times(&self, fault: Fault) -> usize {
        self.played.get(&fault).copied().unwrap_or_default()
    }
}

/// Two operators and what reaches them: each through a relay that makes the weather, and behind that through a proxy.
pub struct Pair<'s> {
    stage: &'s Stage,
    operators: [Operator; 2],
    relays: [Relay; 2],
    /// Of both: they are one account.
    token: TokenFile,
    deck: Deck,
}

impl<'s> Pair<'s> {
    pub async fn start(stage: &'s Stage) -> Result<Self> {
        let token = TokenFile::begin(&stage.cluster).await?;
        let [one, two] = NAMES;
        let relays = [
            Relay::before(&stage.cluster, one, &token.0).await?,
            Relay::before(&stage.cluster, two, &token.0).await?,
        ];
        let [first, second] = &relays;
        let operators = [
            Operator::start_through(&first.kubeconfig, |_| {}).await?,
            Operator::start_through(&second.kubeconfig, |_| {}).await?,
        ];
        Ok(Self { stage, operators, relays, token, deck: Deck::default() })
    }

    /// Lets things go wrong until told to stop.
    ///
    /// # Errors
    /// When something does not heal: an operator that does not start again, a control plane that does not come back, a Lease that nobody
    /// makes anew, a token that is not taken up.
    pub async fn suffer(&mut self, dice: &mut Dice, mut stop: watch::Receiver<bool>) -> Result<()> {
        loop {
            let pause = tokio::time::sleep(dice.milliseconds(500, 4000));
            tokio::select! {
                () = pause => {}
                _ = stop.wait_for(|stop| *stop).map(|stopped| stopped.is_ok()) => return Ok(()),
            }
            let fault = self.deck.draw(dice);
            let which = usize::try_from(dice.roll(2))?;
            let what = format!("{fault:?} {}", fault.meets(which));
            println!("  {what}");
            self.happens(fault, which, dice).await.context(what)?;
            self.deck.has_been(fault);
        }
    }

    /// How many faults there have been.
    pub fn faults(&self) -> usize {
        self.deck.played.values().sum()
    }

    /// How often each kind has been, the most often first.
    pub fn of_each_kind(&self) -> String {
        let mut kinds = FAULTS.map(|fault| (self.deck.times(fault), fault));
        kinds.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
        kinds.map(|(times, fault)| format!("{fault:?} {times}")).join(", ")
    }

    /// Kinds that have not been yet.
    pub fn not_played(&self) -> Vec<String> {
        let lacking = FAULTS.into_iter().filter(|fault| self.deck.times(*fault) == 0);
        lacking.map(|fault| format!("{fault:?}")).collect()
    }

    async fn happens(&mut self, fault: Fault, which: usize, dice: &mut Dice) -> Result<()> {
        let name = NAMES[which];
        match fault {
            Fault::Kill => {
                self.operators[which].kill().await?;
                self.start_again(which, dice).await
            }
            Fault::Stop => {
                self.operators[which].stop().await?;
                self.start_again(which, dice).await
            }
            Fault::Freeze => {
                self.operators[which].signal("STOP").await?;
                tokio::time::sleep(dice.milliseconds(500, 20_000)).await;
                self.operators[which].signal("CONT").await
            }
            Fault::Hang => {
                self.for_a_while(&format!("proxies/{name}/hang"), &format!("proxies/{name}/resume"), dice)
                    .await
            }
            Fault::Cut => {
                self.for_a_while(&format!("proxies/{name}/cut"), &format!("proxies/{name}/resume"), dice)
                    .await
            }
            Fault::Delay => {
                let much = format!("proxies/{name}/delay?ms={}", 50 + dice.roll(1500));
                self.for_a_while(&much, &format!("proxies/{name}/delay?ms=0"), dice).await
            }
            Fault::Away => {
                for name in NAMES {
                    self.tell(&format!("proxies/{name}/hang")).await?;
                }
                tokio::time::sleep(dice.milliseconds(13_000, 22_000)).await;
                for name in NAMES {
                    self.tell(&format!("proxies/{name}/resume")).await?;
                }
                Ok(())
            }
            Fault::Slow => self.weather(Weather::Slow(Duration::from_secs(2)), dice).await,
            Fault::Broken => self.weather(Weather::Broken, dice).await,
            Fault::Overloaded => self.weather(Weather::Overloaded(1 + dice.roll(5)), dice).await,
            Fault::Silence => {
                self.relays.iter().for_each(Relay::silence_watches);
                tokio::time::sleep(dice.milliseconds(2000, 14_000)).await;
                Ok(())
            }
            Fault::LeaseGone => self.lease_gone(which).await,
            Fault::TokenVoid => self.token_void(dice).await,
            Fault::Upgrade => self.upgrade(dice).await,
            Fault::Restart(part) => self.tell(&format!("components/{part}/restart")).await,
            Fault::Pause(part) => {
                self.tell(&format!("components/{part}/pause")).await?;
                tokio::time::sleep(dice.milliseconds(500, 6000)).await;
                self.tell(&format!("components/{part}/resume")).await
            }
        }
    }

    async fn start_again(&mut self, which: usize, dice: &mut Dice) -> Result<()> {
        tokio::time::sleep(dice.milliseconds(0, 5000)).await;
        self.operators[which] = Operator::start_through(&self.relays[which].kubeconfig, |_| {}).await?;
        Ok(())
    }

    async fn for_a_while(&self, fault: &str, heal: &str, dice: &mut Dice) -> Result<()> {
        self.tell(fault).await?;
        tokio::time::sleep(dice.milliseconds(500, 22_000)).await;
        self.tell(heal).await
    }

    /// A burst: it is the API server's trouble, and so that of both.
    async fn weather(&self, weather: Weather, dice: &mut Dice) -> Result<()> {
        self.relays.iter().for_each(|relay| relay.set_weather(weather));
        tokio::time::sleep(dice.milliseconds(1000, 12_000)).await;
        self.relays.iter().for_each(|relay| relay.set_weather(Weather::Fair));
        Ok(())
    }

    /// Over once somebody has made it anew.
    async fn lease_gone(&mut self, which: usize) -> Result<()> {
        self.operators[which].kill().await?;
        let leases: Api<Lease> = Api::namespaced(self.stage.client.clone(), NAMESPACE);
        let delete = async || leases.delete("tidegate", &DeleteParams::default()).await.is_ok();
        until("the Lease is deleted", SOON, delete).await?;
        self.operators[which] = Operator::start_through(&self.relays[which].kubeconfig, |_| {}).await?;
        let is_there = async || leases.get_opt("tidegate").await.is_ok_and(|lease| lease.is_some());
        until("the Lease is made anew", SOON, is_there).await
    }

    /// Over once both have been heard with the new one.
    async fn token_void(&self, dice: &mut Dice) -> Result<()> {
        let cluster = &self.stage.cluster;
        let refused = self.lease_answers("unauthorized").await?;
        until("the account is made anew", SOON, async || credentials::void(cluster).await.is_ok()).await?;
        until("a void token is refused", SOON, async || {
            self.lease_answers("unauthorized").await.is_ok_and(|now| now > refused)
        })
        .await?;
        tokio::time::sleep(dice.milliseconds(500, 5000)).await;
        let heard = self.lease_answers("ok").await?;
        until("there is a new token", SOON, async || self.token.renew(cluster).await.is_ok()).await?;
        until("both are heard with the new token", TOKEN_READ, async || {
            let now = self.lease_answers("ok").await.unwrap_or(heard);
            now.iter().zip(&heard).all(|(now, before)| now > before)
        })
        .await
    }

    async fn upgrade(&self, dice: &mut Dice) -> Result<()> {
        let client = &self.stage.client;
        let (usual, newer) = (stage::releases_crd()?, stage::newer_releases_crd()?);
        let applied = async |crd: &Value| stage::apply(client, crd, "upgrade").await.is_ok();
        let served = async || client.list_api_group_resources("tidegate.dev/v1beta1").await.is_ok();
        until("the CRD is upgraded", SOON, async || applied(&newer).await).await?;
        until("its newer version is served", SOON, served).await?;
        tokio::time::sleep(dice.milliseconds(500, 6000)).await;
        until("the CRD is as it was", SOON, async || applied(&usual).await).await
    }

    /// How often each of the two has been answered so when it asked about the Lease.
    async fn lease_answers(&self, outcome: &str) -> Result<[f64; 2]> {
        let series = format!(r#"tidegate_api_requests_total{{request="lease",outcome="{outcome}"}}"#);
        let [first, second] = &self.operators;
        Ok([first.counter(&series).await?, second.counter(&series).await?])
    }

    async fn tell(&self, what: &str) -> Result<()> {
        let state: Value = serde_json::from_str(&self.stage.cluster.control(what).await?)?;
        anyhow::ensure!(state.is_object(), "{what}: {state}");
        Ok(())
    }

    /// What both have written last, for whoever looks for the cause of a violation.
    pub fn logs(&self) -> String {
        self.operators.iter().map(|operator| format!("{}\n", operator.log.display())).collect()
    }
}

/// Waits until it is so.
async fn until(what: &str, within: Duration, is_so: impl AsyncFn() -> bool) -> Result<()> {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let waited = tokio::time::timeout(within, waited).await;
    waited.with_context(|| format!("waited {} s until {what}", within.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_comes_once_before_one_comes_again() {
        let (mut deck, mut dice) = (Deck::default(), Dice::new(7));
        for times in 1..=3 {
            for _ in FAULTS {
                let fault = deck.draw(&mut dice);
                deck.has_been(fault);
            }
            for fault in FAULTS {
                assert_eq!(deck.times(fault), times, "{fault:?}");
            }
        }
    }
}
