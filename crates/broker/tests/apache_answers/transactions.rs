//! Transactions: what clients of both generations are answered, in every state.

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use vltava_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use vltava_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use vltava_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use vltava_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListTransactionsRequest, OffsetFetchRequest, ProduceRequest,
    TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use vltava_protocol::record::{Compression, ProducerState};

use crate::support::{batch, batch_of, produce_request};
use crate::transcript::Session;

/// A producer, as it was told.
#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
}

const NOBODY: Producer = Producer { id: -1, epoch: -1 };

/// The producer ids of a conversation count from its first.
struct Talk<'a> {
    s: &'a mut Session,
    first: Option<i64>,
}

impl Talk<'_> {
    fn find(&mut self, key_type: i8, key: &str) {
        let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() };
        self.s.until(6, &request, |answer| answer.coordinators[0].error_code == 0);
        if key_type == 0 {
            self.s.until(9, &stable_offset(), |answer| answer.groups[0].error_code == 0);
        } else {
            let unknown = ErrorCode::TransactionalIdNotFound.code();
            self.s.until(0, &describe(key), |answer| answer.transaction_states[0].error_code == unknown);
        }
    }

    /// Waits until the partitions of the topic are led.
    fn begin(s: &mut Session) -> Talk<'_> {
        s.create("answers", 2);
        for partition in 0..2 {
            let request = produce_request("answers", partition, batch(&["first"]), -1);
            s.until(12, &request, |answer| answer.responses[0].partition_responses[0].error_code == 0);
        }
        // A broker has to get producer ids for itself first.
        let any =
            InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1, ..Default::default() };
        s.until(5, &any, |answer| answer.error_code == 0);
        Talk { s, first: None }
    }

    fn relative(first: Option<i64>, id: i64) -> i64 {
        if id < 0 { id } else { id - first.unwrap_or(id) }
    }

    fn init(&mut self, what: &str, version: i16, request: &InitProducerIdRequest) -> Producer {
        let mut told = NOBODY;
        let mut first = self.first;
        self.s.call_then(what, version, request, |answer| {
            told = Producer { id: answer.producer_id, epoch: answer.producer_epoch };
            if told.id >= 0 {
                first.get_or_insert(told.id);
            }
            answer.producer_id = Self::relative(first, answer.producer_id);
        });
        self.first = first;
        told
    }

    /// As [`Self::init`], when the transaction before has ended.
    fn init_at_last(&mut self, what: &str, version: i16, request: &InitProducerIdRequest) -> Producer {
        let id = request.transactional_id.clone().unwrap();
        self.s
            .until(0, &describe(&id), |answer| !answer.transaction_states[0].transaction_state.starts_with("Prepare"));
        self.init(what, version, request)
    }

    fn add(&mut self, what: &str, version: i16, id: &str, producer: Producer, topics: &[(&str, &[i32])]) {
        let topics: Vec<_> = topics
            .iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic {
                name: (*name).to_owned(),
                partitions: partitions.to_vec(),
                ..Default::default()
            })
            .collect();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.to_owned(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        self.s.call_then(what, version, &request, |answer| {
            answer.results_by_topic_v3_and_below.sort_by(|one, other| one.name.cmp(&other.name));
            for topic in &mut answer.results_by_topic_v3_and_below {
                topic.results_by_partition.sort_by_key(|result| result.partition_index);
            }
        });
    }

    fn verify(&mut self, what: &str, id: &str, producer: Producer, verify_only: bool, partitions: &[i32]) {
        let request = AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: id.to_owned(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                verify_only,
                topics: vec![AddPartitionsToTxnTopic {
                    name: "answers".to_owned(),
                    partitions: partitions.to_vec(),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.s.call_then(what, 5, &request, |answer| {
            for topic in answer.results_by_transaction.iter_mut().flat_map(|result| &mut result.topic_results) {
                topic.results_by_partition.sort_by_key(|result| result.partition_index);
            }
        });
    }

    fn produce(&mut self, what: &str, version: i16, id: &str, producer: Producer, partition: i32, sequence: i32) {
        let request = produce(id, producer, partition, sequence);
        self.s.call(what, version, &request);
    }

    fn end(&mut self, what: &str, version: i16, id: &str, producer: Producer, committed: bool) -> Producer {
        let request = EndTxnRequest {
            transactional_id: id.to_owned(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
            ..Default::default()
        };
        let mut told = NOBODY;
        let first = self.first;
        self.s.call_then(what, version, &request, |answer| {
            told = Producer { id: answer.producer_id, epoch: answer.producer_epoch };
            answer.producer_id = Self::relative(first, answer.producer_id);
        });
        told
    }

    /// Describes a transaction when its markers are written.
    fn settled(&mut self, what: &str, id: &str) {
        self.s.until(0, &describe(id), |answer| !answer.transaction_states[0].transaction_state.starts_with("Prepare"));
        self.describe(what, id);
    }

    fn describe(&mut self, what: &str, id: &str) {
        let first = self.first;
        self.s.call_then(what, 0, &describe(id), |answer| {
            for state in &mut answer.transaction_states {
                state.producer_id = Self::relative(first, state.producer_id);
                state.transaction_start_time_ms = state.transaction_start_time_ms.min(0);
                state.topics.sort_by(|one, other| one.topic.cmp(&other.topic));
                state.topics.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
            }
        });
    }

    fn list(&mut self, what: &str, version: i16, request: &ListTransactionsRequest) {
        let first = self.first;
        self.s.call_then(what, version, request, |answer| {
            answer.transaction_states.retain(|state| state.transactional_id.starts_with("answers-"));
            answer.transaction_states.sort_by(|one, other| one.transactional_id.cmp(&other.transactional_id));
            answer.unknown_state_filters.sort();
            for state in &mut answer.transaction_states {
                state.producer_id = Self::relative(first, state.producer_id);
            }
        });
    }

    fn offsets(&mut self, what: &str, version: i16, request: &TxnOffsetCommitRequest) {
        self.s.call(what, version, request);
    }

    fn fetch(&mut self, what: &str) {
        self.s.call(what, 9, &stable_offset());
    }
}

fn init(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}

/// The offset that a consumer begins at.
fn stable_offset() -> OffsetFetchRequest {
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "answers-group".to_owned(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "answers".to_owned(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    }
}

fn describe(id: &str) -> DescribeTransactionsRequest {
    DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()], ..Default::default() }
}

fn produce(id: &str, producer: Producer, partition: i32, sequence: i32) -> ProduceRequest {
    let state = ProducerState::transactional(producer.id, producer.epoch, sequence);
    let batch = batch_of(&["a"], Some(state), Compression::None);
    ProduceRequest { transactional_id: Some(id.to_owned()), ..produce_request("answers", partition, batch, -1) }
}

fn offset_commit(id: &str, producer: Producer) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: "answers-group".to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "answers".to_owned(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                committed_offset: 5,
                committed_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Clients that add partitions, and keep their epoch.
pub(crate) fn old_clients(s: &mut Session) {
    let mut talk = Talk::begin(s);
    talk.find(1, "answers-old");
    talk.find(0, "answers-group");
    let id = "answers-old";

    talk.s.about("before anything");
    let stranger = Producer { id: 999_999, epoch: 0 };
    talk.add("partitions of an id that is not known", 3, id, stranger, &[("answers", &[0])]);
    talk.end("the end of an id that is not known", 4, id, stranger, true);
    talk.describe("an id that is not known", id);
    talk.describe("an id without a name", "");
    talk.produce("a batch of an id that is not known", 11, id, stranger, 0, 0);

    talk.s.about("an id");
    let producer = talk.init("a new one", 4, &init(id));
    talk.describe("what it is", id);
    talk.end("a commit of nothing", 3, id, producer, true);
    talk.end("an abort of nothing", 3, id, producer, false);
    talk.produce("a batch that was not announced", 10, id, producer, 0, 0);
    talk.produce("a batch that was not announced, for newer clients", 11, id, producer, 0, 0);

    talk.s.about("a transaction");
    talk.add("a topic that is not there", 3, id, producer, &[("answers", &[0, 7]), ("nowhere", &[0])]);
    talk.add("a partition", 3, id, producer, &[("answers", &[0])]);
    talk.add("the same again", 0, id, producer, &[("answers", &[0])]);
    let (older, newer) = (Producer { epoch: -1, ..producer }, Producer { epoch: 7, ..producer });
    talk.add("of an older epoch", 3, id, older, &[("answers", &[1])]);
    talk.add("of an older epoch, for old clients", 1, id, older, &[("answers", &[1])]);
    talk.add("of a newer epoch", 3, id, newer, &[("answers", &[1])]);
    talk.add("of another producer", 3, id, stranger, &[("answers", &[1])]);
    talk.add("without a name", 3, "", producer, &[("answers", &[1])]);
    talk.produce("a batch", 11, id, producer, 0, 0);
    talk.produce("a batch for another partition", 11, id, producer, 1, 0);
    talk.verify("what is in it", id, producer, true, &[0, 1]);
    talk.verify("what is in that of another producer", id, stranger, true, &[0]);
    talk.verify("what is in that of another epoch", id, newer, true, &[0]);
    talk.describe("what it is", id);

    talk.s.about("offsets");
    talk.offsets("without the group's partition", 3, &offset_commit(id, producer));
    let add = AddOffsetsToTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "answers-group".to_owned(),
        ..Default::default()
    };
    talk.s.call("the group's partition", 3, &add);
    talk.s.call("of an old epoch, for old clients", 1, &AddOffsetsToTxnRequest { producer_epoch: 7, ..add.clone() });
    talk.offsets("an offset", 3, &offset_commit(id, producer));
    let mut wrong = offset_commit(id, producer);
    wrong.generation_id = 3;
    wrong.member_id = "nobody".to_owned();
    talk.offsets("of a member that is not there", 3, &wrong);
    let mut wrong = offset_commit(id, producer);
    wrong.topics[0].partitions[0].partition_index = 9;
    talk.offsets("of a partition that is not there", 3, &wrong);
    let mut wrong = offset_commit(id, producer);
    wrong.group_id.clear();
    talk.offsets("of no group", 3, &wrong);
    let mut wrong = offset_commit(id, producer);
    wrong.topics[0].partitions[0].committed_metadata = Some("x".repeat(5_000));
    talk.offsets("with too long a text", 3, &wrong);
    talk.fetch("the offset that waits");

    talk.s.about("the end");
    talk.end("by an older epoch", 4, id, older, true);
    talk.end("by an older epoch, for old clients", 1, id, older, true);
    talk.end("by another producer", 4, id, stranger, true);
    talk.end("a commit", 4, id, producer, true);
    talk.settled("what it is", id);
    talk.fetch("the offset");
    talk.end("the same again", 4, id, producer, true);
    talk.end("an abort after all", 4, id, producer, false);
    talk.add("the next", 3, id, producer, &[("answers", &[1])]);
    talk.end("an abort", 4, id, producer, false);
    talk.settled("what it is", id);
    talk.end("a commit after all", 4, id, producer, true);

    talk.s.about("another producer");
    talk.add("a transaction", 3, id, producer, &[("answers", &[1])]);
    talk.init("another one while it is open", 4, &init(id));
    let next = talk.init_at_last("another one", 4, &init(id));
    talk.end("the end by the one before", 4, id, producer, false);
    let had = |producer: Producer| InitProducerIdRequest {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        ..init(id)
    };
    talk.init("the one before goes on", 4, &had(producer));
    talk.init("the one before goes on, for old clients", 3, &had(producer));
    let bumped = talk.init("it goes on itself", 4, &had(next));
    talk.init("it goes on, and its answer was lost", 4, &had(next));
    talk.add("it begins", 3, id, bumped, &[("answers", &[0])]);
    talk.end("it ends", 4, id, bumped, true);
    talk.settled("what it is", id);
}

/// Clients that leave partitions to the broker, and bump their epoch.
pub(crate) fn new_clients(s: &mut Session) {
    let mut talk = Talk::begin(s);
    talk.find(1, "answers-new");
    talk.find(0, "answers-group");
    let id = "answers-new";

    talk.s.about("an id");
    let stranger = Producer { id: 999_999, epoch: 0 };
    talk.produce("a batch of an id that is not known", 12, id, stranger, 0, 0);
    let producer = talk.init("a new one", 5, &init(id));
    talk.end("a commit of nothing", 5, id, producer, true);
    let producer = talk.end("an abort of nothing", 5, id, producer, false);
    talk.settled("what it is", id);

    talk.s.about("a transaction");
    let older = |producer: Producer| Producer { epoch: producer.epoch - 1, ..producer };
    talk.produce("a batch", 12, id, producer, 0, 0);
    talk.produce("a batch of the epoch before", 12, id, older(producer), 1, 0);
    talk.produce("a batch of another producer", 12, id, stranger, 1, 0);
    talk.verify("a partition that a broker adds", id, producer, false, &[1]);
    talk.describe("what it is", id);
    let next = talk.end("a commit", 5, id, producer, true);
    talk.settled("what it is", id);
    talk.end("the same again", 5, id, producer, true);
    talk.end("an abort after all", 5, id, producer, false);
    talk.end("a commit of nothing", 5, id, next, true);
    talk.produce("a batch of the epoch before", 12, id, producer, 0, 1);

    talk.s.about("an abort");
    talk.produce("a batch", 12, id, next, 0, 0);
    let last = talk.end("an abort", 5, id, next, false);
    talk.settled("what it is", id);
    talk.end("the same again", 5, id, next, false);
    talk.end("a commit after all", 5, id, next, true);
    talk.end("by an epoch of long ago", 5, id, producer, false);
    talk.end("by a newer epoch", 5, id, Producer { epoch: last.epoch + 1, ..last }, false);

    talk.s.about("offsets");
    talk.offsets("of another producer", 5, &offset_commit(id, stranger));
    talk.offsets("of the epoch before", 5, &offset_commit(id, next));
    talk.offsets("an offset", 5, &offset_commit(id, last));
    talk.fetch("the offset that waits");
    let last = talk.end("a commit", 5, id, last, true);
    talk.settled("what it is", id);
    talk.fetch("the offset");

    talk.s.about("another producer");
    talk.produce("a batch", 12, id, last, 0, 0);
    talk.init("another one while it is open", 5, &init(id));
    talk.init_at_last("another one", 5, &init(id));
    talk.end("the end by the one before", 5, id, last, true);
    talk.produce("a batch by the one before", 12, id, last, 0, 1);
}

/// What tools ask, and requests that are wrong in themselves.
pub(crate) fn questions(s: &mut Session) {
    let mut talk = Talk::begin(s);
    for id in ["answers-a", "answers-b", "answers-wrong"] {
        talk.find(1, id);
    }

    talk.s.about("producer ids");
    let wrong = |change: fn(&mut InitProducerIdRequest)| {
        let mut request = init("answers-wrong");
        change(&mut request);
        request
    };
    talk.init("too long a time-out", 5, &wrong(|request| request.transaction_timeout_ms = 900_001));
    talk.init("no time at all", 5, &wrong(|request| request.transaction_timeout_ms = 0));
    talk.init("less than no time", 5, &wrong(|request| request.transaction_timeout_ms = -1));
    talk.init("an id without an epoch", 5, &wrong(|request| request.producer_id = 5));
    talk.init(
        "a producer that it was, of an id that is not known",
        5,
        &wrong(|request| {
            (request.producer_id, request.producer_epoch) = (5, 5);
        }),
    );

    talk.s.about("lists");
    let empty = talk.init("an id", 5, &init("answers-a"));
    let open = talk.init("another id", 5, &init("answers-b"));
    talk.produce("a batch", 12, "answers-b", open, 0, 0);
    let all = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    talk.list("all", 0, &all);
    talk.list("of a state", 1, &ListTransactionsRequest { state_filters: vec!["Ongoing".into()], ..all.clone() });
    let states = vec!["Empty".into(), "Dead".into(), "Lost".into(), "ongoing".into()];
    talk.list("of states that are not", 1, &ListTransactionsRequest { state_filters: states, ..all.clone() });
    talk.list("of a producer", 1, &ListTransactionsRequest { producer_id_filters: vec![empty.id], ..all.clone() });
    talk.list("that are old", 1, &ListTransactionsRequest { duration_filter: 3_600_000, ..all.clone() });
    let by = |pattern: &str| ListTransactionsRequest { transactional_id_pattern: Some(pattern.into()), ..all.clone() };
    talk.list("by a name", 2, &by("answers-a|answers-c"));
    talk.list("by a part of a name", 2, &by("answers"));
    talk.list("by no name", 2, &by(""));
    talk.list("by what is no expression", 2, &by("("));

    talk.s.about("markers");
    let marker = |topic: &str, partitions: &[i32]| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: open.id,
            producer_epoch: open.epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: topic.to_owned(),
                partition_indexes: partitions.to_vec(),
                ..Default::default()
            }],
            coordinator_epoch: 0,
            ..Default::default()
        }],
        ..Default::default()
    };
    let first = talk.first;
    let mut markers = |what: &str, version: i16, request: &WriteTxnMarkersRequest| {
        talk.s.call_then(what, version, request, |answer| {
            for marker in &mut answer.markers {
                marker.producer_id = Talk::relative(first, marker.producer_id);
                for topic in &mut marker.topics {
                    topic.partitions.sort_by_key(|partition| partition.partition_index);
                }
            }
        });
    };
    markers("of nothing", 1, &WriteTxnMarkersRequest::default());
    markers("of a topic that is not there", 1, &marker("nowhere", &[0]));
    let mut strict = marker("answers", &[0]);
    strict.markers[0].transaction_version = 2;
    markers("of a transaction that bumps its epoch, without", 2, &strict);
    markers("of an open transaction", 1, &marker("answers", &[0, 7]));
}

/// A transaction that takes too long.
pub(crate) fn time_out(s: &mut Session) {
    let mut talk = Talk::begin(s);
    talk.find(1, "answers-late");
    talk.find(1, "answers-late-old");
    for (what, id, old) in [("a new client", "answers-late", false), ("an old client", "answers-late-old", true)] {
        talk.s.about(what);
        let request = InitProducerIdRequest { transaction_timeout_ms: 1, ..init(id) };
        let producer = talk.init("an id", if old { 4 } else { 5 }, &request);
        talk.s.quietly(
            5,
            &AddPartitionsToTxnRequest {
                transactions: vec![AddPartitionsToTxnTransaction {
                    transactional_id: id.to_owned(),
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    topics: vec![AddPartitionsToTxnTopic {
                        name: "answers".to_owned(),
                        partitions: vec![0],
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            },
        );
        talk.s.until(0, &describe(id), |answer| answer.transaction_states[0].transaction_state == "CompleteAbort");
        talk.describe("what it is", id);
        if old {
            talk.end("its commit", 4, id, producer, true);
            talk.end("its abort", 4, id, producer, false);
            talk.add("its next", 3, id, producer, &[("answers", &[0])]);
            talk.produce("its batch", 11, id, producer, 0, 0);
        } else {
            talk.end("its commit", 5, id, producer, true);
            talk.end("its abort", 5, id, producer, false);
            talk.produce("its batch", 12, id, producer, 0, 0);
        }
        let had = InitProducerIdRequest { producer_id: producer.id, producer_epoch: producer.epoch, ..request };
        talk.init("it goes on", 5, &had);
    }
}
