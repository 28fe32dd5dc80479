use super::*;

#[test]
fn the_tables_are_sorted_and_their_defaults_pass_their_own_checks() {
    for table in [BROKER_KEYS, TOPIC_KEYS] {
        assert!(table.is_sorted_by(|a, b| a.name < b.name));
        for key in table {
            if let Some(default) = key.default {
                assert_eq!(key.parse(default).as_deref(), Ok(default), "{}", key.name);
            }
        }
    }
    assert_eq!(TOPIC_KEYS.len(), 33);
}

#[test]
fn every_synonym_is_a_key_of_the_broker() {
    for topic in TOPIC_KEYS {
        for (synonym, _) in broker_synonyms(topic.name) {
            assert!(find(BROKER_KEYS, synonym).is_some(), "{synonym}");
        }
    }
}

#[test]
fn a_wrong_value_names_key_value_and_range() {
    let error = BrokerConfig::from_properties([("num.partitions", "0")]).unwrap_err();
    assert_eq!(error.to_string(), "invalid value `0` for `num.partitions`: Value must be at least 1");
}

#[test]
fn kafkas_example_server_properties_is_accepted() {
    let text = "process.roles=broker,controller\nnode.id=7\n\
        controller.quorum.bootstrap.servers=localhost:9093\n\
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
        controller.listener.names=CONTROLLER\n\
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
        num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
        socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n\
        log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=2\n\
        offsets.topic.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\n\
        share.coordinator.state.topic.min.isr=1\ntransaction.state.log.replication.factor=1\n\
        transaction.state.log.min.isr=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n\
        log.retention.check.interval.ms=300000\n";
    let config = BrokerConfig::from_properties_text(text).unwrap();
    assert_eq!(config.node_id, 7);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.advertised_listeners[0].host, "localhost");
    let unknown: Vec<&String> = config.warnings().iter().filter(|w| w.starts_with("unknown")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn unknown_keys_warn_with_the_nearest_one() {
    let config = BrokerConfig::from_properties([("num.partition", "3"), ("num.replica.fetchers", "2")]).unwrap();
    assert_eq!(
        config.warnings(),
        [
            "unknown key `num.partition` has no effect, did you mean `num.partitions`?",
            "`num.replica.fetchers` is known to Kafka, this broker does not act on it yet",
        ]
    );
}
