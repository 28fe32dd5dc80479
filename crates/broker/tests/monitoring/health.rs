//! What is wrong, in words.

use std::fs;

use vltava_broker::embedded::{Broker, Config};

use crate::support::Client;

#[test]
fn a_log_directory_that_is_offline_is_told_with_its_partitions() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    let start = || {
        let dirs = format!("{},{}", a.display(), b.display());
        let config = Config::default().dir(root.path()).property("log.dirs", dirs);
        Broker::start(config.property("metrics.http.address", "127.0.0.1:0")).unwrap()
    };
    let broker = start();
    Client::connect(&broker).create_topic("t", 2, &[]);
    assert_eq!(broker.health().unwrap().lines().next(), Some("ok"));
    drop(broker);

    fs::remove_dir_all(&b).unwrap();
    fs::write(&b, "no directory").unwrap();
    let broker = start();
    let told = broker.health().unwrap_err();
    let b = b.display();
    assert!(told.contains(&format!("log directory {b} is offline until the broker is started again: ")), "{told}");
    assert!(told.ends_with("1 partitions are offline: they can be neither written nor read"), "{told}");
    let answer = crate::http::ask(broker.metrics_address().unwrap(), "/health").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(&format!("\r\n\r\n{told}\n")), "{answer}");
    let text = broker.metrics();
    let is = |sample: String| assert!(text.contains(&format!("{sample}\n")), "{sample}");
    is(format!("kafka_log_logmanager_logdirectoryoffline{{logDirectory=\"{b}\"}} 1"));
    is("kafka_log_logmanager_offlinelogdirectorycount 1".to_owned());
    is("kafka_server_replicamanager_offlinereplicacount 1".to_owned());
    is("kafka_controller_kafkacontroller_offlinepartitionscount 1".to_owned());
}
