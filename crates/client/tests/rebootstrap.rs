//! A client whose brokers are gone (KIP-899, KIP-1102).
#![allow(clippy::unwrap_used, reason = "a broken test fails loudly")]

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
