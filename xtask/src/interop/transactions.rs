//! Transactions of our client on Apache Kafka, in both generations of the protocol.

use std::process::Command;

use anyhow::Result;

use super::{
    AloneCheck,
    brokers::{Apache, script},
};
use crate::{programs, shell::output};

pub(super) const CHECKS: &[AloneCheck] = &[("transactions: the client on apache kafka's, both versions", on_apache)];

fn on_apache() -> Result<()> {
    let apache = Apache::start_with(&[
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
        "log.cleaner.backoff.ms=200",
    ])?;
    let run = || output(Command::new(programs::built("examples/transactions")).arg(&apache.bootstrap)).map(drop);
    run()?;
    let mut downgrade = Command::new(script("kafka/tool"));
    downgrade.args(["kafka-features", "--bootstrap-server", &apache.bootstrap]);
    output(downgrade.args(["downgrade", "--feature", "transaction.version=1"]))?;
    run()
}
