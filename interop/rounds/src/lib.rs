//! One application with seven kinds of state, disturbed in rounds, and held against a model.
//!
//! A round starts a broker and one to three instances of the application, writes numbered records to its inputs, kills,
//! stops and wipes what runs meanwhile, and at last waits until all is worked off and compares the outputs with what the
//! records say. At least once is promised: nothing may be missing, and what is a table must be exact; or exactly once, and
//! then nothing may come twice either. No process may end by itself, and none may stand still.
//!
//! Reading order: [`names`] and [`topology`] (the application), [`model`] (what goes in, and what must come out),
//! [`check`] (what came out), [`plan`] (what happens in a round), [`process`], [`broker`], [`disk`] and [`clock`] (what it
//! happens to), [`feed`], [`outputs`] and [`progress`] (the client's side), [`hanging`] (an operator), [`stage`] (all that runs), [`round`] (all of it, in order).
//!
//! Beside it stand the [`bank`], transactional producers of several makes under kills, and [`mixed`], instances of two makes
//! in one group; [`driver`] is what the programs of all three have in common.
//!
//! Nothing in here is for applications: `cargo xtask rounds`, `cargo xtask bank` and `cargo xtask mixed` build and run it.

pub mod bank;
pub mod broker;
pub mod check;
pub mod clock;
pub mod disk;
pub mod driver;
pub mod failure;
pub mod feed;
pub mod hanging;
pub mod ids;
pub mod instance;
pub mod journal;
pub mod mixed;
pub mod model;
pub mod names;
pub mod outputs;
pub mod pauses;
pub mod plan;
pub mod process;
pub mod progress;
pub mod round;
pub mod stage;
pub mod topology;
