//! What needs no cluster.

mod architecture;
mod cli;
mod generated;
mod judge;
mod measure;
mod past;
mod tls;
mod values;
mod world;
