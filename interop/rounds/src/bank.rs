//! A bank: transactional producers of several makes move money between accounts while they and their broker are killed, and
//! whoever reads what is committed must never see money come or go.
//!
//! What the clients do is in `interop/bank/README.md`. Each has a partition of the topic `ledger` of its own, so that only one
//! transaction at a time is open there: whoever has read up to the last stable offset has seen transfers as a whole. In the
//! topic `accounts` the halves of a transfer lie in different partitions, and meet in the end.
//!
//! Reading order: [`ledger`] (what may be seen), [`reader`] (who sees it), [`client`] (who is killed), [`run`] (all of it).

pub mod client;
pub mod ledger;
pub mod reader;
pub mod run;

/// The topic with a partition for each client.
pub const LEDGER: &str = "ledger";
/// The topic of the accounts' changes.
pub const ACCOUNTS: &str = "accounts";
/// How many partitions the accounts' topic has.
pub const ACCOUNT_PARTITIONS: i32 = 3;
/// How many accounts there are.
pub const NUMBER_OF_ACCOUNTS: u32 = 20;
/// What the id of a transfer ends in that is meant to be aborted.
pub const ABORTED: &str = "-aborted";
