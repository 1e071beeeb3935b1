//! Tidegate on a real control plane: the stage that stories, the demo and the benchmarks play on.
//!
//! A [`cluster::Cluster`] (our own, or the one that `TIDEGATE_TEST_KUBECONFIG` names), an [`operator::Operator`] under its own
//! ServiceAccount, [`load::Load`] that counts what users see, and [`story::Story`]: a namespace with a Deployment and its Release,
//! and waits with a deadline. No sleeping: a story waits for a condition, and when it does not come, says what stood there instead.

pub mod audit;
pub mod by_hand;
pub mod chaos;
pub mod cluster;
pub mod credentials;
pub mod crowd;
pub mod figures;
pub mod guard;
pub mod load;
pub mod operator;
pub mod prometheus;
pub mod relay;
pub mod runbooks;
pub mod stage;
pub mod story;
pub mod timeline;
pub mod told;
pub mod writers;
