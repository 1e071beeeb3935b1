//! Leader election on a Lease, by client-go's rules: 15 s lease, 10 s to renew it, a try every 2 s. Another's lease has expired when
//! *our* monotonic clock has seen it unchanged for its whole duration: wall clocks are never compared. A leader renews from what it
//! wrote last and reads only when somebody else wrote in between; who waits looks every half second, so that a lease that was given up is
//! taken within that, and one that is not renewed any more within that and its whole duration.
//!
//! A Lease that is not there says nothing of who leads: somebody may have deleted it, and whoever leads may go on writing until it learns of it. It makes the
//! Lease anew; all others take it for held, for its whole duration from when they found it gone. That nobody has ever led does not show: the first of
//! all waits as long, where nobody has made a Lease that names no holder.
//!
//! The fence ends 10 s after the last renewal began, before anybody else may take over: a leader that was frozen or cut off finds
//! its own writes refused when it wakes. The writer gives no write more time than is left of it, and the kernel gives up what it could
//! not deliver five seconds later (`link`). A fence that has lapsed ends the term, even where the Lease turns out to be ours still: nobody
//! acted in between, and whoever waits must not take that time for one in which they did.

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
use crate::api::Right;
use crate::logged::logged;

/// Name of the Lease.
const LEASE: &str = "tidegate";
const LEASE_DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// How often one that does not lead looks.
const FOLLOW_PERIOD: Duration = Duration::from_millis(500);
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
    fn remaining(&self) -> Duration {
        let until = self.until.load(Ordering::Acquire);
        Duration::from_millis(until.saturating_sub(self.milliseconds(clock::instant())))
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
    /// Between two terms it changes twice, however soon the second follows: who waits for a change misses none.
    leading: watch::Sender<bool>,
    /// What we wrote last, as long as it is certain that it stands.
    mine: Option<Lease>,
    /// What was seen last, our own record too. `None`: nobody has looked.
    seen: Option<Seen>,
}

struct Seen {
    /// `None`: there is none.
    version: Option<String>,
    /// When it will have stayed so for as long as it is somebody's.
    expires: Instant,
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
        Self {
            api: Api::namespaced(client, namespace),
            clock,
            identity,
            fence,
            leading,
            mine: None,
            seen: None,
        }
    }

    /// Campaigns, leads and renews until `stop` says so; then gives the Lease up, so that another can take over at once.
    pub async fn campaign(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.end_if_lapsed();
            let began = clock::instant();
            let wait = match tokio::time::timeout(self.patience(), self.try_to_lead()).await {
                Ok(Ok(true)) => {
                    // Frozen while it waited for the answer.
                    self.end_if_lapsed();
                    self.fence.extend(began);
                    self.say(!self.fence.remaining().is_zero());
                    RETRY_PERIOD
                }
                Ok(Ok(false)) => {
                    self.fence.end();
                    self.say(false);
                    self.until_expiry().min(FOLLOW_PERIOD)
                }
                Ok(Err(error)) => {
                    let lacking = Right::within(&error).map(|right| right.to_string());
                    self.failed(&lacking.unwrap_or_else(|| error.to_string()))
                }
                Err(_) => self.failed("no answer in time"),
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.give_up().await;
    }

    /// As long as a leader can still renew in time; then it is none any more, and says so.
    fn patience(&self) -> Duration {
        match self.fence.remaining() {
            Duration::ZERO => REQUEST_DEADLINE,
            remaining => remaining.min(REQUEST_DEADLINE),
        }
    }

    fn failed(&self, why: &str) -> Duration {
        tracing::warn!(why = %logged(why), "the lease could not be renewed");
        self.end_if_lapsed();
        RETRY_PERIOD
    }

    fn end_if_lapsed(&self) {
        if self.fence.remaining().is_zero() {
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
        // Taken out until it is certain that what is written now stands: if not, it is read first.
        if let Some(mine) = self.mine.take() {
            let spec = self.record(mine.spec.as_ref());
            let renewed = Lease { spec: Some(spec), ..mine };
            let renewed = self.api.replace(LEASE, &PostParams::default(), &renewed).await;
            if self.won(renewed)? {
                return Ok(true);
            }
        }
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            let leads = !self.fence.remaining().is_zero();
            if !leads && !self.expired(None, LEASE_DURATION) {
                return Ok(false);
            }
            let lease = Lease {
                metadata: ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() },
                spec: Some(self.record(None)),
            };
            let made = self.api.create(&PostParams::default(), &lease).await;
            return self.won(made);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.map(|seconds| u64::try_from(seconds).unwrap_or(0));
        let duration = seconds.map_or(LEASE_DURATION, Duration::from_secs);
        let expired = self.expired(lease.resource_version(), duration);
        if !holder.is_empty() && holder != self.identity && !expired {
            return Ok(false);
        }
        let taken = Lease { spec: Some(self.record(Some(&spec))), ..lease };
        let taken = self.api.replace(LEASE, &PostParams::default(), &taken).await;
        self.won(taken)
    }

    /// Losing a race for the Lease is not an error, nor is one that is gone.
    fn won(&mut self, result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match result {
            Ok(lease) => {
                let expires = clock::instant() + LEASE_DURATION;
                self.seen = Some(Seen { version: lease.resource_version(), expires });
                self.mine = Some(lease);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it has been seen to stay so for so long.
    fn expired(&mut self, version: Option<String>, duration: Duration) -> bool {
        if self.seen.as_ref().is_none_or(|seen| seen.version != version) {
            if version.is_none() {
                tracing::info!("there is no lease: somebody may lead all the same, so it is made in 15 s");
            }
            self.seen = Some(Seen { version, expires: clock::instant() + duration });
        }
        self.until_expiry().is_zero()
    }

    fn until_expiry(&self) -> Duration {
        let now = clock::instant();
        self.seen.as_ref().map_or(FOLLOW_PERIOD, |seen| seen.expires.saturating_duration_since(now))
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
            lease_transitions: Some(transitions.saturating_add(i32::from(old.is_some() && !mine))),
            ..LeaseSpec::default()
        }
    }

    async fn give_up(&mut self) {
        let led = !self.fence.remaining().is_zero();
        self.fence.end();
        self.say(false);
        if !led {
            return;
        }
        let mine = self.mine.take();
        let released = async {
            let lease = match mine {
                Some(mine) => mine,
                None => self.api.get(LEASE).await?,
            };
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
            Ok(Err(error)) => {
                tracing::warn!(error = %logged(&error), "the lease could not be given up; it expires by itself")
            }
            Err(_) => tracing::warn!("the lease could not be given up in time; it expires by itself"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use jiff::SignedDuration;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that knows one Lease.
    #[derive(Default)]
    struct Server {
        lease: Option<Value>,
        version: u64,
        asked: Vec<(Method, String)>,
        /// Who gets no answers.
        cut_off: Option<&'static str>,
        /// When something was asked that is not answered.
        unanswered: Vec<Instant>,
        /// Who is sent away.
        sent_away: Option<&'static str>,
    }

    type Shared = Arc<Mutex<Server>>;

    impl Server {
        fn answer(&mut self, who: &str, method: &Method, body: &[u8]) -> (u16, Value) {
            self.asked.push((method.clone(), who.to_owned()));
            let failure = |code: u16, reason: &str| {
                (code, json!({"status": "Failure", "message": "no", "reason": reason, "code": code}))
            };
            if self.sent_away == Some(who) {
                return failure(503, "ServiceUnavailable");
            }
            let known = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
            if *method == Method::GET {
                return self.lease.clone().map_or_else(|| failure(404, "NotFound"), |lease| (200, lease));
            }
            let mut written: Value = serde_json::from_slice(body).unwrap();
            let is_another = |known: &Value| written["metadata"]["resourceVersion"] != *known;
            // One that is gone is not written anew in its place.
            if known.as_ref().map_or(*method == Method::PUT, is_another) {
                return failure(409, "Conflict");
            }
            self.version += 1;
            written["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.lease = Some(written.clone());
            (200, written)
        }
    }

    /// One that takes part, and what tells it to stop.
    struct Campaign {
        fence: Arc<LeaseFence>,
        leads: watch::Receiver<bool>,
        stop: watch::Sender<bool>,
    }

    fn begin(server: &Shared, who: &'static str) -> Campaign {
        begin_by(server, who, Clock::machine())
    }

    fn begin_by(server: &Shared, who: &'static str, clock: Clock) -> Campaign {
        let server = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let cut_off = server.lock().unwrap().cut_off == Some(who);
                if cut_off {
                    server.lock().unwrap().unanswered.push(clock::instant());
                    return std::future::pending().await;
                }
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let (code, text) = server.lock().unwrap().answer(who, &method, &body);
                let mut response = Response::new(Body::from(text.to_string().into_bytes()));
                *response.status_mut() = code.try_into().unwrap();
                Ok::<_, std::io::Error>(response)
            }
        });
        let fence = Arc::new(LeaseFence::default());
        let (leading, leads) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let client = Client::new(service, "default");
        let elector = Elector::new(client, clock, "ns", who.to_owned(), fence.clone(), leading);
        tokio::spawn(elector.campaign(stopped));
        Campaign { fence, leads, stop }
    }

    async fn takes(campaign: &mut Campaign) -> Duration {
        let began = clock::instant();
        campaign.leads.wait_for(|leads| *leads).await.unwrap();
        clock::instant() - began
    }

    #[tokio::test(start_paused = true)]
    async fn at_rest_a_leader_writes_thirty_times_a_minute_and_reads_nothing() {
        let server = Shared::default();
        let mut campaign = begin(&server, "a");
        takes(&mut campaign).await;
        server.lock().unwrap().asked.clear();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = std::mem::take(&mut server.lock().unwrap().asked);
        assert!(asked.iter().all(|(method, _)| *method == Method::PUT), "{asked:?}");
        assert!((29..=31).contains(&asked.len()), "{}", asked.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_half_a_second_after_it_was_given_up_and_within_sixteen_without_renewal() {
        let server = Shared::default();
        let mut first = begin(&server, "a");
        takes(&mut first).await;
        let mut second = begin(&server, "b");
        tokio::time::sleep(Duration::from_millis(20_100)).await;
        assert!(!*second.leads.borrow(), "it is renewed");
        first.stop.send(true).unwrap();
        let handed_over = takes(&mut second).await;
        assert!(handed_over <= Duration::from_millis(500), "{handed_over:?}");

        let mut third = begin(&server, "c");
        tokio::time::sleep(Duration::from_millis(20_500)).await;
        server.lock().unwrap().cut_off = Some("b");
        let taken_over = takes(&mut third).await;
        assert!(taken_over <= Duration::from_millis(15_500), "{taken_over:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_by_how_long_it_is_seen_unchanged_and_not_by_the_time_in_it() {
        for years in [-30, 30] {
            let off = SignedDuration::from_hours(years * 365 * 24);
            let server = Shared::default();
            let clock = Clock::new(move || Clock::machine().now() + off);
            let mut first = begin_by(&server, "a", clock);
            takes(&mut first).await;
            let mut second = begin(&server, "b");
            tokio::time::sleep(Duration::from_secs(60)).await;
            let lease: Lease = serde_json::from_value(server.lock().unwrap().lease.clone().unwrap()).unwrap();
            let renewed = lease.spec.unwrap().renew_time.unwrap().0;
            let ahead = renewed.duration_since(Clock::machine().now());
            assert!((ahead - off).abs() < SignedDuration::from_hours(1), "{renewed}: years off");
            assert!(*first.leads.borrow() && !*second.leads.borrow(), "it is renewed, {years} years off");

            server.lock().unwrap().cut_off = Some("a");
            let taken_over = takes(&mut second).await;
            let in_time = LEASE_DURATION - RETRY_PERIOD..=LEASE_DURATION + FOLLOW_PERIOD;
            assert!(in_time.contains(&taken_over), "{years} years off: {taken_over:?}");

            // Of one that is long gone, whoever comes has seen nothing yet.
            let spec = LeaseSpec {
                holder_identity: Some("gone".into()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(renewed)),
                ..LeaseSpec::default()
            };
            let metadata = ObjectMeta { resource_version: Some("0".into()), ..ObjectMeta::default() };
            let left = json!(Lease { metadata, spec: Some(spec) });
            let server = Arc::new(Mutex::new(Server { lease: Some(left), ..Server::default() }));
            let mut third = begin(&server, "c");
            let waited = takes(&mut third).await;
            assert!((LEASE_DURATION..=LEASE_DURATION + FOLLOW_PERIOD).contains(&waited), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_answered_is_given_up_after_five_seconds_and_costs_a_leader_nothing() {
        let server = Shared::default();
        server.lock().unwrap().cut_off = Some("a");
        let began = clock::instant();
        let mut campaign = begin(&server, "a");
        tokio::time::sleep(Duration::from_secs(15)).await;
        let moments: Vec<u64> =
            server.lock().unwrap().unanswered.iter().map(|at| (*at - began).as_secs()).collect();
        assert_eq!(moments, [0, 7, 14], "five seconds each, and two in between");
        server.lock().unwrap().cut_off = None;
        takes(&mut campaign).await;

        // One renewal is not answered, all others are.
        server.lock().unwrap().unanswered.clear();
        server.lock().unwrap().cut_off = Some("a");
        while server.lock().unwrap().unanswered.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.lock().unwrap().cut_off = None;
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert!(!campaign.fence.remaining().is_zero() && !campaign.leads.has_changed().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_cut_off_may_not_write_any_more_before_another_may() {
        let server = Shared::default();
        let mut first = begin(&server, "a");
        takes(&mut first).await;
        let mut second = begin(&server, "b");
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.lock().unwrap().cut_off = Some("a");
        let cut = clock::instant();
        while !first.fence.remaining().is_zero() {
            assert!(second.fence.remaining().is_zero(), "two writers");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(clock::instant() - cut <= RENEW_DEADLINE);
        takes(&mut second).await;
        assert!(first.fence.remaining().is_zero());
        server.lock().unwrap().cut_off = None;
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!*first.leads.borrow() && *second.leads.borrow(), "it learns of it when it is heard again");
    }

    /// How long it takes until the second may write, if it may within so long; and never both.
    async fn writes_within(long: Duration, first: &Campaign, second: &Campaign) -> Option<Duration> {
        let began = clock::instant();
        while clock::instant() < began + long {
            let may_write = [first, second].map(|campaign| !campaign.fence.remaining().is_zero());
            assert_ne!(may_write, [true, true], "two writers");
            if may_write == [false, true] {
                return Some(clock::instant() - began);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_deleted_is_made_anew_by_who_leads_and_by_others_when_that_may_write_no_more() {
        let minute = Duration::from_secs(60);
        // Others have known it, or come just then.
        for (cut_off, comes_late) in [(None, false), (Some("a"), false), (None, true), (Some("a"), true)] {
            let server = Shared::default();
            let mut first = begin(&server, "a");
            takes(&mut first).await;
            let known = (!comes_late).then(|| begin(&server, "b"));
            tokio::time::sleep(Duration::from_secs(3)).await;
            let delete = |cut_off: Option<&'static str>| {
                let mut server = server.lock().unwrap();
                server.lease = None;
                server.cut_off = cut_off;
            };
            delete(cut_off);
            let second = known.unwrap_or_else(|| begin(&server, "b"));
            let taken = writes_within(minute, &first, &second).await;
            if cut_off.is_none() {
                assert_eq!(taken, None);
                assert!(*first.leads.borrow() && !first.leads.has_changed().unwrap(), "it leads on");
                continue;
            }
            let in_time = LEASE_DURATION..=LEASE_DURATION + 2 * FOLLOW_PERIOD;
            assert!(taken.is_some_and(|taken| in_time.contains(&taken)), "{taken:?}");
            // Nor by one that is heard again, led before, and knows nothing of who leads now.
            delete(None);
            assert_eq!(writes_within(minute, &second, &first).await, None);
            assert!(*second.leads.borrow(), "it leads on");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_all_waits_for_as_long_as_somebody_might_lead_and_takes_a_lease_of_nobody_at_once() {
        let waited = takes(&mut begin(&Shared::default(), "a")).await;
        assert!((LEASE_DURATION..=LEASE_DURATION + FOLLOW_PERIOD).contains(&waited), "{waited:?}");
        let metadata = ObjectMeta { resource_version: Some("0".into()), ..ObjectMeta::default() };
        let nobodys = json!(Lease { metadata, spec: None });
        let server = Arc::new(Mutex::new(Server { lease: Some(nobodys), ..Server::default() }));
        let waited = takes(&mut begin(&server, "a")).await;
        assert!(waited < FOLLOW_PERIOD, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_that_lapsed_ends_the_term_though_nobody_else_led_meanwhile() {
        let server = Shared::default();
        let mut campaign = begin(&server, "a");
        takes(&mut campaign).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.lock().unwrap().sent_away = Some("a");
        // Two seconds before the end the last try within the term fails. The next one, at the end, is heard again.
        while campaign.fence.remaining() > Duration::from_millis(1500) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.lock().unwrap().sent_away = None;
        assert!(!campaign.leads.has_changed().unwrap());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!campaign.fence.remaining().is_zero(), "it may write again");
        assert!(campaign.leads.has_changed().unwrap(), "the term ended");
        takes(&mut campaign).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!campaign.leads.has_changed().unwrap(), "the next one goes on");
    }
}
