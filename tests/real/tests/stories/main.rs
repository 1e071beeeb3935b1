//! Stories on a real control plane.

mod answers;
mod capture;
mod checks;
mod crash_points;
mod criteria;
mod deletion;
mod failing;
mod faults;
mod given;
mod good_and_bad;
mod hand_back;
mod hostile;
mod judging;
mod leadership;
mod measuring;
mod model;
mod motion;
mod namespaces;
mod ownership;
mod people;
mod process;
mod prometheus;
mod reach;
mod refused;
mod rights;
mod superseded;
