//! Stories on a real control plane.

mod answers;
mod capture;
mod checks;
mod crash_points;
mod criteria;
mod deletion;
mod failing;
mod given;
mod good_and_bad;
mod judging;
mod measuring;
mod model;
mod motion;
mod ownership;
mod people;
mod process;
mod prometheus;
mod refused;
mod superseded;
