//! What each request comes to in each state, by tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use vltava_log::TopicPartition;
use vltava_protocol::ErrorCode;

use crate::coordinator::record::RecordBytes;
use crate::coordinator::shard::{Now, Shard};
use crate::coordinator::transaction::TransactionCoordinatorConfig;
use crate::coordinator::transaction::add_partitions::Producer;
use crate::coordinator::transaction::init_producer_id::InitProducerId;
use crate::coordinator::transaction::metadata::TransactionMetadata;
use crate::coordinator::transaction::shard::{Attempt, Decided, TransactionEffect, TransactionShard};
use crate::coordinator::transaction::state::TransactionState::{
    self, CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit,
};

const START_MS: i64 = 1_700_000_000_000;
const ID: &str = "id";
const TIMEOUT_MS: i32 = 60_000;
/// The producer of most cases.
const PRODUCER: Producer = Producer { id: 7, epoch: 5 };
/// A producer id that nobody has.
const FRESH: i64 = 99;

/// A shard with its log, by a clock that the test moves.
struct Bed {
    shard: TransactionShard,
    config: Arc<TransactionCoordinatorConfig>,
    now: Now,
    log: Vec<RecordBytes>,
    effects: Vec<TransactionEffect>,
}

impl Bed {
    fn new(version: i16) -> Self {
        let config = TransactionCoordinatorConfig::default();
        config.version.set(version);
        let config = Arc::new(config);
        let now = Now { elapsed_ms: 0, timestamp_ms: START_MS };
        let mut shard = TransactionShard::new(&config, 0);
        shard.loaded(now);
        let mut bed = Self { shard, config, now, log: Vec::new(), effects: Vec::new() };
        bed.collect();
        bed
    }

    /// A shard whose id is in a state, with a partition where there is anything open.
    fn with(version: i16, state: TransactionState, change: impl FnOnce(&mut TransactionMetadata)) -> Self {
        let mut bed = Self::new(version);
        let mut metadata = TransactionMetadata::new(PRODUCER.id, TIMEOUT_MS, START_MS);
        metadata.producer_epoch = PRODUCER.epoch;
        metadata.previous_producer_id = PRODUCER.id;
        metadata.state = state;
        metadata.client_version = version;
        if state != Empty {
            metadata.start_timestamp_ms = START_MS;
        }
        if matches!(state, Ongoing | PrepareCommit | PrepareAbort) {
            metadata.partitions = partitions(&[0]);
        }
        change(&mut metadata);
        bed.shard.transit(bed.now, ID, metadata);
        bed.collect();
        bed.effects.clear();
        bed
    }

    fn collect(&mut self) {
        let output = self.shard.take_output();
        assert_eq!(output.failure, None);
        self.log.extend(output.records);
        self.effects.extend(output.effects);
    }

    fn advance(&mut self, ms: i64) {
        let end = self.now.elapsed_ms + ms;
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now.timestamp_ms += deadline - self.now.elapsed_ms;
            self.now.elapsed_ms = deadline;
            self.shard.expire(self.now);
            self.collect();
        }
        self.now.timestamp_ms += end - self.now.elapsed_ms;
        self.now.elapsed_ms = end;
    }

    /// Starts another shard from the log.
    fn restart(&mut self) {
        self.shard = TransactionShard::new(&self.config, 0);
        for (offset, record) in (0..).zip(&self.log) {
            let record = TransactionShard::decode(record.key.clone(), record.value.clone()).unwrap().unwrap();
            self.shard.replay(offset, -1, record);
        }
        self.effects.clear();
        self.shard.loaded(self.now);
        self.collect();
    }

    fn init_as(&mut self, request: &InitProducerId, fresh: Option<i64>) -> Result<Attempt<(i64, i16)>, ErrorCode> {
        let result = self.shard.init_producer_id(self.now, request, fresh);
        self.collect();
        result
    }

    fn init(&mut self, had: Option<(i64, i16)>) -> Result<(i64, i16), ErrorCode> {
        let request = InitProducerId { had, ..init_request() };
        done(self.init_as(&request, Some(FRESH))?)
    }

    fn end(&mut self, producer: Producer, committed: bool, version: i16) -> Result<Producer, ErrorCode> {
        let result = self.shard.end_transaction(self.now, ID, producer, committed, version, Some(FRESH));
        self.collect();
        done(result?)
    }

    fn add(&mut self, producer: Producer, indexes: &[i32]) -> Result<(), ErrorCode> {
        let result = self.shard.add_partitions(self.now, ID, producer, &partitions(indexes), 2);
        self.collect();
        result
    }

    fn metadata(&self) -> &TransactionMetadata {
        &self.shard.transactions[ID].metadata
    }

    /// Writes what is asked for.
    fn write_markers(&mut self) -> Decided {
        let TransactionEffect::WriteMarkers(decided) = self.effects.remove(0) else {
            panic!("no markers are asked for")
        };
        self.shard.markers_written(self.now, &decided, &decided.partitions);
        self.collect();
        decided
    }
}

fn done<T>(attempt: Attempt<T>) -> Result<T, ErrorCode> {
    match attempt {
        Attempt::Done(value) => Ok(value),
        Attempt::NeedsProducerId => panic!("it has a producer id"),
    }
}

fn init_request() -> InitProducerId {
    InitProducerId {
        transactional_id: ID.to_owned(),
        timeout_ms: TIMEOUT_MS,
        had: None,
        two_phase_commit: false,
        keeps_prepared: false,
    }
}

fn partitions(indexes: &[i32]) -> BTreeSet<TopicPartition> {
    indexes.iter().map(|index| TopicPartition::new("t", *index)).collect()
}

#[test]
fn the_end_of_a_transaction_by_state_for_clients_that_keep_their_epoch() {
    use ErrorCode::{ConcurrentTransactions, InvalidTxnState};
    let kept = Ok(Producer { id: -1, epoch: -1 });
    let cases = [
        (Empty, Err(InvalidTxnState), Err(InvalidTxnState)),
        (Ongoing, kept, kept),
        (PrepareCommit, Err(ConcurrentTransactions), Err(InvalidTxnState)),
        (PrepareAbort, Err(InvalidTxnState), Err(ConcurrentTransactions)),
        (CompleteCommit, kept, Err(InvalidTxnState)),
        (CompleteAbort, Err(InvalidTxnState), kept),
    ];
    for (state, commit, abort) in cases {
        assert_eq!(Bed::with(0, state, |_| {}).end(PRODUCER, true, 0), commit, "{state:?}");
        assert_eq!(Bed::with(0, state, |_| {}).end(PRODUCER, false, 0), abort, "{state:?}");
        let older = Producer { epoch: PRODUCER.epoch - 1, ..PRODUCER };
        let newer = Producer { epoch: PRODUCER.epoch + 1, ..PRODUCER };
        let other = Producer { id: 8, ..PRODUCER };
        assert_eq!(Bed::with(0, state, |_| {}).end(older, true, 0), Err(ErrorCode::ProducerFenced));
        assert_eq!(Bed::with(0, state, |_| {}).end(newer, true, 0), Err(ErrorCode::ProducerFenced));
        assert_eq!(Bed::with(0, state, |_| {}).end(other, true, 0), Err(ErrorCode::InvalidProducerIdMapping));
    }
}

#[test]
fn the_end_of_a_transaction_by_state_for_clients_that_bump_their_epoch() {
    use ErrorCode::{ConcurrentTransactions, InvalidTxnState, ProducerFenced};
    // The one that is there, and the one before, whose answer may have been lost.
    let retry = Producer { epoch: PRODUCER.epoch - 1, ..PRODUCER };
    let (same, bumped) = (Ok(PRODUCER), Ok(Producer { epoch: PRODUCER.epoch + 1, ..PRODUCER }));
    let cases = [
        (Empty, retry, Err(ProducerFenced), Err(ProducerFenced)),
        (Empty, PRODUCER, Err(InvalidTxnState), bumped),
        (Ongoing, retry, Err(ProducerFenced), Err(ProducerFenced)),
        (Ongoing, PRODUCER, bumped, bumped),
        (PrepareCommit, retry, Err(ConcurrentTransactions), Err(InvalidTxnState)),
        (PrepareCommit, PRODUCER, Err(ProducerFenced), Err(ProducerFenced)),
        (PrepareAbort, retry, Err(InvalidTxnState), Err(ConcurrentTransactions)),
        (PrepareAbort, PRODUCER, Err(ProducerFenced), Err(ProducerFenced)),
        (CompleteCommit, retry, same, Err(InvalidTxnState)),
        (CompleteCommit, PRODUCER, Err(InvalidTxnState), bumped),
        (CompleteAbort, retry, Err(InvalidTxnState), same),
        (CompleteAbort, PRODUCER, Err(InvalidTxnState), bumped),
    ];
    for (state, producer, commit, abort) in cases {
        assert_eq!(Bed::with(2, state, |_| {}).end(producer, true, 2), commit, "{state:?} {producer:?}");
        assert_eq!(Bed::with(2, state, |_| {}).end(producer, false, 2), abort, "{state:?} {producer:?}");
    }
}

#[test]
fn partitions_by_state() {
    let cases = [
        (Empty, Ok(())),
        (Ongoing, Ok(())),
        (PrepareCommit, Err(ErrorCode::ConcurrentTransactions)),
        (PrepareAbort, Err(ErrorCode::ConcurrentTransactions)),
        (CompleteCommit, Ok(())),
        (CompleteAbort, Ok(())),
    ];
    for (state, expected) in cases {
        let mut bed = Bed::with(2, state, |_| {});
        bed.now.timestamp_ms += 50;
        assert_eq!(bed.add(PRODUCER, &[1]), expected, "{state:?}");
        if expected.is_ok() {
            let begun = if state == Ongoing { START_MS } else { START_MS + 50 };
            let in_it = if state == Ongoing { partitions(&[0, 1]) } else { partitions(&[1]) };
            assert_eq!((bed.metadata().start_timestamp_ms, &bed.metadata().partitions), (begun, &in_it));
        }
        let mut bed = Bed::with(2, state, |_| {});
        assert_eq!(bed.add(Producer { id: 8, ..PRODUCER }, &[1]), Err(ErrorCode::InvalidProducerIdMapping));
        assert_eq!(bed.add(Producer { epoch: 4, ..PRODUCER }, &[1]), Err(ErrorCode::ProducerFenced));
    }
    let mut bed = Bed::with(2, Ongoing, |_| {});
    let before = bed.log.len();
    bed.add(PRODUCER, &[0]).unwrap();
    assert_eq!(bed.log.len(), before, "what is in it already is not written again");
}

#[test]
fn a_producer_id_by_state() {
    use ErrorCode::{ConcurrentTransactions, ProducerFenced};
    let next = Ok((PRODUCER.id, PRODUCER.epoch + 1));
    let current = Some((PRODUCER.id, PRODUCER.epoch));
    let cases = [
        (Empty, None, next),
        (Empty, current, next),
        (Empty, Some((8, 5)), Err(ProducerFenced)),
        (Empty, Some((7, 3)), Err(ProducerFenced)),
        (Ongoing, None, Err(ConcurrentTransactions)),
        (PrepareCommit, None, Err(ConcurrentTransactions)),
        (PrepareAbort, current, Err(ConcurrentTransactions)),
        (CompleteCommit, None, next),
        (CompleteAbort, current, next),
    ];
    for (state, had, expected) in cases {
        assert_eq!(Bed::with(2, state, |_| {}).init(had), expected, "{state:?} {had:?}");
    }
    // KIP-360: the answer was lost, and it asks again with what it had before.
    let mut bed = Bed::with(2, Empty, |_| {});
    assert_eq!(bed.init(current), next);
    assert_eq!(bed.init(current), next);
    assert_eq!(bed.init(None), Ok((PRODUCER.id, PRODUCER.epoch + 2)), "another producer comes");
    assert_eq!(bed.init(current), Err(ProducerFenced));
}

#[test]
fn who_comes_while_a_transaction_is_open_has_it_aborted_and_its_producer_fenced() {
    for version in [0, 2] {
        let mut bed = Bed::with(version, Ongoing, |_| {});
        assert_eq!(bed.init(None), Err(ErrorCode::ConcurrentTransactions));
        let decided = bed.write_markers();
        let expected = (false, PRODUCER.id, PRODUCER.epoch + 1, version);
        let got = (decided.committed, decided.producer_id, decided.producer_epoch, decided.transaction_version);
        assert_eq!(got, expected);
        assert_eq!(bed.metadata().state, CompleteAbort);
        assert_eq!(bed.init(None), Ok((PRODUCER.id, PRODUCER.epoch + 2)));
    }
}

#[test]
fn the_last_epoch_is_followed_by_another_producer_id() {
    let last = Producer { epoch: i16::MAX - 1, ..PRODUCER };
    let exhausted = |metadata: &mut TransactionMetadata| metadata.producer_epoch = last.epoch;
    // At the end of a transaction, which the client may hear of twice.
    let mut bed = Bed::with(2, Ongoing, exhausted);
    let attempt = bed.shard.end_transaction(bed.now, ID, last, true, 2, None);
    assert_eq!(attempt, Ok(Attempt::NeedsProducerId));
    let next = Producer { id: FRESH, epoch: 0 };
    assert_eq!(bed.end(last, true, 2), Ok(next));
    let decided = bed.write_markers();
    assert_eq!((decided.producer_id, decided.producer_epoch), (PRODUCER.id, i16::MAX), "markers are of the old one");
    assert_eq!(bed.end(last, true, 2), Ok(next));
    assert_eq!(bed.end(last, false, 2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bed.add(last, &[0]), Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(bed.add(next, &[0]), Ok(()));
    // At InitProducerId, for a producer that goes on, whose answer is lost, and for another one.
    for had in [None, Some((last.id, last.epoch))] {
        let mut bed = Bed::with(2, Empty, exhausted);
        assert_eq!(bed.init_as(&init_request(), None), Ok(Attempt::NeedsProducerId));
        assert_eq!(bed.init(had), Ok((FRESH, 0)));
        if had.is_some() {
            assert_eq!(bed.init(had), Ok((FRESH, 0)), "it asks again");
        }
    }
    // When the transaction takes too long: nobody has a producer id at hand.
    let mut bed = Bed::with(2, Ongoing, exhausted);
    bed.advance(80_000);
    let wanted = bed.effects.pop().unwrap();
    let TransactionEffect::AbortTimedOut { producer_id, producer_epoch, .. } = wanted else { panic!("{wanted:?}") };
    bed.shard.abort_timed_out_with(bed.now, ID, (producer_id, producer_epoch), FRESH);
    bed.effects.clear();
    bed.collect();
    bed.write_markers();
    assert_eq!((bed.metadata().producer_id, bed.metadata().producer_epoch), (FRESH, 0));
    // Before KIP-890 the last epoch is left for that.
    let mut bed = Bed::with(0, Ongoing, exhausted);
    bed.advance(80_000);
    bed.write_markers();
    assert_eq!((bed.metadata().producer_id, bed.metadata().producer_epoch), (PRODUCER.id, i16::MAX));
    assert_eq!(bed.init(None), Ok((FRESH, 0)));
}

#[test]
fn requests_that_are_wrong_in_themselves() {
    let max = TransactionCoordinatorConfig::default().max_timeout_ms;
    let mut bed = Bed::new(2);
    let cases = [
        (InitProducerId { transactional_id: String::new(), ..init_request() }, ErrorCode::InvalidRequest),
        (InitProducerId { timeout_ms: max + 1, ..init_request() }, ErrorCode::InvalidTransactionTimeout),
        (InitProducerId { timeout_ms: 0, ..init_request() }, ErrorCode::InvalidTransactionTimeout),
        (InitProducerId { two_phase_commit: true, ..init_request() }, ErrorCode::TransactionalIdAuthorizationFailed),
        (InitProducerId { keeps_prepared: true, ..init_request() }, ErrorCode::UnsupportedVersion),
        (InitProducerId { transactional_id: "x".repeat(40_000), ..init_request() }, ErrorCode::UnknownServerError),
    ];
    for (request, expected) in cases {
        assert_eq!(bed.init_as(&request, Some(FRESH)), Err(expected), "{request:?}");
    }
    assert_eq!(bed.init_as(&init_request(), None), Ok(Attempt::NeedsProducerId));
    assert_eq!(bed.init(None), Ok((FRESH, 0)));
}

#[test]
fn who_decides_elsewhere_has_all_the_time_where_that_is_allowed() {
    let mut config = TransactionCoordinatorConfig { two_phase_commit: true, ..TransactionCoordinatorConfig::default() };
    config.max_timeout_ms = 1_000;
    config.version.set(2);
    let config = Arc::new(config);
    let mut bed = Bed { shard: TransactionShard::new(&config, 0), config, ..Bed::new(2) };
    bed.shard.loaded(bed.now);
    let request = InitProducerId { two_phase_commit: true, ..init_request() };
    assert_eq!(bed.init_as(&request, Some(7)), Ok(Attempt::Done((7, 0))));
    bed.add(Producer { id: 7, epoch: 0 }, &[0]).unwrap();
    bed.advance(7 * 24 * 60 * 60 * 1_000);
    assert_eq!(bed.metadata().state, Ongoing);
}

#[test]
fn a_transaction_is_aborted_at_the_first_look_after_its_time() {
    let mut bed = Bed::with(2, Ongoing, |_| {});
    bed.advance(60_000);
    assert_eq!(bed.metadata().state, Ongoing, "it may take as long as it said");
    bed.advance(10_000);
    assert_eq!(bed.metadata().state, PrepareAbort);
    bed.write_markers();
    assert_eq!(bed.metadata().state, CompleteAbort);
}

#[test]
fn an_id_expires_when_nothing_is_open() {
    let week = 7 * 24 * 60 * 60 * 1_000;
    for state in [Empty, CompleteCommit, CompleteAbort] {
        let mut bed = Bed::with(2, state, |_| {});
        bed.advance(week - 1);
        assert!(bed.shard.transactions.contains_key(ID), "{state:?}");
        bed.advance(3_600_000);
        assert!(bed.shard.transactions.is_empty(), "{state:?}");
        assert_eq!(bed.log.last().unwrap().value, None);
        bed.restart();
        assert!(bed.shard.transactions.is_empty());
    }
    let mut bed = Bed::with(2, PrepareCommit, |_| {});
    bed.advance(2 * week);
    assert!(bed.shard.transactions.contains_key(ID), "one that is being ended stays");
}

#[test]
fn markers_are_asked_for_until_all_are_written_and_after_a_restart() {
    let mut bed = Bed::with(2, Ongoing, |metadata| metadata.partitions = partitions(&[0, 1, 2]));
    bed.end(PRODUCER, true, 2).unwrap();
    let TransactionEffect::WriteMarkers(decided) = bed.effects.remove(0) else { panic!("markers") };
    assert_eq!(decided.partitions.len(), 3);
    bed.shard.markers_written(bed.now, &decided, &decided.partitions[..2]);
    bed.collect();
    assert_eq!(bed.metadata().state, PrepareCommit);
    assert_eq!(bed.shard.describe(ID).topics[0].partitions, [2], "those that are missing");
    bed.advance(1_000);
    let TransactionEffect::WriteMarkers(again) = bed.effects.remove(0) else { panic!("markers") };
    assert_eq!(again.partitions, [TopicPartition::new("t", 2)]);
    bed.restart();
    assert_eq!(bed.shard.describe(ID).topics[0].partitions, [0, 1, 2], "it is not known any more which are written");
    assert_eq!(bed.write_markers().partitions.len(), 3);
    assert_eq!(bed.metadata().state, CompleteCommit);
    let before = bed.log.len();
    bed.shard.markers_written(bed.now, &decided, &decided.partitions);
    bed.collect();
    assert_eq!(bed.log.len(), before, "a report that comes late says nothing");
}

#[test]
fn records_are_of_the_version_that_the_cluster_has() {
    for (version, written) in [(0, 0), (1, 1), (2, 1)] {
        let bed = Bed::with(version, Ongoing, |metadata| metadata.next_producer_id = 3);
        let value = bed.log[0].value.clone().unwrap();
        assert_eq!(i16::from_be_bytes([value[0], value[1]]), written);
        let read = TransactionShard::decode(bed.log[0].key.clone(), Some(value)).unwrap().unwrap().metadata.unwrap();
        assert_eq!(read.next_producer_id, if written == 0 { -1 } else { 3 });
        assert_eq!(read.partitions, partitions(&[0]));
    }
}
