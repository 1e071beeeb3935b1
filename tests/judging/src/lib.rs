//! The judge in simulated worlds: how often it goes back for nothing, how soon it finds what is wrong. The worlds and what must be
//! reached are those of the table in `docs/judge.md`; `make judge-worlds` plays them all, the tests a short version.

pub mod table;
pub mod worlds;
