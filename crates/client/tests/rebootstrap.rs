//! A client whose brokers are gone (KIP-899, KIP-1102).
#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

use std::net::TcpListener;

use vltava_broker::{Broker, BrokerConfig};
use vltava_client::net::Cluster;
use vltava_client::{AdminConfig, ClientError};

#[tokio::test]
async fn a_client_whose_known_brokers_are_gone_starts_again_from_its_bootstrap_servers() {
    let directory = tempfile::tempdir().unwrap();
    // The broker answers at its own port, and tells of one where nobody listens: all that is known is gone at once.
    let config = BrokerConfig::from_properties([
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:1"),
        ("log.dirs", directory.path().to_str().unwrap()),
    ])
    .unwrap();
    let broker = Broker::start(config).unwrap();
    let bootstrap = broker.addresses()[0].to_string();
    let cluster = |strategy: &str| {
        let config = AdminConfig::from_properties([
            ("bootstrap.servers", bootstrap.as_str()),
            ("metadata.recovery.strategy", strategy),
        ]);
        Cluster::new(config.unwrap().common()).unwrap()
    };

    let recovering = cluster("rebootstrap");
    recovering.refresh().await.unwrap();
    recovering.refresh().await.unwrap();

    let stubborn = cluster("none");
    stubborn.refresh().await.unwrap();
    let error = stubborn.refresh().await.unwrap_err();
    assert!(matches!(error, ClientError::NoBrokerAvailable { .. }), "{error}");
}

#[tokio::test]
async fn a_client_without_metadata_for_too_long_starts_again_from_its_bootstrap_servers() {
    for (trigger, asks_known) in [("0", false), ("3600000", true)] {
        let directory = tempfile::tempdir().unwrap();
        // The broker tells of one that takes connections and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let advertised = format!("PLAINTEXT://{}", silent.local_addr().unwrap());
        let config = BrokerConfig::from_properties([
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("advertised.listeners", advertised.as_str()),
            ("log.dirs", directory.path().to_str().unwrap()),
        ])
        .unwrap();
        let broker = Broker::start(config).unwrap();
        let bootstrap = broker.addresses()[0].to_string();
        let config = AdminConfig::from_properties([
            ("bootstrap.servers", bootstrap.as_str()),
            ("metadata.max.age.ms", "0"),
            ("metadata.recovery.rebootstrap.trigger.ms", trigger),
            ("socket.connection.setup.timeout.ms", "200"),
            ("socket.connection.setup.timeout.max.ms", "200"),
        ]);
        let cluster = Cluster::new(config.unwrap().common()).unwrap();
        cluster.refresh().await.unwrap();
        cluster.refresh().await.unwrap();
        assert_eq!(silent.accept().is_ok(), asks_known, "after {trigger} ms");
    }
}
