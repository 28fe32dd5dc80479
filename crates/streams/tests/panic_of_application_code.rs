//! A panic in a closure is an error of the task, not the end of the process.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail loudly")]

use vltava_streams::{Error, StreamsBuilder, TopologyTestDriver};

#[test]
fn a_panic_is_an_error() {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, i64>("in")
        .map_values(|n| if n == 0 { panic!("nothing to divide by") } else { 10 / n })
        .to("out");
    let driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let input = driver.input_topic::<String, i64>("in");
    input.pipe("k".to_owned(), 5).unwrap();
    let error = input.pipe("k".to_owned(), 0).unwrap_err();
    assert!(matches!(&*error, Error::Panic(message) if message == "nothing to divide by"), "{error}");
    assert!(error.is_fatal());
    assert_eq!(driver.output_topic::<String, i64>("out").read_values().unwrap(), [2]);
}
