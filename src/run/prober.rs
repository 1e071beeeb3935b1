//! Asking what http and config checks ask, one task a question; the answer goes to the findings and wakes the Release.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;

use super::clock::Clock;
use super::findings::SharedFindings;
use super::queue::Queue;
use crate::decide::snapshot::{ProbeAnswer, ProbeId};
use crate::decide::{Key, Probe};
use crate::observe::probes;
use crate::observe::reach::Reach;

/// Questions under way at most; further ones wait for the next look.
const MOST: usize = 64;

/// Questions under way.
pub struct Prober {
    client: Client,
    reach: Reach,
    clock: Clock,
    findings: Arc<SharedFindings>,
    queue: Arc<Queue>,
    asked: Arc<Mutex<HashSet<(Key, ProbeId)>>>,
}

impl Prober {
    pub fn new(
        client: Client,
        reach: Reach,
        clock: Clock,
        findings: Arc<SharedFindings>,
        queue: Arc<Queue>,
    ) -> Self {
        Self { client, reach, clock, findings, queue, asked: Arc::default() }
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
            let clock = self.clock.clone();
            tokio::spawn(async move {
                let (key, id) = question.clone();
                let (result, message) =
                    probes::ask(&client, &reach, &key.namespace, &probe, clock.now()).await;
                findings.add_answer(&key, id, ProbeAnswer { at: clock.now(), result, message });
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&question);
                queue.wake(key);
            });
        }
    }
}
