//! What needs no cluster.

mod architecture;
mod cli;
mod generated;
mod judge;
mod measure;
mod past;
mod values;
mod world;
