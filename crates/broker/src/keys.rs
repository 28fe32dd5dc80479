//! The keys of `server.properties`, of topics and of groups as constants.

pub mod group;
pub mod server;
pub mod topic;
