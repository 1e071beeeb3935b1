//! Numbers for criteria of the kind `value`, served over HTTP: 0, and 2 once one was turned bad. It remembers when it said 2.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The server. It ends with the process.
pub struct Told {
    address: String,
    said: Said,
}

/// By number: the moments of bad answers.
type Said = Arc<Mutex<BTreeMap<usize, Vec<Timestamp>>>>;

impl Told {
    /// Serves on a free port of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub async fn serve() -> Result<Self> {
        let said = Said::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr()?.to_string();
        let pages = axum::Router::new().route("/{number}", get(answer)).with_state(said.clone());
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Ok(Self { address, said })
    }

    /// Where this number is.
    pub fn url(&self, number: usize) -> String {
        format!("http://{}/{number}", self.address)
    }

    /// From now on it is 2.
    pub fn turn_bad(&self, number: usize) {
        lock(&self.said).entry(number).or_default();
    }

    /// When 2 was the answer.
    pub fn bad_readings(&self, number: usize) -> Vec<Timestamp> {
        lock(&self.said).get(&number).cloned().unwrap_or_default()
    }
}

async fn answer(Path(number): Path<usize>, State(said): State<Said>) -> Json<Value> {
    let mut said = lock(&said);
    let value = match said.get_mut(&number) {
        Some(bad) => {
            bad.push(Timestamp::now());
            2
        }
        None => 0,
    };
    Json(json!({ "value": value }))
}

fn lock(said: &Said) -> MutexGuard<'_, BTreeMap<usize, Vec<Timestamp>>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}
