//! Stories on a real control plane.

mod capture;
mod given;
mod good_and_bad;
mod motion;
mod ownership;
mod superseded;
