//! Leader election on a Lease, by client-go's rules: 15 s lease, 10 s to renew it, a try every 2 s. Another's lease has expired when
//! *our* monotonic clock has seen it unchanged for its whole duration: wall clocks are never compared.
//!
//! The fence ends 10 s after the last renewal began, before anybody else may take over: a leader that was frozen or cut off finds
//! its own writes refused when it wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::clock::{self, Clock};
use crate::act::Fence;

/// Name of the Lease.
const LEASE: &str = "tidegate";
const LEASE_DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// No single request about the Lease takes longer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Until when this process may write.
pub struct LeaseFence {
    /// Where monotonic time is counted from.
    epoch: Instant,
    /// Milliseconds since `epoch`; 0: not the leader.
    until: AtomicU64,
}

impl Default for LeaseFence {
    fn default() -> Self {
        Self { epoch: clock::instant(), until: AtomicU64::new(0) }
    }
}

impl Fence for LeaseFence {
    fn holds(&self) -> bool {
        self.until.load(Ordering::Acquire) > self.milliseconds(clock::instant())
    }
}

impl LeaseFence {
    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn extend(&self, from: Instant) {
        self.until.store(self.milliseconds(from + RENEW_DEADLINE), Ordering::Release);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// Takes part in the election until told to stop.
pub struct Elector {
    api: Api<Lease>,
    clock: Clock,
    identity: String,
    fence: Arc<LeaseFence>,
    leading: watch::Sender<bool>,
    /// The other's record, and since when it has not changed.
    seen: Option<(String, Instant)>,
}

impl Elector {
    pub fn new(
        client: Client,
        clock: Clock,
        namespace: &str,
        identity: String,
        fence: Arc<LeaseFence>,
        leading: watch::Sender<bool>,
    ) -> Self {
        Self { api: Api::namespaced(client, namespace), clock, identity, fence, leading, seen: None }
    }

    /// Campaigns, leads and renews until `stop` says so; then gives the Lease up, so that another can take over at once.
    pub async fn campaign(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let began = clock::instant();
            match tokio::time::timeout(REQUEST_DEADLINE, self.try_to_lead()).await {
                Ok(Ok(true)) => {
                    self.fence.extend(began);
                    self.say(true);
                }
                Ok(Ok(false)) => {
                    self.fence.end();
                    self.say(false);
                }
                Ok(Err(error)) => self.failed(&error.to_string()),
                Err(_) => self.failed("no answer in time"),
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(RETRY_PERIOD) => {}
            }
        }
        self.give_up().await;
    }

    fn failed(&self, why: &str) {
        tracing::warn!(why, "the lease could not be renewed");
        if !self.fence.holds() {
            self.say(false);
        }
    }

    fn say(&self, leading: bool) {
        let changed = self.leading.send_if_modified(|known| std::mem::replace(known, leading) != leading);
        if changed && leading {
            tracing::info!(identity = self.identity, "leading");
        } else if changed {
            tracing::warn!(identity = self.identity, "not leading any more");
        }
    }

    async fn try_to_lead(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                spec: Some(self.record(None)),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity && !self.expired(&lease, &spec) {
            return Ok(false);
        }
        let renewed = Lease { spec: Some(self.record(Some(&spec))), ..lease };
        won(self.api.replace(LEASE, &PostParams::default(), &renewed).await)
    }

    fn expired(&mut self, lease: &Lease, spec: &LeaseSpec) -> bool {
        let version = lease.resource_version().unwrap_or_default();
        let now = clock::instant();
        let since = match &self.seen {
            Some((known, since)) if *known == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let duration = spec
            .lease_duration_seconds
            .map_or(LEASE_DURATION, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        now >= since + duration
    }

    fn record(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let mine = old.is_some_and(|old| old.holder_identity.as_ref() == Some(&self.identity));
        let acquired =
            old.filter(|_| mine).and_then(|old| old.acquire_time.clone()).unwrap_or_else(|| now.clone());
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(LEASE_DURATION.as_secs()).unwrap_or(15)),
            acquire_time: Some(acquired),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(old.is_some() && !mine)),
            ..LeaseSpec::default()
        }
    }

    async fn give_up(&self) {
        let led = self.fence.holds();
        self.fence.end();
        self.say(false);
        if !led {
            return;
        }
        let released = async {
            let lease = self.api.get(LEASE).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
            self.api
                .replace(LEASE, &PostParams::default(), &Lease { spec: Some(spec), ..lease })
                .await
                .map(|_| ())
        };
        match tokio::time::timeout(REQUEST_DEADLINE, released).await {
            Ok(Ok(())) => tracing::info!("gave the lease up"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given up; it expires by itself"),
            Err(_) => tracing::warn!("the lease could not be given up in time; it expires by itself"),
        }
    }
}

/// Losing a race for the Lease is not an error.
fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
