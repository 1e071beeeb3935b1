//! A cluster in memory under virtual time, in which the operator's own loop runs as it does in production: the same watches, queue,
//! decisions and writes, against an API server that is a service in this process.
//!
//! ```text
//! story ──► play ──► world: server (store, requests, admission) + clusters (native, service, kubelet, jobs) + autoscaler
//!                      ▲     + outside (prometheus, flags) + network + receivers + watchman
//!    requests, watches │                     what goes wrong ┘                      └ what must hold
//!              processes of the operator
//! ```
//!
//! A seed is a story, a story is text, and playing it twice gives the same writes at the same moments. What is modelled is what the
//! operator can see; what an API server checks beyond that is told by the stories on a real one (`tests/real`).

pub mod autoscaler;
pub mod cluster;
pub mod crash;
pub mod dice;
pub mod losses;
pub mod mutants;
pub mod native;
pub mod network;
pub mod outside;
pub mod pages;
pub mod panics;
pub mod play;
pub mod process;
pub mod prometheus;
pub mod reach;
pub mod receivers;
pub mod removals;
pub mod scrapes;
pub mod scripts;
pub mod seeds;
pub mod server;
pub mod service;
pub mod shrink;
pub mod story;
mod time;
pub mod watchman;
pub mod world;
