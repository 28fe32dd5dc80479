//! Who loses his place.

use std::time::Duration;

use vltava_client::ClientError;

use super::setup::{PATIENCE, Setup, record};

pub(crate) async fn a_successor_fences_and_ends_what_was_open(setup: &Setup) {
    let topic = setup.topic("t", 2, &[]).await;
    let first = setup.ready("p").await;
    let transaction = first.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "of the first")).await.unwrap().await.unwrap();

    let second = setup.ready("p").await;
    let of_second = second.begin_transaction().await.unwrap();
    for partition in 0..2 {
        of_second.send(record(&topic, partition, "of the second")).await.unwrap();
    }
    // Whatever the first one does now is refused, at the latest by the end.
    let more = transaction.send(record(&topic, 1, "late")).await;
    let late = match more {
        Ok(delivery) => delivery.await.map(drop),
        Err(error) => Err(error),
    };
    assert!(late.is_err());
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_fenced() || error.code() == Some(vltava_client::ErrorCode::InvalidProducerEpoch), "{error}");
    // The abort that follows a refused batch is refused itself.
    let error = first.begin_transaction().await.unwrap_err();
    assert!(error.is_fenced() && error.is_fatal(), "{error}");
    assert!(matches!(error, ClientError::ProducerFailed { .. }) && error.to_string().contains("close it"), "{error}");
    first.close(PATIENCE).await.unwrap();
    of_second.commit().await.unwrap();
    assert_eq!(setup.committed(&topic, 2).await, ["of the second", "of the second"]);
}

pub(crate) async fn a_transaction_that_is_too_old_is_aborted(setup: &Setup) {
    let topic = setup.topic("t", 1, &[]).await;
    let producer = setup.producer("p", &[("transaction.timeout.ms", "500")]);
    producer.init_transactions().await.unwrap();
    let transaction = producer.begin_transaction().await.unwrap();
    transaction.send(record(&topic, 0, "too old")).await.unwrap().await.unwrap();
    // Its records are behind the last stable offset until the coordinator has ended it: then a reader of committed records
    // sees the next ones.
    let other = setup.ready("other").await;
    let following = other.begin_transaction().await.unwrap();
    following.send(record(&topic, 0, "next")).await.unwrap();
    following.commit().await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while setup.committed(&topic, 1).await != ["next"] {
        assert!(tokio::time::Instant::now() < deadline, "it is never aborted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = transaction.commit().await.unwrap_err();
    // Fenced with version 1, and an invalid state with version 2: fatal in both, unless the broker lets it go on.
    let again = producer.begin_transaction().await;
    assert!(error.is_fatal() == again.is_err(), "{error}, then {again:?}");
    if let Ok(transaction) = again {
        transaction.send(record(&topic, 0, "after")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(setup.committed(&topic, 1).await, ["after", "next"]);
    }
}
