pub mod api;
pub mod decide;
pub mod observe { pub mod measure; }
