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
