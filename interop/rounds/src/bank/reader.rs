//! The reader of what is committed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use vltava::client::{
    Admin, AdminConfig, Consumer, ConsumerConfig, TopicPartition, admin::OffsetSpec, config::IsolationLevel,
};

use super::{ACCOUNT_PARTITIONS, ACCOUNTS, LEDGER, ledger::Ledger};
use crate::progress::Watchdog;

/// How long one wait for records lasts.
const POLL: Duration = Duration::from_millis(100);

/// The ledger, shared between the reader and who asks.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// Looks at the ledger.
    pub fn with<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads all partitions from their beginning.
#[derive(Debug)]
pub struct Reader {
    consumer: Consumer,
    admin: Admin,
    partitions: Vec<TopicPartition>,
    ledger: Shared,
    patience: Duration,
}

impl Reader {
    /// A reader at the beginning, for so many clients.
    ///
    /// # Errors
    /// A setting that the client refuses.
    pub fn new(address: &str, clients: usize, ledger: Shared, patience: Duration) -> Result<Self> {
        let config = [("bootstrap.servers", address), ("isolation.level", "read_committed")];
        let consumer = Consumer::new(ConsumerConfig::from_properties(config)?)?;
        let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)])?)?;
        let of = |topic: &'static str, count| (0..count).map(move |partition| TopicPartition::new(topic, partition));
        let partitions: Vec<_> = of(LEDGER, i32::try_from(clients)?).chain(of(ACCOUNTS, ACCOUNT_PARTITIONS)).collect();
        consumer.assign(partitions.iter().cloned())?;
        consumer.seek_to_beginning(&[])?;
        Ok(Self { consumer, admin, partitions, ledger, patience })
    }

    /// Reads for ever, and looks at each partition as a whole whenever it can.
    ///
    /// # Errors
    /// The consumer's, but for those that it can be asked again after; nothing comes for too long.
    pub async fn run(mut self) -> Result<()> {
        loop {
            self.read_on().await?;
        }
    }

    /// Reads until nothing is open or unread any more.
    ///
    /// # Errors
    /// As [`run`](Self::run); transactions stay open.
    pub async fn read_to_the_end(&mut self) -> Result<()> {
        let mut watchdog = Watchdog::new(Instant::now(), self.patience);
        loop {
            let read = self.read_on().await?;
            let ends = self.ends(IsolationLevel::ReadUncommitted).await;
            if ends.as_ref().is_some_and(|ends| read.iter().all(|(partition, at)| ends.get(partition) == Some(at))) {
                return Ok(());
            }
            if let Some(still) = watchdog.see(Instant::now(), read.clone()) {
                bail!("transactions stay open for {} s: last stable offsets {read:?}, ends {ends:?}", still.as_secs());
            }
        }
    }

    /// Asks for the last stable offsets, reads up to them, and takes it for a moment. Where they were.
    async fn read_on(&mut self) -> Result<BTreeMap<TopicPartition, i64>> {
        let mut watchdog = Watchdog::new(Instant::now(), self.patience);
        let mut stable = None;
        loop {
            if stable.is_none() {
                stable = self.ends(IsolationLevel::ReadCommitted).await;
            }
            self.read().await?;
            let positions = self.positions().await;
            if let (Some(positions), Some(stable)) = (&positions, &stable)
                && stable.iter().all(|(partition, end)| positions.get(partition).is_some_and(|at| at >= end))
            {
                let of_ledger = stable.iter().filter(|(partition, _)| partition.topic() == LEDGER);
                self.ledger.with(|ledger| of_ledger.for_each(|(one, end)| ledger.moment(one.partition(), *end)));
                return Ok(stable.clone());
            }
            if let Some(still) = watchdog.see(Instant::now(), positions.clone()) {
                bail!("the reader has been at {positions:?} for {} s, and is to come to {stable:?}", still.as_secs());
            }
        }
    }

    /// Takes what is there.
    async fn read(&mut self) -> Result<()> {
        let records = match self.consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) if error.is_retriable() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.ledger.with(|ledger| {
            for (partition, record) in records.iter() {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let (id, value) = (text(record.key()), text(record.value()));
                match partition.topic() {
                    LEDGER => ledger.take_ledger(partition.partition(), record.offset(), &id, &value),
                    _ => ledger.take_account(&id, &value),
                }
            }
        });
        Ok(())
    }

    /// The ends of all partitions; `None` while the broker does not tell.
    async fn ends(&self, isolation: IsolationLevel) -> Option<BTreeMap<TopicPartition, i64>> {
        let wanted = self.partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest));
        let ends = self.admin.list_offsets(wanted, isolation).await;
        ends.into_iter().map(|(partition, end)| Some((partition, end.ok()?.offset))).collect()
    }

    async fn positions(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        let mut positions = BTreeMap::new();
        for partition in &self.partitions {
            positions.insert(partition.clone(), self.consumer.position(partition).await.ok()?);
        }
        Some(positions)
    }
}
