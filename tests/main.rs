//! What needs no cluster.

mod cli;
mod judge;
mod measure;
