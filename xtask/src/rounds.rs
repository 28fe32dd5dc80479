//! `cargo xtask rounds`: builds broker, application and the program that disturbs them (`interop/rounds`), and runs it.

use anyhow::Result;

use crate::driver::Args;

/// A round of each kind of disturbance, always the same ones.
pub(crate) fn short() -> Args {
    Args::of(&["--seed", "1", "--rounds", "7", "--steps", "600"])
}

/// Twenty disturbances of an application exactly once, always the same ones.
pub(crate) fn short_exactly_once() -> Args {
    Args::of(&["--exactly-once", "--seed", "1", "--rounds", "20", "--interval", "20"])
}

/// The same on Apache Kafka. A broker of it that was killed may leave out a transaction's marker on a partition, and nobody
/// sees the end of that one any more: here it is only stopped.
pub(crate) fn short_exactly_once_on_apache() -> Args {
    short_exactly_once().and(&["--kinds", "kill,stop,wipe,broker-stop,disk-delay", "--apache"])
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rounds = args.build("rounds", &["vltava-tools", "vltava-rounds"])?;
    args.run("rounds", rounds)
}
