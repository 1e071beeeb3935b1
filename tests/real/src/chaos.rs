//! Faults at random: two operators behind proxies, and whatever may happen to them, to the network and to the control plane.
//!
//! One fault at a time, each heals; which and when comes from a seed. How the machine is meanwhile does not, so a seed gives the same
//! faults and not the same moments.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::watch;

use crate::operator::{Operator, kubeconfig_behind};
use crate::stage::Stage;

/// The two operators, by the name of their proxies.
pub const NAMES: [&str; 2] = ["one", "two"];

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// kill -9 of a part of the control plane, which is started again.
    Restart(&'static str),
    Pause(&'static str),
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Freeze,
    Fault::Hang,
    Fault::Hang,
    Fault::Cut,
    Fault::Delay,
    Fault::Restart("kube-apiserver"),
    Fault::Restart("etcd"),
    Fault::Restart("kube-controller-manager"),
    Fault::Pause("etcd"),
    Fault::Pause("kube-controller-manager"),
];

/// Two operators and what reaches them.
pub struct Pair<'s> {
    stage: &'s Stage,
    operators: [Operator; 2],
    kubeconfigs: [PathBuf; 2],
}

impl<'s> Pair<'s> {
    pub async fn start(stage: &'s Stage) -> Result<Self> {
        let [one, two] = NAMES;
        let kubeconfigs =
            [kubeconfig_behind(&stage.cluster, one).await?, kubeconfig_behind(&stage.cluster, two).await?];
        let [first, second] = &kubeconfigs;
        let operators =
            [Operator::start_through(first, |_| {}).await?, Operator::start_through(second, |_| {}).await?];
        Ok(Self { stage, operators, kubeconfigs })
    }

    /// Lets things go wrong until told to stop; how many did.
    ///
    /// # Errors
    /// When the stage itself fails: an operator that does not start again, a control plane that does not come back.
    pub async fn suffer(&mut self, dice: &mut Dice, mut stop: watch::Receiver<bool>) -> Result<usize> {
        let mut faults = 0;
        loop {
            let pause = tokio::time::sleep(dice.milliseconds(500, 4000));
            tokio::select! {
                () = pause => {}
                _ = stop.wait_for(|stop| *stop).map(|stopped| stopped.is_ok()) => return Ok(faults),
            }
            let fault = FAULTS[usize::try_from(dice.roll(FAULTS.len() as u64))?];
            let which = usize::try_from(dice.roll(2))?;
            println!("  {fault:?} {}", NAMES[which]);
            self.happens(fault, which, dice).await.with_context(|| format!("{fault:?} {}", NAMES[which]))?;
            faults += 1;
        }
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
        self.operators[which] = Operator::start_through(&self.kubeconfigs[which], |_| {}).await?;
        Ok(())
    }

    async fn for_a_while(&self, fault: &str, heal: &str, dice: &mut Dice) -> Result<()> {
        self.tell(fault).await?;
        tokio::time::sleep(dice.milliseconds(500, 22_000)).await;
        self.tell(heal).await
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

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for kubeconfig in &self.kubeconfigs {
            let _gone_already = std::fs::remove_file(kubeconfig);
        }
    }
}
