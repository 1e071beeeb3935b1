//! Asking what checks ask, reading what their Jobs said and where new pods are, one task a question; the answer goes to the findings and
//! wakes the Release.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use crate::decide::jobs::EndedJob;
use crate::decide::snapshot::{JobOutput, Placed, ProbeAnswer, ProbeId};
use crate::decide::{Key, Placing, Probe};
use crate::observe::measure::scrape::Pages;
use crate::observe::probes::Means;
use crate::observe::reach::Reach;
use crate::observe::{outputs, places, probes};

/// Questions under way at most; further ones wait for the next look.
const MOST: usize = 64;

/// Questions under way.
pub struct Prober {
    client: Client,
    pages: Arc<dyn Pages>,
    reach: Reach,
    clock: Clock,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    asked: Arc<Mutex<HashSet<(Key, ProbeId)>>>,
    read: Arc<Mutex<HashSet<(Key, String)>>>,
    placing: Arc<Mutex<HashSet<Key>>>,
}

impl Prober {
    pub fn new(
        client: Client,
        pages: Arc<dyn Pages>,
        reach: Reach,
        clock: Clock,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
    ) -> Self {
        let (asked, read, placing) = (Arc::default(), Arc::default(), Arc::default());
        Self { client, pages, reach, clock, findings, queue, asked, read, placing }
    }

    /// Asks what is not being asked already.
    pub fn ask(&self, key: &Key, wanted: Vec<Probe>) {
        for probe in wanted {
            let question = (key.clone(), probe.id.clone());
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() >= MOST || !asked.insert(question.clone()) {
                continue;
            }
            drop(asked);
            let (client, findings, queue) = (self.client.clone(), self.findings.clone(), self.queue.clone());
            let (reach, under_way) = (self.reach.clone(), self.asked.clone());
            let (pages, clock) = (self.pages.clone(), self.clock.clone());
            tokio::spawn(async move {
                let (key, id) = question.clone();
                let means = Means { client: &client, reach: &reach, pages: &*pages };
                let (result, message) = probes::ask(means, &key.namespace, &probe, clock.now()).await;
                findings.add_answer(&key, id, ProbeAnswer { at: clock.now(), result, message });
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&question);
                queue.wake(key);
            });
        }
    }

    /// Reads where pods are, where that is not being read already.
    pub fn place(&self, key: &Key, wanted: Option<Placing>) {
        let Some(wanted) = wanted else { return };
        let mut placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if placing.len() >= MOST || !placing.insert(key.clone()) {
            return;
        }
        drop(placing);
        let (client, findings, queue) = (self.client.clone(), self.findings.clone(), self.queue.clone());
        let (under_way, clock, key) = (self.placing.clone(), self.clock.clone(), key.clone());
        tokio::spawn(async move {
            let found = places::read(&client, &key.namespace, &wanted).await;
            findings.add_placed(&key, Placed { at: clock.now(), asked: wanted.pods, found });
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            queue.wake(key);
        });
    }

    /// Reads what Jobs said, where that is not being read already.
    pub fn read(&self, key: &Key, wanted: Vec<EndedJob>) {
        for job in wanted {
            let what = (key.clone(), job.name.clone());
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.len() >= MOST || !read.insert(what.clone()) {
                continue;
            }
            drop(read);
            let (client, findings, queue) = (self.client.clone(), self.findings.clone(), self.queue.clone());
            let (under_way, clock) = (self.read.clone(), self.clock.clone());
            tokio::spawn(async move {
                let (key, name) = what.clone();
                let (log, termination) = outputs::read(&client, &key.namespace, &job).await;
                findings.add_output(&key, name, JobOutput { at: clock.now(), log, termination });
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&what);
                queue.wake(key);
            });
        }
    }
}
