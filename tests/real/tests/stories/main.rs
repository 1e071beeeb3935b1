//! Stories on a real control plane.

mod checks;
mod failing;
mod good_and_bad;
mod measuring;
mod people;
mod props;
