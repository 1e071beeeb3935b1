//! The cluster in memory: one watch a kind, slim views of what matters, and which Releases each change concerns.
//!
//! Only reads. What is kept is what `observe/` needs, and no more: a cached full Pod costs twenty times its slim view. However large somebody makes
//! objects, what is read at once (`pages`), and what is kept of them (`room`), is bounded; what is not kept is read again when it is needed (`again`).

pub mod again;
mod alive;
pub mod api_server;
mod claims;
pub mod extent;
pub mod index;
pub mod key;
pub mod meta;
mod pages;
pub mod room;
pub mod sent;
pub mod slim;
pub mod streams;
mod table;
mod too_old;
mod watched;

pub use index::{Index, SharedIndex};
pub use key::ObjectKey;
pub use streams::{FirstLists, Watching, start};
