//! The bank's client on ours; see `interop/bank/README.md`.
#![allow(clippy::print_stdout, reason = "what it prints is what it is asked to tell")]

use std::{
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use vltava::client::{ClientError, Producer, ProducerConfig, producer::ProducerRecord};
use vltava_rounds::bank::{ABORTED, ACCOUNTS, LEDGER};

const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let bank = Bank::new(std::env::args().skip(1))?;
    let mut producer = None;
    for number in 0_u64.. {
        let aborts = fastrand::u8(0..10) == 0;
        let id = format!("{}{number}{}", bank.prefix, if aborts { ABORTED } else { "" });
        match bank.transfer(&mut producer, &id, aborts).await {
            Ok(()) if !aborts => println!("committed {id}"),
            Ok(()) => {}
            Err(error) => {
                println!("failed {id}: {error}");
                bank.recover(&mut producer, &error).await;
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

struct Bank {
    bootstrap: String,
    name: String,
    partition: i32,
    partitions: i32,
    accounts: u32,
    prefix: String,
}

impl Bank {
    fn new(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut next = || arguments.next().context("arguments: BOOTSTRAP NAME PARTITION PARTITIONS ACCOUNTS");
        let (bootstrap, name) = (next()?, next()?);
        let (partition, partitions, accounts) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let prefix = format!("{name}-{:x}-", started ^ u128::from(process::id()));
        Ok(Self { bootstrap, name, partition, partitions, accounts, prefix })
    }

    async fn open(&self) -> Result<Producer, ClientError> {
        let producer = Producer::new(ProducerConfig::from_properties([
            ("bootstrap.servers", self.bootstrap.clone()),
            ("transactional.id", format!("bank-{}", self.name)),
            ("transaction.timeout.ms", "10000".to_owned()),
        ])?)?;
        retried(async || producer.init_transactions().await).await?;
        Ok(producer)
    }

    async fn transfer(&self, producer: &mut Option<Producer>, id: &str, aborts: bool) -> Result<(), ClientError> {
        let producer = match producer {
            Some(producer) => producer,
            None => producer.insert(self.open().await?),
        };
        producer.begin_transaction().await?.detach();
        let from = fastrand::u32(0..self.accounts);
        let to = (from + 1 + fastrand::u32(0..self.accounts - 1)) % self.accounts;
        let amount = fastrand::i64(1..=100);
        for (account, change) in [(from, -amount), (to, amount)] {
            let value = format!("{account}:{change}");
            let partition = account.cast_signed() % self.partitions;
            for (topic, partition) in [(LEDGER, self.partition), (ACCOUNTS, partition)] {
                let record = ProducerRecord::new(topic).partition(partition).key(id).value(&value);
                drop(producer.send(record).await?);
            }
        }
        if aborts {
            retried(async || producer.abort_transaction().await).await
        } else {
            retried(async || producer.commit_transaction().await).await
        }
    }

    /// Aborts what can be aborted; else the next transfer has a producer of its own.
    async fn recover(&self, producer: &mut Option<Producer>, error: &ClientError) {
        let Some(failed) = producer else { return };
        let aborted = if error.is_fatal() {
            Err(error.clone())
        } else {
            retried(async || failed.abort_transaction().await).await
        };
        if let Err(error) = aborted {
            println!("anew: {error}");
            // It has failed already.
            let _ = failed.close(Duration::ZERO).await;
            *producer = None;
        }
    }
}

/// A call that takes too long goes on, and is to be called again before any other.
async fn retried(call: impl AsyncFn() -> Result<(), ClientError>) -> Result<(), ClientError> {
    loop {
        match call().await {
            Err(error) if matches!(error, ClientError::Timeout { .. }) => println!("again: {error}"),
            other => return other,
        }
    }
}
