//! Stories on a real control plane.

mod checks;
mod crash_points;
mod deletion;
mod failing;
mod good_and_bad;
mod measuring;
mod people;
mod process;
mod props;
