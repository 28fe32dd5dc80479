//! How transactions end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use vltava_client::ClientError;
use vltava_client::config::IsolationLevel;
use vltava_client::producer::ProducerRecord;

use super::setup::{PATIENCE, Setup, record};

pub(crate) async fn a_commit_shows_everything_and_an_abort_nothing(setup: &Setup) {
    let topic = setup.topic("t", 3, &[]).await;
    let producer = setup.ready("p").await;
    for round in 0..10 {
        let is_committed = round % 3 != 1;
        let transaction = producer.begin_transaction().await.unwrap();
        let called = Arc::new(AtomicUsize::new(0));
        for partition in 0..3 {
            for number in 0..5 {
                let value = format!("{is_committed} {round} {partition} {number}");
                let called = Arc::clone(&called);
                let count = move |_| {
                    called.fetch_add(1, Ordering::SeqCst);
                };
                transaction.send_with(record(&topic, partition, &value), count).await.unwrap();
            }
        }
        if is_committed {
            transaction.commit().await.unwrap();
        } else {
            transaction.abort().await.unwrap();
        }
        assert_eq!(called.load(Ordering::SeqCst), 15, "every callback has run when a transaction is over");
    }
    let seen = setup.committed(&topic, 3).await;
    assert_eq!(seen.len(), 7 * 15);
    assert!(seen.iter().all(|value| value.starts_with("true")), "{seen:?}");
    producer.close(PATIENCE).await.unwrap();
}

pub(crate) async fn a_transaction_that_is_dropped_is_aborted(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.ready("p").await;
    for round in 0..3 {
        let dropped = producer.begin_transaction().await.unwrap();
        dropped.send(record(&topic, 0, "dropped")).await.unwrap().await.unwrap();
        // This one stays in the buffer, and is told so.
        let unsent = dropped.send(record(&topic, 0, "dropped")).await.unwrap();
        drop(dropped);
        let next = producer.begin_transaction().await.unwrap();
        match unsent.await {
            Ok(_) | Err(ClientError::TransactionAborted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        next.send(record(&topic, 0, &format!("kept {round}"))).await.unwrap();
        next.commit().await.unwrap();
    }
    assert_eq!(setup.committed(&topic, 1).await, ["kept 0", "kept 1", "kept 2"]);
    let all = setup.read(&topic, 1, IsolationLevel::ReadUncommitted).await;
    assert!(all[&0].iter().filter(|value| *value == "dropped").count() >= 3, "{all:?}");
}

fn assert_wrong(result: Result<(), ClientError>, expected: &str) {
    match result {
        Err(ClientError::InvalidState { reason }) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?} in place of {expected}"),
    }
}

pub(crate) async fn calls_in_the_wrong_state_are_refused(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.producer("p", &[]);
    let begin = || async { producer.begin_transaction().await.map(|transaction| transaction.detach()) };
    let send = || async { producer.send(record(&topic, 0, "x")).await.map(drop) };
    assert_wrong(begin().await, "call init_transactions first");
    assert_wrong(send().await, "call init_transactions");
    producer.init_transactions().await.unwrap();
    assert_wrong(producer.init_transactions().await, "initialized already");
    assert_wrong(send().await, "no transaction is open");
    assert_wrong(producer.commit_transaction().await, "no transaction is open");
    assert_wrong(producer.abort_transaction().await, "no transaction is open");
    begin().await.unwrap();
    assert_wrong(begin().await, "neither committed nor aborted");
    send().await.unwrap();
    producer.commit_transaction().await.unwrap();
    assert_eq!(setup.committed(&topic, 1).await, ["x"]);
}

pub(crate) async fn an_end_without_records_costs_nothing(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.ready("p").await;
    for _ in 0..3 {
        producer.begin_transaction().await.unwrap().commit().await.unwrap();
        producer.begin_transaction().await.unwrap().abort().await.unwrap();
    }
    let transaction = producer.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "a")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(setup.committed(&topic, 1).await, ["a"]);
}

pub(crate) async fn a_cancelled_commit_is_told_when_it_is_called_again(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.ready("p").await;
    let transaction = producer.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "a")).await.unwrap();
    {
        let mut commit = pin!(transaction.commit());
        let begun = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(begun, Poll::Pending));
    }
    assert_wrong(producer.begin_transaction().await.map(drop), "call commit_transaction again");
    assert_wrong(producer.abort_transaction().await, "call commit_transaction again");
    producer.commit_transaction().await.unwrap();
    let next = producer.begin_transaction().await.unwrap();
    next.send(record(&topic, 0, "b")).await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(setup.committed(&topic, 1).await, ["a", "b"]);
}

pub(crate) async fn a_record_that_is_refused_fails_its_transaction(setup: &Setup) {
    let topic = setup.topic("t", 2, &[("max.message.bytes", "1000")]).await;
    let producer = setup.ready("p").await;
    for round in 0..3 {
        let transaction = producer.begin_transaction().await.unwrap();
        transaction.send(record(&topic, 0, "beside")).await.unwrap().await.unwrap();
        let large = transaction.send(record(&topic, 1, &"x".repeat(5000))).await.unwrap();
        assert!(large.await.is_err());
        let error = transaction.send(record(&topic, 0, "more")).await.unwrap_err();
        assert!(matches!(error, ClientError::TransactionFailed { .. }), "{error}");
        let error = transaction.commit().await.unwrap_err();
        assert!(error.is_abortable() && !error.is_fatal() && !error.is_retriable(), "{error}");
        // What the commit did not do was aborted by it.
        let transaction = producer.begin_transaction().await.unwrap();
        let too_large = vec![b'x'; 2 << 20];
        let error = transaction.send(ProducerRecord::new(&topic).value(&too_large)).await.unwrap_err();
        assert!(matches!(error, ClientError::RecordTooLarge { .. }), "{error}");
        assert!(matches!(transaction.commit().await, Err(ClientError::TransactionFailed { .. })));
        let transaction = producer.begin_transaction().await.unwrap();
        for partition in 0..2 {
            transaction.send(record(&topic, partition, &format!("kept {round}"))).await.unwrap();
        }
        transaction.commit().await.unwrap();
        producer.flush().await.unwrap();
    }
    let expected = ["kept 0", "kept 0", "kept 1", "kept 1", "kept 2", "kept 2"];
    assert_eq!(setup.committed(&topic, 2).await, expected);
}

pub(crate) async fn closing_aborts(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.ready("p").await;
    let transaction = producer.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "a")).await.unwrap().await.unwrap();
    producer.close(PATIENCE).await.unwrap();
    assert!(matches!(transaction.send(record(&topic, 0, "b")).await, Err(ClientError::Closed)));
    drop(transaction);
    // Nobody waits behind it.
    assert_eq!(setup.committed(&topic, 1).await, [""; 0]);
    let read = setup.read(&topic, 1, IsolationLevel::ReadUncommitted).await;
    assert_eq!(read[&0], ["a"]);
}
