//! What needs no cluster.

mod architecture;
mod calendar;
mod checks;
mod cli;
mod examples;
mod expression;
mod fuzzing;
mod generated;
mod judge;
mod measure;
mod notify;
mod past;
mod reach;
mod tls;
mod values;
mod world;
mod yaml;
