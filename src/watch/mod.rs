//! The cluster in memory: one watch a kind, slim views of what matters, and which Releases each change concerns.
//!
//! Only reads. What is kept is what `observe/` needs, and no more: a cached full Pod costs twenty times its slim view.

pub mod index;
pub mod key;
pub mod meta;
mod pages;
mod sent;
pub mod slim;
pub mod streams;
mod table;

pub use index::{Index, SharedIndex};
pub use key::ObjectKey;
pub use streams::{FirstLists, Watching, start};
