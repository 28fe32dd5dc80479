//! Records for `errors.dead.letter.queue.topic.name` (KIP-1034).

use bytes::Bytes;
use vltava_client::ClientError;
use vltava_protocol::ErrorCode;

use super::{DeadLetter, ErrorHandlerContext};
use crate::error::Error;

/// The source record as it came, with headers that tell what happened. Where its bytes are not known any more, those of
/// the record that it led to.
pub(super) fn dead_letters(
    topic: Option<&String>,
    context: &ErrorHandlerContext<'_>,
    error: &Error,
    (key, value): (Option<Bytes>, Option<Bytes>),
) -> Vec<DeadLetter> {
    let Some(topic) = topic else { return Vec::new() };
    let (name, message) = exception(error);
    let mut headers = context.headers.clone();
    let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    headers.add("__streams.errors.exception", bytes(&name));
    headers.add("__streams.errors.message", bytes(&message));
    headers.add("__streams.errors.stacktrace", bytes(&trace(error)));
    headers.add("__streams.errors.topic", context.topic.and_then(bytes));
    headers.add("__streams.errors.partition", bytes(&context.partition.to_string()));
    headers.add("__streams.errors.offset", bytes(&context.offset.to_string()));
    let timestamp = Some(context.timestamp).filter(|timestamp| *timestamp >= 0);
    vec![DeadLetter { topic: topic.clone(), partition: None, timestamp, headers, key, value }]
}

/// The class of the JVM's exception, where there is one, and the message.
fn exception(error: &Error) -> (String, String) {
    let common = |class: &str| format!("org.apache.kafka.common.errors.{class}");
    match error {
        Error::User { type_name, source } => ((*type_name).to_owned(), source.to_string()),
        Error::Panic(message) => ("panic".to_owned(), message.clone()),
        Error::Deserialization { source, .. } | Error::Serialization { source, .. } => {
            (common("SerializationException"), source.to_string())
        }
        Error::Production { source, .. } => {
            let class = match source {
                ClientError::Broker { code, .. } => code.exception_name(),
                ClientError::RecordTooLarge { .. } => ErrorCode::MessageTooLarge.exception_name(),
                error if error.is_retriable() => "TimeoutException",
                _ => return ("org.apache.kafka.common.KafkaException".to_owned(), source.to_string()),
            };
            (common(class), source.to_string())
        }
        other => ("org.apache.kafka.streams.errors.StreamsException".to_owned(), other.to_string()),
    }
}

/// The error and what led to it, a line each, as far as Rust has what Java calls a stack trace.
fn trace(error: &Error) -> String {
    let mut lines = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        lines.push_str("\nCaused by: ");
        lines.push_str(&cause.to_string());
        source = cause.source();
    }
    lines
}
