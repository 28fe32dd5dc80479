//! What a task writes, on its way into the producer.
//!
//! # What is promised about state and output
//!
//! At least once a record is processed again after a crash, with the state that its task's changelogs have by then. If that
//! state has seen the record already, what came of it must be there too, or it never comes: a processor that drops what its
//! store knows, or an outer join that has deleted what it had held, says nothing the second time. So:
//!
//! 1. **No state before its output.** A record of a changelog is durable only when everything is acknowledged that nodes
//!    sent while the same record was processed, or any before it, on whatever brokers that is. It does not matter whether a
//!    processor puts first or forwards first. The unit is a record with the punctuations that were due by it, a punctuation
//!    by wall-clock time, or a row of a cache that is flushed. The producer holds changelogs back for that
//!    ([`Producer::hold_back`]), and waits for nobody: outputs and changelogs of many units are on their way together.
//! 2. **No state before the state downstream of it.** What a store forwards may end in another store of the task. The
//!    records of a unit are given to the producer from the furthest store downstream up, and what one broker is given first
//!    does not arrive later. *Where two changelogs of one task have different leaders, the order between them is not kept*,
//!    and a crash within the time of a request may leave the upstream store alone with an update.
//! 3. **No state before what is held in memory.** What a store forwards may wait in a record cache or in `suppress`, where
//!    it is lost in a crash. Changelogs upstream of one are therefore given only behind the flush of a commit, and if they
//!    become many, a commit is asked for. Those of the caches themselves, and of all stores of tasks without a cache
//!    downstream, go with their unit.
//! 4. **Offsets last.** Offsets are committed when all of that is acknowledged, and only then do stores on disk keep what
//!    they cover.
//!
//! Duplicates remain: outputs may be there without the state. An output that fails for good holds its changelogs back until
//! the production exception handler has decided: if it goes on, so do they; if the task begins anew or fails, they are
//! discarded, and with them every record of a unit that did not come to its end.
//!
//! Kafka's own library promises none of 1 to 3.
//!
//! Exactly once all of it is one transaction with the offsets ([`ThreadProducer`]): results and changelogs are seen
//! together or not at all. Nothing is held back, nothing has an order, and nobody asks whether a session goes on.
//!
//! # What a process that was away may still write
//!
//! A process may be stopped between any two instructions, and go on when the group has given its tasks to others. What it
//! was about to write would come behind what they have written: outputs would go back to old values, and so would the state
//! that is restored from the changelogs later. So:
//!
//! 5. **Nothing is sent but in a session.** Whether the group counts the thread as a member is asked right before the bytes
//!    of each request are written, by the producer ([`Producer::send_only_while`], [`Consumer::session`]): wherever in a unit,
//!    a flush or a commit the process was stopped. What is given when the session is over waits in the producer. It goes if
//!    the group says that the thread is still a member, and is discarded when its partitions are revoked or lost
//!    ([`Producer::discard_all`]), before there can be another session in which it would go.
//! 6. **Offsets and files follow from a session.** Offsets are committed in the group's generation, which the coordinator
//!    compares, and stores on disk keep what they cover only behind a commit that it has accepted.
//!
//! What is left, for which the broker would have to know the owner of a partition (as with transactions):
//!
//! * a stop between that look and the system call behind it, less than a microsecond later;
//! * bytes that are with the operating system or the network already, and reach a broker after the session is over;
//! * clocks that stand still with the process, as where a machine is suspended or a virtual one paused: then the session
//!   seems to go on until the coordinator has answered the next heartbeat.
//!
//! [`Consumer::session`]: vltava_client::Consumer::session

mod unit;

#[cfg(test)]
mod simulation;

use std::{collections::HashMap, sync::Arc};

use unit::Unit;
use vltava_client::{
    ClientError, Producer,
    producer::{Delivery, HeaderView, ProducerRecord as ClientRecord, RecordTag},
};

use super::{
    failures::{Failures, Origin},
    thread_producer::ThreadProducer,
    wait::{as_long_as, wait},
};
use crate::{
    error::{Error, Result},
    record::Headers,
    task::{ProducerRecord, RecordCollector, RecordOrigin, TaskId},
    topology::WrittenChangelog,
};

/// Hands records to a thread's producer, and remembers of every changelog the last one sent. A record that cannot be sent
/// is among the thread's [`Failures`], whether that shows at once or later.
pub(super) struct ProducerCollector {
    shared: Arc<ThreadProducer>,
    /// As of the transaction.
    producer: Producer,
    transaction: Option<u64>,
    task: TaskId,
    failures: Arc<Failures>,
    /// The origins of this task's records with their numbers; the last one is mostly the next one.
    owners: Vec<(Origin, u32)>,
    changelogs: HashMap<Arc<str>, Option<Delivery>>,
    unit: Unit,
    /// Whether a changelog was written since the last barrier.
    holds: bool,
    /// Whether a unit of work is over whose records are being given.
    is_ending: bool,
    partitions: HashMap<String, i32>,
}

impl ProducerCollector {
    pub(super) fn new(
        shared: Arc<ThreadProducer>,
        task: TaskId,
        failures: Arc<Failures>,
        changelogs: Vec<WrittenChangelog>,
    ) -> Self {
        let producer = shared.get();
        let unit = match shared.is_exactly_once() {
            true => Unit::without_order(changelogs),
            false => Unit::new(changelogs),
        };
        if !shared.is_exactly_once() {
            unit.topics().for_each(|topic| producer.hold_back(topic));
        }
        ProducerCollector {
            transaction: shared.transaction(),
            shared,
            producer,
            task,
            failures,
            owners: Vec::new(),
            changelogs: unit.topics().map(|topic| (topic.clone(), None)).collect(),
            unit,
            holds: false,
            is_ending: false,
            partitions: HashMap::new(),
        }
    }

    fn owner(&mut self, node: Option<&Arc<str>>, topic: Option<&Arc<str>>, partition: i32) -> u32 {
        let same = |a: &Option<Arc<str>>, b: Option<&Arc<str>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let known = self.owners.iter().position(|(origin, _)| {
            origin.partition == partition && same(&origin.node, node) && same(&origin.topic, topic)
        });
        if let Some((_, owner)) = known.and_then(|at| self.owners.get(at)) {
            return *owner;
        }
        let (node, topic) = (node.cloned(), topic.cloned());
        let origin = Origin { task: self.task, node, topic, partition, is_dead_letter: false };
        let owner = self.failures.owner(origin.clone());
        self.owners.push((origin, owner));
        owner
    }

    /// Has the records that follow go into the thread's transaction, which begins with the first of them.
    #[cold]
    fn join_transaction(&mut self) -> Result<(), ClientError> {
        let number = match self.shared.transaction() {
            Some(number) => number,
            None => self.shared.begin()?,
        };
        self.producer = self.shared.get();
        self.transaction = Some(number);
        Ok(())
    }

    fn place(&mut self, record: ProducerRecord<'_>, tag: RecordTag) {
        let headers = views(record.headers);
        let client_record = ClientRecord {
            topic: record.topic,
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: &headers,
        };
        if (self.transaction.is_none() || self.transaction != self.shared.transaction())
            && let Err(error) = self.join_transaction()
        {
            return self.failures.refuse(&client_record, tag, error);
        }
        if let Some(error) = self.failures.still_missing(&self.producer, record.topic) {
            return self.failures.refuse(&client_record, tag, error);
        }
        let sent = match self.changelogs.get_mut(record.topic) {
            Some(last) => {
                self.holds = !self.shared.is_exactly_once();
                let sent = match self.producer.try_send_tagged(client_record, tag) {
                    Err(ClientError::WouldBlock { .. }) => {
                        // All that nodes sent was given; so a unit may be larger than the producer's memory.
                        if self.is_ending {
                            self.producer.barrier();
                        }
                        wait_for_room(&self.producer, self.producer.send_tagged(client_record, tag))
                    }
                    sent => sent,
                };
                sent.map(|delivery| *last = Some(delivery))
            }
            None => match self.producer.send_nowait_tagged(client_record, tag) {
                Err(ClientError::WouldBlock { .. }) => {
                    wait_for_room(&self.producer, self.producer.send_tagged(client_record, tag)).map(drop)
                }
                sent => sent,
            },
        };
        if let Err(error) = sent {
            self.failures.refuse(&client_record, tag, error);
        }
    }
}

/// Waits until the producer takes a record. Not while nothing may be sent, and nobody makes room: only `poll` tells what
/// comes of that.
///
/// # Errors
/// [`ClientError::WouldBlock`] then.
pub(super) fn wait_for_room<T>(
    producer: &Producer,
    taken: impl Future<Output = std::result::Result<T, ClientError>>,
) -> std::result::Result<T, ClientError> {
    let over = ClientError::WouldBlock { reason: "nothing is sent while the group may have forgotten the thread" };
    wait(async { as_long_as(|| producer.may_send(), taken).await.unwrap_or(Err(over)) })
}

pub(super) fn views(headers: &Headers) -> Vec<HeaderView<'_>> {
    headers.iter().map(|header| HeaderView::new(&header.key, header.value.as_deref())).collect()
}

impl RecordCollector for ProducerCollector {
    fn send(&mut self, record: ProducerRecord<'_>) -> Result<()> {
        let owner = self.owner(None, None, -1);
        let tag = RecordTag { owner, position: -1 };
        if !self.unit.keep(&record, tag) {
            self.place(record, tag);
        }
        Ok(())
    }

    fn send_from(&mut self, origin: RecordOrigin<'_>, record: ProducerRecord<'_>) -> Result<()> {
        let owner = self.owner(Some(origin.node), origin.topic, origin.partition);
        self.place(record, RecordTag { owner, position: origin.offset });
        Ok(())
    }

    fn end_unit(&mut self, flushed: bool) -> Result<()> {
        let mut unit = std::mem::take(&mut self.unit);
        self.is_ending = true;
        unit.end(flushed, |record, tag| self.place(record, tag));
        self.is_ending = false;
        self.unit = unit;
        if std::mem::take(&mut self.holds) {
            self.producer.barrier();
        }
        Ok(())
    }

    fn needs_commit(&self) -> bool {
        self.unit.is_large()
    }

    fn take_changelog_offsets(&mut self) -> Vec<(Arc<str>, i64)> {
        let mut offsets = Vec::new();
        for (topic, last) in &mut self.changelogs {
            let Some(delivery) = last.take() else { continue };
            // What failed is known as a failure. A broker that has forgotten where it put a duplicate leaves the offset as
            // it was, too: more is restored.
            let offset = wait(delivery).ok().and_then(|written| written.offset);
            offsets.extend(offset.map(|offset| (topic.clone(), offset + 1)));
        }
        offsets
    }

    fn discard(&mut self) {
        self.unit.clear();
        if self.shared.is_exactly_once() {
            return;
        }
        for (topic, partition) in self.unit.partitions() {
            self.producer.discard_held(topic, partition);
        }
    }

    fn partitions_for(&mut self, topic: &str) -> Result<i32> {
        if let Some(count) = self.partitions.get(topic) {
            return Ok(*count);
        }
        let known = match self.failures.still_missing(&self.producer, topic) {
            Some(error) => Err(error),
            None => wait(self.shared.get().partitions_for(topic)),
        };
        let partitions = known.map_err(|source| {
            self.failures.note_missing(topic, &source);
            Box::new(Error::Production { topic: topic.to_owned(), source })
        })?;
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }
}

/// What was held back of a unit that did not end, or behind a failure, is given up with the task.
impl Drop for ProducerCollector {
    fn drop(&mut self) {
        self.discard();
    }
}

#[cfg(test)]
mod tests {
    use vltava_client::ProducerConfig;

    use super::*;
    use crate::{StreamsConfig, config::Guarantee, runtime::failures::Settled};

    #[test]
    fn a_record_that_finds_no_room_waits_for_none_while_nothing_may_be_sent() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _context = runtime.enter();
        // Nobody is there, and the topic's metadata is waited for.
        let settings = [("bootstrap.servers", "localhost:1"), ("max.block.ms", "3600000")];
        let settings = ProducerConfig::from_properties(settings).unwrap();
        let shared = ThreadProducer::new(Guarantee::AtLeastOnce, settings).unwrap();
        let producer = shared.get();
        producer.send_only_while(|| false).unwrap();
        let (failures, task) = (Arc::new(Failures::default()), TaskId { subtopology: 0, partition: 0 });
        let mut collector = ProducerCollector::new(shared, task, failures.clone(), Vec::new());
        let headers = Headers::default();
        let record = ProducerRecord {
            topic: &Arc::from("out"),
            partition: Some(0),
            timestamp: None,
            headers: &headers,
            key: None,
            value: None,
        };
        let origin = RecordOrigin { node: &Arc::from("sink"), topic: Some(&Arc::from("in")), partition: 0, offset: 7 };
        collector.send_from(origin, record).unwrap();
        let failed = failures.take(&producer).remove(0);
        let config = StreamsConfig::builder("app").build().unwrap();
        let settled = failures.settle(failed, &config, &producer).unwrap();
        assert!(matches!(settled, Settled::BeginAnew(of, _) if of == task), "{settled:?}");
    }
}
