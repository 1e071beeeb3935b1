pub mod act;
pub mod api;
pub mod cli;
pub mod decide;
pub mod observe;
pub mod report;
pub mod run;
pub mod watch;
