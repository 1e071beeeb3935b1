//! Stories on a real control plane.

mod crash_points;
mod deletion;
mod good_and_bad;
mod process;
