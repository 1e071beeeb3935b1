//! Stories on a real control plane.

mod good_and_bad;
