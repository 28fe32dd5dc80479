//! The fetcher against answers made by hand.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use vltava_protocol::Uuid;
use vltava_protocol::messages::MetadataResponse;
use vltava_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, LeaderIdAndEpoch};
use vltava_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{BatchPatch, Compression, ProducerState, RecordBatchBuilder};

use super::*;
use crate::consumer::position::LeaderAndEpoch;

const TOPIC_ID: Uuid = Uuid::from_bytes([7; 16]);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn config() -> FetchConfig {
    FetchConfig {
        min_bytes: 1,
        max_bytes: 50 << 20,
        max_wait: Duration::from_millis(500),
        max_partition_bytes: 1000,
        max_decompressed_batch_bytes: 1_000_000,
        max_poll_records: 500,
        check_crcs: true,
        client_rack: String::new(),
        isolation: IsolationLevel::ReadUncommitted,
        retry_backoff: Duration::from_millis(100),
        metadata_max_age: Duration::from_secs(300),
    }
}

/// A fetcher of the partitions of topic `t`; partition `p` is led by broker `p % 2`.
struct Bench {
    fetcher: Fetcher,
    subscription: SubscriptionState,
    metadata: MetadataSnapshot,
    now: Instant,
}

impl Bench {
    fn new(config: FetchConfig, partitions: i32, policy: AutoOffsetReset) -> Self {
        let mut subscription = SubscriptionState::new(policy);
        subscription.assign_manually((0..partitions).map(tp).collect()).unwrap();
        for (tp, state) in subscription.iter_mut() {
            let leader = LeaderAndEpoch { leader: Some(tp.partition() % 2), epoch: Some(5) };
            state.seek_validated(FetchPosition { offset: 0, offset_epoch: None, leader });
        }
        let broker = |id| MetadataResponseBroker { node_id: id, host: "h".into(), port: 9092, ..Default::default() };
        let partition = |p| MetadataResponsePartition {
            partition_index: p,
            leader_id: p % 2,
            leader_epoch: 5,
            replica_nodes: vec![0, 1],
            isr_nodes: vec![0, 1],
            ..Default::default()
        };
        let metadata = MetadataSnapshot::default().updated(&MetadataResponse {
            brokers: (0..2).map(broker).collect(),
            topics: vec![MetadataResponseTopic {
                name: Some("t".into()),
                topic_id: TOPIC_ID,
                partitions: (0..partitions).map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        });
        Self { fetcher: Fetcher::new(config), subscription, metadata, now: Instant::now() }
    }

    fn one() -> Self {
        Self::new(config(), 1, AutoOffsetReset::Latest)
    }

    fn calls(&mut self) -> Vec<FetchCall> {
        self.fetcher.build_requests(self.now, &self.subscription, &self.metadata).0
    }

    /// The only call there is: partition and offset of all it names.
    fn call(&mut self) -> Vec<(i32, i64)> {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1);
        named(&calls.remove(0))
    }

    fn answer(&mut self, node: i32, session: i32, parts: Vec<PartitionData>) -> FetchNews {
        let topic = FetchableTopicResponse { topic_id: TOPIC_ID, partitions: parts, ..Default::default() };
        let topics = if topic.partitions.is_empty() { Vec::new() } else { vec![topic] };
        let response = FetchResponse { session_id: session, responses: topics, ..Default::default() };
        self.fetcher.on_response(self.now, node, Ok(response), &mut self.subscription)
    }

    fn collect(&mut self) -> ConsumerRecords {
        self.fetcher.collect(&mut self.subscription).unwrap()
    }

    fn offsets(&mut self) -> Vec<i64> {
        self.collect().iter().map(|(_, record)| record.offset()).collect()
    }

    fn position(&self, partition: i32) -> i64 {
        self.subscription.get(&tp(partition)).unwrap().valid_position().unwrap().offset
    }
}

fn named(call: &FetchCall) -> Vec<(i32, i64)> {
    call.request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (p.partition, p.fetch_offset))).collect()
}

fn data(partition: i32, records: Bytes) -> PartitionData {
    PartitionData {
        partition_index: partition,
        high_watermark: 1000,
        records: Some(records.into()),
        ..Default::default()
    }
}

fn failed(partition: i32, code: ErrorCode) -> PartitionData {
    PartitionData { partition_index: partition, error_code: code.code(), ..Default::default() }
}

/// A batch of `count` records from `base` on.
fn batch(base: i64, count: i64) -> Bytes {
    batch_of(base, count, Compression::None, None)
}

fn batch_of(base: i64, count: i64, compression: Compression, producer: Option<i64>) -> Bytes {
    let mut builder = RecordBatchBuilder::new(compression).base_offset(base).partition_leader_epoch(5);
    for offset in base..base + count {
        builder.append(offset, None, Some(format!("value {offset}").as_bytes()), []).unwrap();
    }
    if let Some(id) = producer {
        builder.set_producer_state(ProducerState::transactional(id, 0, 0));
    }
    builder.build().unwrap()
}

#[test]
fn one_request_per_broker_with_its_partitions() {
    let mut bench = Bench::new(config(), 4, AutoOffsetReset::Latest);
    let calls = bench.calls();
    let plan: BTreeMap<i32, Vec<(i32, i64)>> = calls.iter().map(|call| (call.node, named(call))).collect();
    assert_eq!(plan, BTreeMap::from([(0, vec![(0, 0), (2, 0)]), (1, vec![(1, 0), (3, 0)])]));
    let request = &calls[0].request;
    assert_eq!((request.session_id, request.session_epoch), (0, 0));
    assert_eq!((request.min_bytes, request.max_wait_ms, request.max_bytes), (1, 500, 50 << 20));
    assert_eq!(request.topics[0].partitions[0].partition_max_bytes, 1000);
    assert_eq!(request.topics[0].partitions[0].current_leader_epoch, 5);
    assert_eq!(request.topics[0].topic_id, TOPIC_ID);
    assert_eq!(calls[0].max_version, None);
    assert!(bench.calls().is_empty(), "one request at a time");
}

#[test]
fn records_are_returned_and_positions_move() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, batch(0, 3))]);
    assert_eq!(bench.call(), [(0, 3)], "the next fetch does not wait for the application");
    assert_eq!(bench.position(0), 0);
    let records = bench.collect();
    let values: Vec<String> =
        records.iter().map(|(_, r)| String::from_utf8(r.value().unwrap().to_vec()).unwrap()).collect();
    assert_eq!(values, ["value 0", "value 1", "value 2"]);
    assert_eq!(bench.position(0), 3);
    let next = records.next_offsets();
    assert_eq!((next[&tp(0)].offset, next[&tp(0)].leader_epoch), (3, Some(5)));
    assert_eq!(bench.subscription.lag(&tp(0), IsolationLevel::ReadUncommitted), Some(997));
}

#[test]
fn owned_records_are_the_same() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, [batch(0, 2), batch_of(2, 2, Compression::Lz4, None)].concat().into())]);
    let owned: Vec<ConsumerRecordSummary> = bench.collect().into_owned_records().map(|r| summary(&r)).collect();
    let expected: Vec<ConsumerRecordSummary> =
        (0..4).map(|o| ("t-0".to_owned(), o, o, Some(Bytes::from(format!("value {o}"))), Some(5))).collect();
    assert_eq!(owned, expected);
}

type ConsumerRecordSummary = (String, i64, i64, Option<Bytes>, Option<i32>);

fn summary(record: &crate::ConsumerRecord) -> ConsumerRecordSummary {
    let tp = record.topic_partition().to_string();
    (tp, record.offset(), record.timestamp(), record.value_bytes(), record.leader_epoch())
}

#[test]
fn a_poll_returns_no_more_than_it_may() {
    let mut bench = Bench::new(FetchConfig { max_poll_records: 4, ..config() }, 1, AutoOffsetReset::Latest);
    bench.call();
    let records = [batch(0, 3), batch(3, 6)].concat();
    bench.answer(0, 0, vec![data(0, records.into())]);
    assert_eq!(bench.offsets(), [0, 1, 2, 3]);
    assert_eq!(bench.position(0), 4);
    assert_eq!(bench.offsets(), [4, 5, 6, 7]);
    assert_eq!(bench.offsets(), [8]);
    assert!(bench.offsets().is_empty());
}

#[test]
fn what_lies_ready_is_not_fetched_again_when_the_batch_before_it_was_read_in_parts() {
    let mut bench = Bench::new(FetchConfig { max_poll_records: 2, ..config() }, 1, AutoOffsetReset::Latest);
    bench.call();
    bench.answer(0, 0, vec![data(0, batch(0, 4))]);
    assert_eq!(bench.offsets(), [0, 1]);
    assert_eq!(bench.call(), [(0, 4)]);
    bench.answer(0, 0, vec![data(0, batch(4, 4))]);
    assert_eq!(bench.offsets(), [2, 3]);
    assert_eq!(bench.offsets(), [4, 5]);
    assert_eq!(bench.call(), [(0, 8)]);
}

#[test]
fn a_position_within_a_batch_leaves_out_what_is_before_it() {
    let mut bench = Bench::one();
    let state = bench.subscription.get_mut(&tp(0)).unwrap();
    let position = state.position().unwrap();
    state.seek_validated(FetchPosition { offset: 5, ..position });
    assert_eq!(bench.call(), [(0, 5)]);
    bench.answer(0, 0, vec![data(0, batch(3, 5))]);
    assert_eq!(bench.offsets(), [5, 6, 7]);
}

#[test]
fn a_batch_that_was_compacted_ends_where_it_ended_before() {
    let mut bench = Bench::one();
    bench.call();
    let mut builder = RecordBatchBuilder::new(Compression::None).partition_leader_epoch(5);
    builder.append(0, None, Some(b"kept"), []).unwrap();
    builder.set_last_offset(9).unwrap();
    bench.answer(0, 0, vec![data(0, builder.build().unwrap())]);
    assert_eq!(bench.offsets(), [0]);
    assert_eq!(bench.position(0), 10, "not 1, or the batch would be fetched again and again");
}

#[test]
fn an_incomplete_batch_at_the_end_is_fetched_again() {
    let mut bench = Bench::one();
    bench.call();
    let second = batch(2, 2);
    let records = [batch(0, 2), second.slice(..second.len() - 1)].concat();
    bench.answer(0, 0, vec![data(0, records.into())]);
    assert_eq!(bench.call(), [(0, 2)]);
    assert_eq!(bench.offsets(), [0, 1]);
}

#[test]
fn a_full_buffer_holds_the_next_fetch_back() {
    let mut bench = Bench::new(FetchConfig { max_partition_bytes: 100, ..config() }, 1, AutoOffsetReset::Latest);
    bench.call();
    bench.answer(0, 0, vec![data(0, batch(0, 10))]);
    assert!(bench.calls().is_empty());
    bench.offsets();
    assert!(bench.fetcher.take_made_room());
    assert_eq!(bench.call(), [(0, 10)]);
}

#[test]
fn a_broker_that_is_waited_for_long_is_asked_for_more() {
    let mut bench = Bench::new(FetchConfig { max_partition_bytes: 1 << 20, ..config() }, 1, AutoOffsetReset::Latest);
    let mut asked = Vec::new();
    for round in 0..6 {
        asked.push(bench.calls()[0].request.topics[0].partitions[0].partition_max_bytes);
        bench.fetcher.on_wait(bench.now, &bench.subscription);
        bench.now += Duration::from_millis(50);
        bench.answer(0, 0, vec![data(0, batch(round, 1))]);
        assert_eq!(bench.offsets(), [round]);
    }
    // Before the first answer it is not known what the broker has.
    assert_eq!(asked, [256 << 10, 256 << 10, 256 << 10, 256 << 10, 512 << 10, 512 << 10]);
}

#[test]
fn a_seek_makes_what_was_fetched_worthless() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, batch(0, 3))]);
    bench.call();
    let state = bench.subscription.get_mut(&tp(0)).unwrap();
    let position = state.position().unwrap();
    state.seek_validated(FetchPosition { offset: 100, ..position });
    bench.answer(0, 0, vec![data(0, batch(3, 3))]);
    assert!(bench.offsets().is_empty(), "neither what was buffered nor what was in flight");
    assert_eq!(bench.call(), [(0, 100)]);
    bench.answer(0, 0, vec![data(0, batch(100, 1))]);
    assert_eq!(bench.offsets(), [100]);
}

#[test]
fn a_paused_partition_keeps_its_records() {
    let mut bench = Bench::new(config(), 3, AutoOffsetReset::Latest);
    bench.calls();
    bench.answer(0, 0, vec![data(0, batch(0, 2)), data(2, batch(0, 1))]);
    bench.subscription.get_mut(&tp(0)).unwrap().paused = true;
    assert_eq!(bench.collect().next_offsets().keys().cloned().collect::<Vec<_>>(), [tp(2)]);
    let fetched: Vec<i32> = bench.calls().iter().flat_map(named).map(|(p, _)| p).collect();
    assert_eq!(fetched, [2], "partition 1 is in flight, partition 0 paused");
    bench.subscription.get_mut(&tp(0)).unwrap().paused = false;
    assert_eq!(bench.offsets(), [0, 1]);
}

#[test]
fn sessions_name_only_what_changed() {
    let mut bench = Bench::new(config(), 5, AutoOffsetReset::Latest);
    bench.calls();
    bench.answer(0, 77, vec![data(0, batch(0, 1)), data(2, Bytes::new()), data(4, Bytes::new())]);
    let calls = bench.calls();
    assert_eq!((calls[0].request.session_id, calls[0].request.session_epoch), (77, 1));
    assert_eq!(named(&calls[0]), [(0, 1)], "only partition 0 moved");
    bench.answer(0, 77, vec![]);
    bench.subscription.get_mut(&tp(2)).unwrap().paused = true;
    let calls = bench.calls();
    assert_eq!(calls[0].request.session_epoch, 2);
    assert!(named(&calls[0]).is_empty());
    let forgotten = &calls[0].request.forgotten_topics_data;
    assert_eq!((forgotten[0].topic_id, forgotten[0].partitions.as_slice()), (TOPIC_ID, &[2][..]));
}

#[test]
fn a_lost_session_is_opened_anew() {
    let cases = [(ErrorCode::FetchSessionIdNotFound, 0), (ErrorCode::InvalidFetchSessionEpoch, 77)];
    for (code, named_session) in cases {
        let mut bench = Bench::one();
        bench.call();
        bench.answer(0, 77, vec![data(0, Bytes::new())]);
        bench.calls();
        let response = FetchResponse { error_code: code.code(), ..Default::default() };
        bench.fetcher.on_response(bench.now, 0, Ok(response), &mut bench.subscription);
        bench.now += Duration::from_millis(100);
        let calls = bench.calls();
        assert_eq!((calls[0].request.session_id, calls[0].request.session_epoch), (named_session, 0), "{code}");
        assert_eq!(named(&calls[0]), [(0, 0)]);
    }
}

#[test]
fn an_answer_with_foreign_partitions_is_not_believed() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 77, vec![data(0, batch(0, 1)), data(9, batch(0, 1))]);
    assert!(bench.offsets().is_empty());
    assert_eq!(bench.call(), [(0, 0)]);
}

#[test]
fn a_failed_broker_is_left_alone_for_a_while() {
    let mut bench = Bench::one();
    bench.call();
    let lost = Err(ClientError::timeout("fetch", Duration::ZERO));
    let news = bench.fetcher.on_response(bench.now, 0, lost, &mut bench.subscription);
    assert!(news.update_metadata);
    assert!(bench.calls().is_empty());
    assert_eq!(bench.fetcher.next_deadline(), Some(bench.now + Duration::from_millis(100)));
    bench.now += Duration::from_millis(100);
    assert_eq!(bench.call(), [(0, 0)]);
}

#[test]
fn errors_of_partitions_ask_for_metadata_and_another_try() {
    for code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
        ErrorCode::KafkaStorageError,
        ErrorCode::OffsetNotAvailable,
    ] {
        let mut bench = Bench::one();
        bench.call();
        let news = bench.answer(0, 0, vec![failed(0, code)]);
        assert!(news.update_metadata, "{code}");
        assert!(bench.calls().is_empty(), "{code}");
        assert!(bench.offsets().is_empty(), "{code}");
        bench.now += Duration::from_millis(100);
        assert_eq!(bench.call(), [(0, 0)], "{code}");
    }
}

#[test]
fn the_new_leader_is_learned_from_the_error() {
    let mut bench = Bench::one();
    bench.call();
    let leader = LeaderIdAndEpoch { leader_id: 1, leader_epoch: 6, ..Default::default() };
    let news =
        bench.answer(0, 0, vec![PartitionData { current_leader: leader, ..failed(0, ErrorCode::NotLeaderOrFollower) }]);
    assert_eq!(news.leaders, [LeaderUpdate { partition: tp(0), leader: 1, leader_epoch: 6 }]);
}

#[test]
fn an_offset_out_of_range_is_reset_or_told() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![failed(0, ErrorCode::OffsetOutOfRange)]);
    assert_eq!(bench.subscription.needing_reset(bench.now), [(tp(0), AutoOffsetReset::Latest)]);

    let mut bench = Bench::new(config(), 1, AutoOffsetReset::None);
    bench.call();
    bench.answer(0, 0, vec![failed(0, ErrorCode::OffsetOutOfRange)]);
    let error = bench.fetcher.collect(&mut bench.subscription).unwrap_err();
    assert!(matches!(error, ClientError::OffsetOutOfRange { offset: 0, .. }), "{error}");
}

#[test]
fn what_is_wrong_behind_the_buffer_waits_until_that_is_read() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, batch(0, 2))]);
    bench.call();
    bench.answer(0, 0, vec![failed(0, ErrorCode::OffsetOutOfRange)]);
    bench.now += Duration::from_secs(1);
    assert!(bench.calls().iter().all(|call| named(call).is_empty()));
    assert_eq!(bench.offsets(), [0, 1], "records that were fetched are not lost by the reset");
    assert_eq!(bench.call(), [(0, 2)]);
}

#[test]
fn missing_access_is_told() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![failed(0, ErrorCode::TopicAuthorizationFailed)]);
    let error = bench.fetcher.collect(&mut bench.subscription).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed));
    assert_eq!(error.to_string(), "TOPIC_AUTHORIZATION_FAILED: not authorized to read topic t");
}

#[test]
fn a_damaged_batch_is_told_after_what_comes_before_it_until_the_position_moves() {
    let mut damaged = BytesMut::from(&batch(2, 2)[..]);
    *damaged.last_mut().unwrap() ^= 1;
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, [batch(0, 2), damaged.freeze()].concat().into())]);
    assert_eq!(bench.offsets(), [0, 1]);
    for _ in 0..2 {
        let error = bench.fetcher.collect(&mut bench.subscription).unwrap_err();
        assert!(matches!(error, ClientError::RecordsUnreadable { offset: 2, .. }), "{error}");
        assert_eq!(bench.position(0), 2);
    }
    let state = bench.subscription.get_mut(&tp(0)).unwrap();
    let position = state.position().unwrap();
    state.seek_validated(FetchPosition { offset: 4, ..position });
    assert!(bench.offsets().is_empty());
    assert_eq!(bench.call(), [(0, 4)]);
}

#[test]
fn a_replica_nearby_is_read_until_it_fails() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![PartitionData { preferred_read_replica: 1, ..data(0, Bytes::new()) }]);
    let calls = bench.calls();
    assert_eq!((calls[0].node, named(&calls[0])), (1, vec![(0, 0)]));
    bench.answer(1, 0, vec![failed(0, ErrorCode::OffsetOutOfRange)]);
    bench.now += Duration::from_millis(100);
    let calls = bench.calls();
    let fetched: Vec<_> = calls.iter().map(|call| (call.node, named(call))).collect();
    assert_eq!(fetched, [(0, vec![(0, 0)])], "the follower lags behind, the leader knows");
}

fn marker(base: i64, producer: i64, committed: bool) -> Bytes {
    let marker = EndTransactionMarker { committed, coordinator_epoch: 0 };
    let bytes = marker.to_batch(vltava_protocol::TimestampMs(0), producer, 0).unwrap();
    let mut bytes = BytesMut::from(&bytes[..]);
    BatchPatch::new(&mut bytes).unwrap().set_base_offset(base);
    bytes.freeze()
}

#[test]
fn read_committed_leaves_out_aborted_transactions_and_markers() {
    // Producer 1 aborts 0-1, commits 5-6; producer 2 commits 3; 9 stands outside of transactions.
    let log: Bytes = [
        batch_of(0, 2, Compression::None, Some(1)),
        marker(2, 1, false),
        batch_of(3, 1, Compression::None, Some(2)),
        marker(4, 2, true),
        batch_of(5, 2, Compression::Zstd, Some(1)),
        marker(7, 1, true),
        marker(8, 3, false),
        batch(9, 1),
    ]
    .concat()
    .into();
    let aborted = vec![
        AbortedTransaction { producer_id: 3, first_offset: 1, ..Default::default() },
        AbortedTransaction { producer_id: 1, first_offset: 0, ..Default::default() },
    ];
    for (isolation, expected) in
        [(IsolationLevel::ReadCommitted, vec![3, 5, 6, 9]), (IsolationLevel::ReadUncommitted, vec![0, 1, 3, 5, 6, 9])]
    {
        let mut bench = Bench::new(FetchConfig { isolation, ..config() }, 1, AutoOffsetReset::Latest);
        bench.call();
        let part = PartitionData { aborted_transactions: Some(aborted.clone()), ..data(0, log.clone()) };
        bench.answer(0, 0, vec![part]);
        assert_eq!(bench.offsets(), expected);
        assert_eq!(bench.position(0), 10);
    }
}

#[test]
fn positions_move_behind_what_is_not_shown() {
    let mut bench = Bench::one();
    bench.call();
    bench.answer(0, 0, vec![data(0, marker(0, 1, true))]);
    let records = bench.collect();
    assert!(records.is_empty());
    assert_eq!(records.next_offsets()[&tp(0)].offset, 1, "so that it can be committed");
    assert_eq!(bench.position(0), 1);
}

#[test]
fn topics_without_ids_are_named() {
    let mut bench = Bench::one();
    bench.metadata = MetadataSnapshot::default();
    let calls = bench.calls();
    assert_eq!(calls[0].max_version, Some(12));
    assert_eq!(calls[0].request.topics[0].topic, "t");
    let topic =
        FetchableTopicResponse { topic: "t".into(), partitions: vec![data(0, batch(0, 1))], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    bench.fetcher.on_response(bench.now, 0, Ok(response), &mut bench.subscription);
    assert_eq!(bench.offsets(), [0]);
}

#[test]
fn partitions_that_go_take_their_records_with_them() {
    let mut bench = Bench::new(config(), 3, AutoOffsetReset::Latest);
    bench.calls();
    bench.answer(0, 0, vec![data(0, batch(0, 1)), data(2, batch(0, 1))]);
    bench.subscription.assign_manually([tp(2)].into()).unwrap();
    bench.fetcher.retain_assigned(&bench.subscription);
    assert_eq!(bench.collect().next_offsets().keys().cloned().collect::<Vec<_>>(), [tp(2)]);
    assert!(!bench.fetcher.has_data());
}

#[test]
fn a_bomb_is_told_with_its_place_and_the_key_until_the_position_moves() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = RecordBatchBuilder::new(compression).base_offset(2);
        for _ in 0..3 {
            builder.append(0, None, Some(&[0; 500_000]), []).unwrap();
        }
        let bomb = builder.build().unwrap();
        let mut bench = Bench::one();
        bench.call();
        bench.answer(0, 0, vec![data(0, [batch(0, 2), bomb, batch(5, 1)].concat().into())]);
        assert_eq!(bench.offsets(), [0, 1]);
        for _ in 0..2 {
            let error = bench.fetcher.collect(&mut bench.subscription).unwrap_err();
            let ClientError::DecompressedBatchTooLarge { partition, offset, next_offset, limit } = &error else {
                panic!("{compression}: {error}");
            };
            assert_eq!((partition, *offset, *next_offset, *limit), (&tp(0), 2, 5, 1_000_000), "{compression}");
            assert!(error.to_string().contains("`max.decompressed.batch.bytes`"), "{error}");
            assert_eq!(bench.position(0), 2);
        }
        let state = bench.subscription.get_mut(&tp(0)).unwrap();
        let position = state.position().unwrap();
        state.seek_validated(FetchPosition { offset: 5, ..position });
        assert!(bench.offsets().is_empty());
        assert_eq!(bench.call(), [(0, 5)]);
        bench.answer(0, 0, vec![data(0, batch(5, 1))]);
        assert_eq!(bench.offsets(), [5]);
    }
}
