//! Brokers that go and come back.

use vltava_broker::embedded;

use crate::support::*;

fn broker_at(dir: &std::path::Path, listener: &str) -> embedded::Broker {
    let config = embedded::Config::default()
        .dir(dir)
        .property("listeners", format!("PLAINTEXT://{listener}"))
        .property("group.min.session.timeout.ms", "500");
    embedded::Broker::start(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_survives_a_restart_of_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_at(dir.path(), "127.0.0.1:0");
    let servers = broker.bootstrap_servers().to_owned();
    create_topic(&servers, "t", 2).await;
    produce(&servers, "t", 2, 100, &[]).await;
    let settings = [("group.id", "g"), ("enable.auto.commit", "false"), ("heartbeat.interval.ms", "100")];
    let consumer = consumer(&servers, &settings);
    consumer.subscribe(["t"]).unwrap();
    let mut records = read(&consumer, 100).await;
    consumer.commit_sync().await.unwrap();

    broker.shutdown().await;
    for _ in 0..5 {
        assert_eq!(consumer.poll(SHORT).await.unwrap().len(), 0, "no broker is no error");
    }
    let broker = broker_at(dir.path(), &servers);
    produce(&servers, "t", 2, 100, &[]).await;
    records.extend(read(&consumer, 100).await);
    assert!(counts(&records).values().all(|&count| count == 2));
    consumer.commit_sync().await.unwrap();
    consumer.close(PATIENCE).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_topic_that_nobody_reads_are_looked_up_in_the_leaders_next_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_at(dir.path(), "127.0.0.1:0");
    let servers = broker.bootstrap_servers().to_owned();
    create_topic(&servers, "t", 1).await;
    produce(&servers, "t", 1, 10, &[]).await;
    let settings = [("default.api.timeout.ms", "15000")];
    let consumer_before = consumer(&servers, &settings);
    // It knows the topic from here on, and nothing keeps what it knows up to date.
    let epoch = consumer_before.partitions_for("t").await.unwrap().partitions[0].leader_epoch;
    // Without a clean end the leader comes back in another epoch.
    broker.abort();
    let broker = broker_at(dir.path(), &servers);
    let later = consumer(&servers, &settings).partitions_for("t").await.unwrap().partitions[0].leader_epoch;
    assert!(later > epoch, "{later} after {epoch}");
    let ends = consumer_before.end_offsets(&[tp("t", 0)]).await.unwrap();
    assert_eq!(ends[&tp("t", 0)], 10);
    broker.shutdown().await;
}
