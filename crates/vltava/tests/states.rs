//! The states of an application while others join and leave it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use vltava::{
    client::{Admin, AdminConfig, admin::NewTopic},
    embedded,
    streams::{KafkaStreams, State, StreamsBuilder, StreamsConfig},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn instance(broker: &str, directory: &std::path::Path) -> KafkaStreams {
    let builder = StreamsBuilder::new();
    builder.stream::<Option<String>, String>("in").to("out");
    let config = StreamsConfig::from_properties([
        ("application.id", "states"),
        ("heartbeat.interval.ms", "100"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
    ]);
    KafkaStreams::new(builder.build().unwrap(), config.unwrap()).unwrap()
}

/// The next changes of state that the listener is told, from which to which.
async fn expect(told: &mut mpsc::UnboundedReceiver<(State, State)>, changes: [(State, State); 2]) {
    for change in changes {
        assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().unwrap(), change);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_tells_of_the_rebalance_that_another_one_brings() {
    let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
    let (directory, other_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = broker.bootstrap_servers();
    let admin = Admin::new(AdminConfig::from_properties([("bootstrap.servers", address)]).unwrap()).unwrap();
    for (_, created) in admin.create_topics(["in", "out"].map(|topic| NewTopic::new(topic).partitions(2))).await {
        created.unwrap();
    }

    let first = instance(address, directory.path());
    let (tell, mut told) = mpsc::unbounded_channel();
    first.set_state_listener(move |state, before| tell.send((before, state)).unwrap());
    first.start().unwrap();
    expect(&mut told, [(State::Created, State::Rebalancing), (State::Rebalancing, State::Running)]).await;

    let rebalance = [(State::Running, State::Rebalancing), (State::Rebalancing, State::Running)];
    let second = instance(address, other_directory.path());
    second.start().unwrap();
    expect(&mut told, rebalance).await;
    assert!(second.wait_for_state(|state| state == State::Running, PATIENCE));

    second.close(PATIENCE).unwrap();
    expect(&mut told, rebalance).await;
    first.close(PATIENCE).unwrap();
    expect(&mut told, [(State::Running, State::PendingShutdown), (State::PendingShutdown, State::NotRunning)]).await;
}
