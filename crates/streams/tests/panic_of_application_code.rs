//! A panic of application code is an error of the node it happened at: the handlers decide about it, and the rest of the
//! topology goes on.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail loudly")]

use std::time::Duration;

use vltava_streams::{
    Consumed, Context, Error, Processor, Produced, PunctuationType, Record, Result, SerdeError, StreamsBuilder,
    StreamsConfig, TopologyTestDriver,
    handler::{ErrorHandlerContext, HandlerResponse, ProcessingExceptionHandler},
    serdes::{Serde, StringSerde},
};

fn driver(builder: &StreamsBuilder, settings: &[(&str, &str)]) -> TopologyTestDriver {
    let config = StreamsConfig::builder("app");
    let config = settings.iter().fold(config, |config, (key, value)| config.set(*key, *value)).build().unwrap();
    TopologyTestDriver::with_config(&builder.build().unwrap(), &config, 0).unwrap()
}

const CONTINUE: (&str, &str) = ("processing.exception.handler", "LogAndContinueProcessingExceptionHandler");

fn tenth(n: i64) -> i64 {
    if n == 0 { panic!("nothing to divide by") } else { 10 / n }
}

#[test]
fn it_fails_the_task_and_tells_where() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").map_values(tenth).to("out");
    let driver = driver(&builder, &[]);
    let input = driver.input_topic::<String, i64>("in");
    input.pipe("k".to_owned(), 5).unwrap();
    let error = input.pipe("k".to_owned(), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task 0_0 failed at KSTREAM-MAPVALUES-0000000001 on the record of in-0 at offset 1: application code panicked: \
         nothing to divide by"
    );
    assert!(error.is_fatal());
    assert_eq!(driver.output_topic::<String, i64>("out").read_values().unwrap(), [2]);
}

#[test]
fn the_other_branches_go_on() {
    let builder = StreamsBuilder::new();
    let stream = builder.stream::<String, i64>("in");
    let tenths = stream.map_values(tenth);
    // A node with two parents: it must be found again after one of them panicked below it.
    let merged = tenths.merge(&stream).map_values(|n| if n == 7 { panic!("seven") } else { n });
    merged.to("out");
    let driver = driver(&builder, &[CONTINUE]);
    let input = driver.input_topic::<String, i64>("in");
    for n in [5, 0, 7, 2] {
        input.pipe("k".to_owned(), n).unwrap();
    }
    assert_eq!(driver.output_topic::<String, i64>("out").read_values().unwrap(), [2, 5, 0, 1, 5, 2]);
    assert_eq!(driver.dropped_records(), 2);
}

struct Ticks;

impl Processor for Ticks {
    type KIn = String;
    type VIn = i64;
    type KOut = String;
    type VOut = i64;

    fn init(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        ctx.schedule(Duration::from_millis(10), PunctuationType::StreamTime, |_, now, ctx| {
            assert!(now >= 20, "too early");
            ctx.forward(Record::new("tick".to_owned(), now, now))
        })?;
        Ok(())
    }

    fn process(&mut self, record: Record<String, i64>, _: &mut Context<'_, Self>) -> Result<()> {
        assert!(record.value > 0, "not positive");
        Ok(())
    }
}

#[test]
fn processors_and_punctuators_stay() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").process(|| Ticks).to("out");
    let driver = driver(&builder, &[CONTINUE]);
    let input = driver.input_topic::<String, i64>("in");
    for (value, timestamp) in [(-1, 0), (1, 10), (1, 20), (1, 30)] {
        input.pipe_at("k".to_owned(), value, timestamp).unwrap();
    }
    assert_eq!(driver.output_topic::<String, i64>("out").read_values().unwrap(), [20, 30]);
    // The first record, and the punctuations at 0 and at 10.
    assert_eq!(driver.dropped_records(), 3);
}

#[test]
fn a_punctuator_fails_with_its_node() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").process(|| Ticks).to("out");
    let driver = driver(&builder, &[]);
    let error = driver.input_topic::<String, i64>("in").pipe_at("k".to_owned(), 1, 0).unwrap_err();
    let message = "task 0_0 failed at KSTREAM-PROCESSOR-0000000001: application code panicked: too early";
    assert_eq!(error.to_string(), message);
}

/// Cannot stand the letter x.
#[derive(Debug)]
struct Fragile;

impl Serde<String> for Fragile {
    fn serialize(&self, _: &str, data: &String, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        assert!(!data.contains('x'), "an x to write");
        out.extend_from_slice(data.as_bytes());
        Ok(())
    }

    fn deserialize(&self, _: &str, bytes: &[u8]) -> Result<String, SerdeError> {
        assert!(!bytes.contains(&b'x'), "an x to read");
        String::from_utf8(bytes.to_vec()).map_err(SerdeError::new)
    }
}

#[test]
fn serdes_have_their_own_handlers() {
    let builder = StreamsBuilder::new();
    let consumed = Consumed::with(StringSerde, Fragile);
    let stream = builder.stream_with::<String, String>(consumed, "in");
    let produced = Produced::with(StringSerde, Fragile);
    stream.map_values(|text: String| text.replace('y', "x")).to_with(produced, "out");
    let driver = driver(&builder, &[("deserialization.exception.handler", "LogAndContinueExceptionHandler"), CONTINUE]);
    let input = driver.input_topic::<String, String>("in");
    input.pipe("k".to_owned(), "ax".to_owned()).unwrap();
    assert_eq!(driver.dropped_records(), 1);
    let error = input.pipe("k".to_owned(), "by".to_owned()).unwrap_err();
    let Error::Processing { source, .. } = &*error else { panic!("{error}") };
    assert!(matches!(&**source, Error::Serialization { topic, .. } if topic == "out"), "{source}");
    assert!(error.to_string().contains("an x to write"), "{error}");
}

struct Nervous;

impl ProcessingExceptionHandler for Nervous {
    fn handle(&self, _: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        panic!("asked about: {error}")
    }
}

#[test]
fn a_handler_that_panics_stops_the_task() {
    let builder = StreamsBuilder::new();
    builder.stream::<String, i64>("in").filter(|_, _| true).map_values(tenth).to("out");
    let config = StreamsConfig::builder("app").processing_exception_handler(Nervous).build().unwrap();
    let driver = TopologyTestDriver::with_config(&builder.build().unwrap(), &config, 0).unwrap();
    let error = driver.input_topic::<String, i64>("in").pipe("k".to_owned(), 0).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("task 0_0 failed at KSTREAM-MAPVALUES-0000000002 on the record of in-0"), "{message}");
    assert!(message.contains("asked about: application code panicked: nothing to divide by"), "{message}");
}
