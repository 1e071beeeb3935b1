//! Stories on a real control plane.

mod capture;
mod crash_points;
mod deletion;
mod given;
mod good_and_bad;
mod motion;
mod ownership;
mod process;
mod superseded;
