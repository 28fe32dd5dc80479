//! Canned timestamp extractors, topic extractors, partitioners and exception handlers.

use vltava_streams::{
    AutoOffsetReset, Error, Result, SerdeOrigin, StreamsConfigBuilder,
    dsl::{RecordMetadata, TopicNameExtractor},
    handler::{
        DeadLetter, DeserializationExceptionHandler, ErrorHandlerContext, HandlerResponse, ProcessingExceptionHandler,
        ProductionExceptionHandler, ProductionHandlerResponse,
    },
    record::Headers,
    task::{
        ConsumerRecord, FailOnInvalidTimestamp, LogAndSkipOnInvalidTimestamp, ProducerRecord, TimestampExtractor,
        UsePartitionTimeOnInvalidTimestamp,
    },
};

use super::{
    topology::Step,
    value::{Maybe, Val, text},
};

fn split(spec: &str) -> (&str, &str) {
    spec.split_once(':').unwrap_or((spec, ""))
}

/// A timestamp extractor by its specification.
pub enum Extractor {
    FailOnInvalid,
    LogAndSkip,
    UsePartitionTime,
    ValueAt,
    Constant(i64),
    AfterPartitionTime(i64),
}

impl Extractor {
    pub fn parse(spec: &str) -> Self {
        let (head, argument) = split(spec);
        match head {
            "fail_on_invalid" => Extractor::FailOnInvalid,
            "log_and_skip" => Extractor::LogAndSkip,
            "use_partition_time" => Extractor::UsePartitionTime,
            "value_at" => Extractor::ValueAt,
            "constant" => Extractor::Constant(argument.parse().unwrap()),
            "after_partition_time" => Extractor::AfterPartitionTime(argument.parse().unwrap()),
            _ => panic!("unknown timestamp extractor {spec}"),
        }
    }
}

impl TimestampExtractor<Val, Val> for Extractor {
    fn extract(&self, record: &ConsumerRecord<'_, Val, Val>, partition_time: i64) -> Result<i64> {
        match self {
            Extractor::FailOnInvalid => FailOnInvalidTimestamp.extract(record, partition_time),
            Extractor::LogAndSkip => LogAndSkipOnInvalidTimestamp.extract(record, partition_time),
            Extractor::UsePartitionTime => UsePartitionTimeOnInvalidTimestamp.extract(record, partition_time),
            Extractor::ValueAt => {
                let text = text(&record.value.cloned());
                Ok(text.rsplit_once('@').map_or(record.timestamp, |(_, number)| number.parse().unwrap()))
            }
            Extractor::Constant(timestamp) => Ok(*timestamp),
            Extractor::AfterPartitionTime(by) => Ok(partition_time + by),
        }
    }
}

/// `earliest`, `latest` or `none`.
pub fn offset_reset(name: &str) -> AutoOffsetReset {
    match name {
        "earliest" => AutoOffsetReset::Earliest,
        "latest" => AutoOffsetReset::Latest,
        "none" => AutoOffsetReset::None,
        _ => panic!("unknown offset reset {name}"),
    }
}

/// A topic extractor by its specification, which is also how it shows in a description.
pub struct TopicExtractor(pub String);

impl TopicNameExtractor<Maybe, Maybe> for TopicExtractor {
    fn extract(&self, key: &Maybe, value: &Maybe, metadata: &RecordMetadata<'_>) -> String {
        let (head, argument) = split(&self.0);
        match head {
            "key" => format!("{argument}{}", text(key)),
            "source_topic" => format!("{argument}{}", metadata.topic.unwrap_or("null")),
            "value_length" => {
                let length = value.as_ref().map_or(0, |_| text(value).chars().count());
                format!("{argument}{length}")
            }
            _ => panic!("unknown topic extractor {}", self.0),
        }
    }

    fn name(&self) -> String {
        self.0.clone()
    }
}

/// A partitioner by its specification.
pub fn partitioner(
    spec: &str,
) -> impl Fn(&str, Option<&Val>, Option<&Val>, i32) -> Option<Vec<i32>> + Send + Sync + 'static {
    let (head, argument) = split(spec);
    let (head, argument) = (head.to_owned(), argument.to_owned());
    move |_, _, value, _| match head.as_str() {
        "zero" => Some(vec![0]),
        "default" => None,
        "drop_if" if text(&value.cloned()) == argument => Some(Vec::new()),
        "drop_if" => Some(vec![0]),
        _ => panic!("unknown partitioner {head}"),
    }
}

/// Sets one configuration of a case, its classes being canned names.
pub fn configure(config: StreamsConfigBuilder, key: &str, value: &str) -> Step<StreamsConfigBuilder> {
    Ok(match (key, value) {
        ("deserialization.exception.handler", "dlq") => config.deserialization_exception_handler(DeadLetters),
        ("processing.exception.handler", "dlq") => config.processing_exception_handler(DeadLetters),
        ("production.exception.handler", "dlq") => config.production_exception_handler(DeadLetters),
        ("production.exception.handler", "continue") => config.production_exception_handler(Continue),
        ("production.exception.handler", "default") => config,
        ("default.timestamp.extractor", "fail_on_invalid") => config.set(key, "FailOnInvalidTimestamp"),
        ("default.timestamp.extractor", "log_and_skip") => config.set(key, "LogAndSkipOnInvalidTimestamp"),
        ("default.timestamp.extractor", "use_partition_time") => config.set(key, "UsePartitionTimeOnInvalidTimestamp"),
        // Extractors of an application are given to each source here: see `Interpreter::consumed`.
        ("default.timestamp.extractor", _) => config,
        _ => config.set(key, value),
    })
}

/// Resumes and writes a letter to `custom-dlq` that says where the error happened.
struct DeadLetters;

/// Resumes after every error of production.
struct Continue;

/// The simple class name that the JVM gives such an error.
fn class_of(error: &Error) -> &str {
    match error {
        Error::User { type_name, .. } => type_name,
        Error::Serialization { .. } | Error::Deserialization { .. } => "SerializationException",
        Error::Processing { source, .. } => class_of(source),
        _ => "StreamsException",
    }
}

fn letter(kind: &str, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
    let text = format!(
        "{kind} node={} topic={} partition={} offset={} task={} ts={} error={}",
        context.processor_node_id,
        context.topic.unwrap_or("null"),
        context.partition,
        context.offset,
        context.task_id,
        context.timestamp,
        class_of(error)
    );
    HandlerResponse::resume().with_dead_letters(vec![DeadLetter {
        topic: "custom-dlq".to_owned(),
        partition: None,
        timestamp: Some(context.timestamp),
        headers: Headers::new(),
        key: context.source_raw_key.clone(),
        value: Some(text.into_bytes().into()),
    }])
}

impl DeserializationExceptionHandler for DeadLetters {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        letter("deserialization", context, error)
    }
}
impl ProcessingExceptionHandler for DeadLetters {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        letter("processing", context, error)
    }
}
impl ProductionExceptionHandler for DeadLetters {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &ProducerRecord<'_>, _: &Error) -> ProductionHandlerResponse {
        ProductionHandlerResponse::fail()
    }
    fn handle_serialization(
        &self,
        context: &ErrorHandlerContext<'_>,
        _topic: &str,
        origin: SerdeOrigin,
        error: &Error,
    ) -> HandlerResponse {
        letter(&format!("serialization-{origin}"), context, error)
    }
}
impl ProductionExceptionHandler for Continue {
    fn handle(&self, _: &ErrorHandlerContext<'_>, _: &ProducerRecord<'_>, _: &Error) -> ProductionHandlerResponse {
        ProductionHandlerResponse::resume()
    }
    fn handle_serialization(&self, _: &ErrorHandlerContext<'_>, _: &str, _: SerdeOrigin, _: &Error) -> HandlerResponse {
        HandlerResponse::resume()
    }
}
