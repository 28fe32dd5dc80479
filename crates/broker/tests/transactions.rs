//! Transactions over the wire, of clients of both generations: what is read of them, fencing, time-outs, and a broker that
//! is killed in each state.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure of a helper fails its test")]

#[path = "support/producer.rs"]
mod producer;
mod support;

use std::path::Path;

use producer::{Generation, Producer, committed, stable_offset, until};
use support::Client;
use vltava_broker::embedded;
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use vltava_protocol::messages::delete_topics_request::DeleteTopicState;
use vltava_protocol::messages::update_features_request::FeatureUpdateKey;
use vltava_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use vltava_protocol::messages::{
    AddPartitionsToTxnRequest, ApiVersionsRequest, DeleteTopicsRequest, EndTxnRequest, InitProducerIdRequest,
    ListTransactionsRequest, OffsetDeleteRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use vltava_protocol::record::{Compression, ProducerState};

const BOTH: [Generation; 2] = [Generation::Old, Generation::New];

fn start(dir: &Path) -> embedded::Broker {
    embedded::Broker::start(embedded::Config::default().dir(dir)).unwrap()
}

/// A broker whose transactions are looked through all the time.
fn start_with(properties: &[(&str, &str)]) -> embedded::Broker {
    let config =
        properties.iter().fold(embedded::Config::default(), |config, (key, value)| config.property(*key, *value));
    embedded::Broker::start(config).unwrap()
}

#[test]
fn a_committed_transaction_is_seen_when_it_ends_and_an_aborted_one_never() {
    for generation in BOTH {
        let broker = support::start();
        let address = broker.bootstrap_servers();
        let mut reader = Client::connect(&broker);
        reader.create_topic("t", 2, &[]);
        let mut producer = Producer::start(address, "id", generation);
        let (id, epoch) = (producer.producer_id, producer.epoch);
        for (partition, value) in [(0, "a"), (1, "b"), (0, "c")] {
            assert_eq!(producer.send("t", partition, value), ErrorCode::None);
        }
        let described = producer.describe();
        assert_eq!(
            (described.transaction_state.as_str(), described.topics[0].partitions.as_slice()),
            ("Ongoing", &[0, 1][..])
        );
        assert_eq!(committed(&mut reader, "t", 0), (vec![], 0), "nothing is seen of an open transaction");
        assert_eq!(producer.end(true), ErrorCode::None);
        producer.comes_to("CompleteCommit");
        assert_eq!(committed(&mut reader, "t", 0), (vec!["a".into(), "c".into()], 3));
        assert_eq!(committed(&mut reader, "t", 1), (vec!["b".into()], 2));

        assert_eq!(producer.send("t", 0, "lost"), ErrorCode::None);
        assert_eq!(producer.end(false), ErrorCode::None);
        producer.comes_to("CompleteAbort");
        assert_eq!(committed(&mut reader, "t", 0), (vec!["a".into(), "c".into()], 5));
        let bumps = if generation == Generation::New { 2 } else { 0 };
        assert_eq!((producer.producer_id, producer.epoch), (id, epoch + bumps), "an epoch for each transaction");
    }
}

#[test]
fn a_producer_of_the_same_id_fences_the_one_before() {
    for generation in BOTH {
        let broker = support::start();
        let address = broker.bootstrap_servers();
        let mut reader = Client::connect(&broker);
        reader.create_topic("t", 1, &[]);
        let mut first = Producer::start(address, "id", generation);
        assert_eq!(first.send("t", 0, "first"), ErrorCode::None);
        let mut second = Producer::new(address, "id", generation);
        second.find_coordinator();
        let request = second.init_request();
        let answer = second.client.call(5, &request);
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::ConcurrentTransactions, "it is aborted first");
        second.init();
        assert_eq!(first.producer_id, second.producer_id);
        assert!(first.epoch < second.epoch);
        assert_eq!(committed(&mut reader, "t", 0), (vec![], 2));

        assert_eq!(
            first.send("t", 0, "zombie"),
            if generation == Generation::Old { ErrorCode::ProducerFenced } else { ErrorCode::InvalidProducerEpoch }
        );
        assert_eq!(first.end(true), ErrorCode::ProducerFenced);
        let request = EndTxnRequest {
            transactional_id: "id".into(),
            producer_id: first.producer_id,
            producer_epoch: first.epoch,
            committed: true,
            ..EndTxnRequest::default()
        };
        let answer = first.client.call(1, &request);
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::InvalidProducerEpoch, "as old clients know it");

        assert_eq!(second.send("t", 0, "second"), ErrorCode::None);
        assert_eq!(second.end(true), ErrorCode::None);
        second.comes_to("CompleteCommit");
        assert_eq!(committed(&mut reader, "t", 0).0, ["second"]);
    }
}

#[test]
fn offsets_count_with_their_transaction() {
    for generation in BOTH {
        let broker = support::start();
        let address = broker.bootstrap_servers();
        let mut reader = Client::connect(&broker);
        reader.create_topic("t", 1, &[]);
        let mut producer = Producer::start(address, "id", generation);
        assert_eq!(producer.commit_offset("group", "t", 0, 5), ErrorCode::None);
        let unstable = Err(ErrorCode::UnstableOffsetCommit);
        assert_eq!(stable_offset(&mut reader, "group", "t", 0), unstable);
        assert_eq!(producer.end(true), ErrorCode::None);
        let stable = until(|| stable_offset(&mut reader, "group", "t", 0), |offset| *offset != unstable);
        assert_eq!(stable, Ok(5));

        assert_eq!(producer.commit_offset("group", "t", 0, 9), ErrorCode::None);
        assert_eq!(stable_offset(&mut reader, "group", "t", 0), unstable);
        assert_eq!(producer.end(false), ErrorCode::None);
        let stable = until(|| stable_offset(&mut reader, "group", "t", 0), |offset| *offset != unstable);
        assert_eq!(stable, Ok(5), "an aborted transaction moves nothing");

        // A group that somebody else has joined is not for producers without its generation.
        let mut request = producer.offset_request("group", "t", 0, 7);
        request.generation_id = 3;
        request.member_id = "nobody".into();
        let version = if generation == Generation::Old { 4 } else { 5 };
        let added = producer.commit_offset("group", "t", 0, 6);
        assert_eq!(added, ErrorCode::None);
        let answer = producer.client.call(version, &request);
        assert_eq!(ErrorCode::from(answer.topics[0].partitions[0].error_code), ErrorCode::UnknownMemberId);
        assert_eq!(producer.end(true), ErrorCode::None);
        let stable = until(|| stable_offset(&mut reader, "group", "t", 0), |offset| *offset != unstable);
        assert_eq!(stable, Ok(6));
    }
}

#[test]
fn deleting_offsets_takes_those_of_an_open_transaction_with_it() {
    let broker = support::start();
    let mut reader = Client::connect(&broker);
    reader.create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::New);
    assert_eq!(producer.commit_offset("group", "t", 0, 5), ErrorCode::None);
    let topic = vltava_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic {
        name: "t".into(),
        partitions: vec![Default::default()],
    };
    let answer = reader.call(0, &OffsetDeleteRequest { group_id: "group".into(), topics: vec![topic] });
    assert_eq!(answer.error_code, 0);
    assert_eq!(stable_offset(&mut reader, "group", "t", 0), Ok(-1), "nothing is pending any more");
    assert_eq!(producer.end(true), ErrorCode::None);
    producer.comes_to("CompleteCommit");
    assert_eq!(stable_offset(&mut reader, "group", "t", 0), Ok(-1));
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for generation in BOTH {
        let broker = start_with(&[("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1")]);
        let mut reader = Client::connect(&broker);
        reader.create_topic("t", 1, &[]);
        let mut producer = Producer::new(broker.bootstrap_servers(), "id", generation);
        producer.timeout_ms = 1;
        producer.init();
        // It may be over before its record comes.
        let sent = producer.send("t", 0, "late");
        let over = [ErrorCode::InvalidProducerEpoch, ErrorCode::ProducerFenced, ErrorCode::InvalidTxnState];
        assert!(sent == ErrorCode::None || over.contains(&sent), "{sent:?}");
        let described = producer.comes_to("CompleteAbort");
        assert_eq!(described.producer_epoch, producer.epoch + 1);
        assert_eq!(
            producer.end(true),
            if generation == Generation::Old { ErrorCode::ProducerFenced } else { ErrorCode::InvalidTxnState }
        );
        let (values, stable) = committed(&mut reader, "t", 0);
        assert!(values.is_empty());
        assert_eq!(stable, reader.list_offset("t", 0, -1).offset, "nothing holds readers back");
        // KIP-360: it goes on with its id.
        let request = InitProducerIdRequest {
            producer_id: producer.producer_id,
            producer_epoch: producer.epoch,
            ..producer.init_request()
        };
        let answer = producer.client.call(5, &request);
        assert_eq!(ErrorCode::from(answer.error_code), ErrorCode::None);
        assert_eq!((answer.producer_id, answer.producer_epoch), (producer.producer_id, producer.epoch + 1));
    }
}

#[test]
fn time_outs_beyond_the_longest_and_two_phase_commit_are_refused() {
    let broker = start_with(&[("transaction.max.timeout.ms", "1000")]);
    let mut producer = Producer::new(broker.bootstrap_servers(), "id", Generation::New);
    producer.find_coordinator();
    for (timeout_ms, expected) in [(1_001, true), (0, true), (-1, true), (1_000, false)] {
        producer.timeout_ms = timeout_ms;
        let request = producer.init_request();
        let answer = producer.client.call(5, &request);
        let error = ErrorCode::from(answer.error_code);
        assert_eq!(error == ErrorCode::InvalidTransactionTimeout, expected, "{timeout_ms}: {error:?}");
    }
}

#[test]
fn an_id_that_nobody_uses_is_forgotten() {
    let broker = start_with(&[
        ("transactional.id.expiration.ms", "1"),
        ("transaction.remove.expired.transaction.cleanup.interval.ms", "1"),
    ]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::New);
    let gone = ErrorCode::TransactionalIdNotFound.code();
    until(|| producer.describe(), |described| described.error_code == gone);
    assert_eq!(producer.end(true), ErrorCode::InvalidProducerIdMapping);
}

#[test]
fn transactions_of_before_a_kill_end_as_they_were_decided() {
    for generation in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path());
        let address = broker.bootstrap_servers().to_owned();
        Client::connect(&broker).create_topic("t", 1, &[]);
        let mut open = Producer::start(&address, "open", generation);
        let mut decided = Producer::start(&address, "decided", generation);
        let mut empty = Producer::start(&address, "empty", generation);
        for producer in [&mut open, &mut decided] {
            let value = producer.id.clone();
            assert_eq!(producer.send("t", 0, &value), ErrorCode::None);
            assert_eq!(producer.commit_offset("group", "t", 0, 7), ErrorCode::None);
        }
        assert_eq!(decided.end(true), ErrorCode::None);
        // Killed after the decision is told: its markers may be written or not.
        broker.abort();

        let broker = start(dir.path());
        let address = broker.bootstrap_servers();
        let mut reader = Client::connect(&broker);
        [&mut open, &mut decided, &mut empty].into_iter().for_each(|producer| producer.reconnect(address));
        decided.comes_to("CompleteCommit");
        assert_eq!(open.comes_to("Ongoing").topics.len(), 2);
        assert_eq!(empty.comes_to("Empty").producer_id, empty.producer_id);
        assert_eq!(committed(&mut reader, "t", 0), (vec![], 0), "the open transaction was the first");
        assert_eq!(stable_offset(&mut reader, "group", "t", 0), Err(ErrorCode::UnstableOffsetCommit));
        assert_eq!(open.end(false), ErrorCode::None);
        open.comes_to("CompleteAbort");
        assert_eq!(committed(&mut reader, "t", 0).0, ["decided"]);
        assert_eq!(stable_offset(&mut reader, "group", "t", 0), Ok(7));
        // All of them go on.
        for producer in [&mut open, &mut decided, &mut empty] {
            assert_eq!(producer.send("t", 0, "next"), ErrorCode::None);
            assert_eq!(producer.end(true), ErrorCode::None);
        }
        until(|| committed(&mut reader, "t", 0).0, |values| values.len() == 4);
    }
}

#[test]
fn a_partition_that_is_deleted_keeps_no_transaction() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("gone", 1, &[]);
    client.create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::New);
    assert_eq!(producer.send("gone", 0, "a"), ErrorCode::None);
    assert_eq!(producer.send("t", 0, "b"), ErrorCode::None);
    let topic = DeleteTopicState { name: Some("gone".into()), ..Default::default() };
    let answer = client.call(6, &DeleteTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() });
    assert_eq!(answer.responses[0].error_code, 0);
    assert_eq!(producer.end(true), ErrorCode::None);
    producer.comes_to("CompleteCommit");
    assert_eq!(committed(&mut client, "t", 0).0, ["b"]);
}

#[test]
fn who_is_not_in_the_transaction_is_refused() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 2, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::Old);
    assert_eq!(producer.add_partition(3, "nowhere", 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(producer.produce("t", 0, "never added"), ErrorCode::TransactionAbortable);
    assert_eq!(producer.add_partition(3, "t", 0), ErrorCode::None);
    assert_eq!(producer.produce("t", 0, "added"), ErrorCode::None);
    let verify = |id: i64, epoch: i16| AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: "id".into(),
            producer_id: id,
            producer_epoch: epoch,
            verify_only: true,
            topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0, 1], ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let (id, epoch) = (producer.producer_id, producer.epoch);
    for (request, expected) in [
        (verify(id, epoch), [ErrorCode::None, ErrorCode::TransactionAbortable]),
        (verify(id + 1, epoch), [ErrorCode::InvalidProducerIdMapping; 2]),
        (verify(id, epoch + 1), [ErrorCode::ProducerFenced; 2]),
    ] {
        let answer = client.call(5, &request);
        let results = &answer.results_by_transaction[0].topic_results[0].results_by_partition;
        let errors: Vec<_> = results.iter().map(|result| ErrorCode::from(result.partition_error_code)).collect();
        assert_eq!(errors, expected);
    }
    assert_eq!(producer.end(true), ErrorCode::None);
    producer.comes_to("CompleteCommit");
}

#[test]
fn transactions_are_listed_by_state_producer_age_and_name() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut open = Producer::start(broker.bootstrap_servers(), "orders-1", Generation::New);
    let _empty = Producer::start(broker.bootstrap_servers(), "orders-2", Generation::New);
    assert_eq!(open.send("t", 0, "a"), ErrorCode::None);
    let any = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    let mut listed = |request: ListTransactionsRequest| {
        let answer = client.call(2, &request);
        let mut ids: Vec<_> = answer.transaction_states.into_iter().map(|state| state.transactional_id).collect();
        ids.sort();
        (ErrorCode::from(answer.error_code), ids, answer.unknown_state_filters)
    };
    let both = vec!["orders-1".to_owned(), "orders-2".to_owned()];
    assert_eq!(listed(any.clone()), (ErrorCode::None, both.clone(), vec![]));
    let of_state = ListTransactionsRequest { state_filters: vec!["Ongoing".into(), "Lost".into()], ..any.clone() };
    assert_eq!(listed(of_state), (ErrorCode::None, vec!["orders-1".into()], vec!["Lost".into()]));
    let of_producer = ListTransactionsRequest { producer_id_filters: vec![open.producer_id], ..any.clone() };
    assert_eq!(listed(of_producer).1, ["orders-1"]);
    let old = ListTransactionsRequest { duration_filter: 3_600_000, ..any.clone() };
    assert_eq!(listed(old).1, ["orders-2"], "what never began is as old as can be, as in Kafka");
    let named = ListTransactionsRequest { transactional_id_pattern: Some(".*-2".into()), ..any.clone() };
    assert_eq!(listed(named).1, ["orders-2"]);
    let part = ListTransactionsRequest { transactional_id_pattern: Some("orders".into()), ..any.clone() };
    assert_eq!(listed(part).1, Vec::<String>::new(), "the whole name is meant");
    let wrong = ListTransactionsRequest { transactional_id_pattern: Some("(".into()), ..any };
    assert_eq!(listed(wrong).0, ErrorCode::InvalidRegularExpression);
}

#[test]
fn a_marker_of_a_tool_ends_what_hangs() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::New);
    assert_eq!(producer.send("t", 0, "a"), ErrorCode::None);
    assert_eq!(producer.commit_offset("group", "t", 0, 3), ErrorCode::None);
    let offsets = producer.describe().topics.into_iter().find(|topic| topic.topic == "__consumer_offsets").unwrap();
    let topic = |name: &str, partitions: Vec<i32>| WritableTxnMarkerTopic {
        name: name.into(),
        partition_indexes: partitions,
        ..Default::default()
    };
    let marker = WritableTxnMarker {
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch,
        transaction_result: false,
        topics: vec![topic("t", vec![0, 9]), topic("__consumer_offsets", offsets.partitions)],
        coordinator_epoch: 0,
        ..Default::default()
    };
    let answer = client.call(1, &WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() });
    let of_topic = |name: &str| answer.markers[0].topics.iter().find(|topic| topic.name == name).unwrap();
    let errors: Vec<_> =
        of_topic("t").partitions.iter().map(|partition| ErrorCode::from(partition.error_code)).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(of_topic("__consumer_offsets").partitions[0].error_code, 0);
    assert_eq!(committed(&mut client, "t", 0), (vec![], 2));
    assert_eq!(stable_offset(&mut client, "group", "t", 0), Ok(-1));
}

#[test]
fn an_epoch_that_was_lost_is_found_again() {
    let broker = support::start();
    Client::connect(&broker).create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::New);
    assert_eq!(producer.send("t", 0, "a"), ErrorCode::None);
    let first = producer.end_once(true);
    producer.comes_to("CompleteCommit");
    let again = producer.end_once(true);
    assert_eq!(
        (again.error_code, again.producer_id, again.producer_epoch),
        (0, first.producer_id, first.producer_epoch)
    );
    let other = producer.end_once(false);
    assert_eq!(ErrorCode::from(other.error_code), ErrorCode::InvalidTxnState, "what is decided stays so");
    // KIP-890: who does not know whether anything is open may abort, and has another epoch for it.
    producer.become_producer(first.producer_id, first.producer_epoch);
    assert_eq!(producer.end(false), ErrorCode::None);
    assert_eq!(producer.epoch, first.producer_epoch + 1);
    producer.comes_to("CompleteAbort");
    assert_eq!(producer.end_once(true).error_code, ErrorCode::InvalidTxnState.code());
}

#[test]
fn a_batch_without_a_transaction_stops_nobody() {
    let broker = support::start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    let mut producer = Producer::start(broker.bootstrap_servers(), "id", Generation::Old);
    let state = ProducerState::transactional(producer.producer_id, producer.epoch, 0);
    let batch = support::batch_of(&["a"], Some(state), Compression::None);
    assert_eq!(producer.produce_batch("t", 0, batch), ErrorCode::TransactionAbortable);
    client.produce("t", 0, &["b"]);
    assert_eq!(committed(&mut client, "t", 0), (vec!["b".into()], 1));
}

/// Sets the level of `transaction.version`, and gives the answer's code.
fn set_level(client: &mut Client, level: i16, upgrade_type: i8) -> ErrorCode {
    let update = FeatureUpdateKey {
        feature: "transaction.version".into(),
        max_version_level: level,
        upgrade_type,
        ..FeatureUpdateKey::default()
    };
    let request = UpdateFeaturesRequest { feature_updates: vec![update], ..UpdateFeaturesRequest::default() };
    ErrorCode::from(client.call(2, &request).error_code)
}

/// The level that clients are told, and the offset of the metadata that it is of.
fn told_level(client: &mut Client) -> (i16, i64) {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let answer = client.call(4, &request);
    let level = answer.finalized_features.iter().find(|feature| feature.name == "transaction.version");
    (level.map_or(0, |feature| feature.max_version_level), answer.finalized_features_epoch)
}

#[test]
fn the_level_of_transactions_is_changed_between_two_of_them_and_is_the_same_after_a_restart() {
    const UPGRADE: i8 = 1;
    const SAFE_DOWNGRADE: i8 = 2;
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<String> = Vec::new();
    for (run, (level, generation)) in
        [(2, Generation::New), (0, Generation::Old), (1, Generation::Old), (2, Generation::New)].into_iter().enumerate()
    {
        let broker = start(dir.path());
        let mut client = Client::connect(&broker);
        if run == 0 {
            client.create_topic("t", 1, &[]);
        }
        let (before, offset) = told_level(&mut client);
        if level != before {
            let wrong = if level < before { UPGRADE } else { SAFE_DOWNGRADE };
            assert_eq!(set_level(&mut client, level, wrong), ErrorCode::InvalidUpdateVersion);
            assert_eq!(told_level(&mut client), (before, offset), "what is refused changes nothing");
            let right = if level < before { SAFE_DOWNGRADE } else { UPGRADE };
            assert_eq!(set_level(&mut client, level, right), ErrorCode::None);
            assert!(told_level(&mut client).1 > offset);
        }
        assert_eq!(told_level(&mut client).0, level);

        let mut producer = Producer::start(broker.bootstrap_servers(), "id", generation);
        let epoch = producer.epoch;
        for committed in [true, false] {
            let value = format!("{run} {committed}");
            assert_eq!(producer.send("t", 0, &value), ErrorCode::None);
            assert_eq!(producer.end(committed), ErrorCode::None);
            producer.comes_to(if committed { "CompleteCommit" } else { "CompleteAbort" });
            expected.extend(committed.then_some(value));
        }
        assert_eq!(producer.epoch - epoch, if level == 2 { 2 } else { 0 }, "level {level}");
        assert_eq!(committed(&mut client, "t", 0).0, expected);
        broker.abort();
    }
    let broker = start(dir.path());
    let mut client = Client::connect(&broker);
    assert_eq!(told_level(&mut client).0, 2);
    assert_eq!(committed(&mut client, "t", 0).0, expected);
}
