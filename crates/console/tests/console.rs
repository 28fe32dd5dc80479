//! The console over HTTP, on an embedded broker: its answers, whom it refuses, and the page in a browser.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

#[path = "console/answers.rs"]
mod answers;
#[path = "console/applications.rs"]
mod applications;
#[path = "console/browser.rs"]
mod browser;
#[path = "console/chromium.rs"]
mod chromium;
#[path = "console/cluster.rs"]
mod cluster;
#[path = "console/groups.rs"]
mod groups;
#[path = "console/refusals.rs"]
mod refusals;
