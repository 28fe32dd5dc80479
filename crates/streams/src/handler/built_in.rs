//! The handlers of Kafka Streams.

use bytes::Bytes;

use super::{
    DeserializationExceptionHandler, ErrorHandlerContext, HandlerResponse, ProcessingExceptionHandler,
    ProductionExceptionHandler, ProductionHandlerResponse, dead_letter::dead_letters,
};
use crate::{
    error::{Error, SerdeOrigin},
    record::ProducerRecord,
};

/// Logs and stops: the default of deserialisation and processing.
#[derive(Clone, Debug, Default)]
pub struct LogAndFail {
    dead_letter_topic: Option<String>,
}

/// Logs and goes on.
#[derive(Clone, Debug, Default)]
pub struct LogAndContinue {
    dead_letter_topic: Option<String>,
}

/// The default of production: begins anew where the error may pass, and stops where not and where a record has no bytes.
#[derive(Clone, Debug, Default)]
pub struct DefaultProductionExceptionHandler {
    dead_letter_topic: Option<String>,
}

impl LogAndFail {
    /// With `errors.dead.letter.queue.topic.name`, to which it writes the record before it stops.
    #[must_use]
    pub fn with_dead_letter_topic(topic: Option<String>) -> Self {
        LogAndFail { dead_letter_topic: topic }
    }
}

impl LogAndContinue {
    /// With `errors.dead.letter.queue.topic.name`, to which it writes the record it skips.
    #[must_use]
    pub fn with_dead_letter_topic(topic: Option<String>) -> Self {
        LogAndContinue { dead_letter_topic: topic }
    }
}

impl DefaultProductionExceptionHandler {
    /// With `errors.dead.letter.queue.topic.name`, to which it writes the source record before it stops; what the broker
    /// refused it writes itself, for the source record is not at hand any more.
    #[must_use]
    pub fn with_dead_letter_topic(topic: Option<String>) -> Self {
        DefaultProductionExceptionHandler { dead_letter_topic: topic }
    }
}

fn log(context: &ErrorHandlerContext<'_>, error: &Error) {
    tracing::warn!(
        task = %context.task_id, node = context.processor_node_id, topic = context.topic,
        partition = context.partition, offset = context.offset, "{error}"
    );
}

fn source_record(context: &ErrorHandlerContext<'_>) -> (Option<Bytes>, Option<Bytes>) {
    (context.source_raw_key.clone(), context.source_raw_value.clone())
}

impl LogAndFail {
    fn answer(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error, source_record(context));
        HandlerResponse::fail().with_dead_letters(letters)
    }
}

impl LogAndContinue {
    fn answer(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        log(context, error);
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error, source_record(context));
        HandlerResponse::resume().with_dead_letters(letters)
    }
}

impl DeserializationExceptionHandler for LogAndFail {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        self.answer(context, error)
    }
}

impl DeserializationExceptionHandler for LogAndContinue {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        self.answer(context, error)
    }
}

impl ProcessingExceptionHandler for LogAndFail {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        self.answer(context, error)
    }
}

impl ProcessingExceptionHandler for LogAndContinue {
    fn handle(&self, context: &ErrorHandlerContext<'_>, error: &Error) -> HandlerResponse {
        self.answer(context, error)
    }
}

impl ProductionExceptionHandler for DefaultProductionExceptionHandler {
    fn handle(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &ProducerRecord<'_>,
        error: &Error,
    ) -> ProductionHandlerResponse {
        if error.is_retriable() {
            return ProductionHandlerResponse::retry();
        }
        let at_hand = match source_record(context) {
            (None, None) => (record.key.map(Bytes::copy_from_slice), record.value.map(Bytes::copy_from_slice)),
            source => source,
        };
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error, at_hand);
        ProductionHandlerResponse::fail().with_dead_letters(letters)
    }

    fn handle_serialization(
        &self,
        context: &ErrorHandlerContext<'_>,
        _topic: &str,
        _origin: SerdeOrigin,
        error: &Error,
    ) -> HandlerResponse {
        let letters = dead_letters(self.dead_letter_topic.as_ref(), context, error, source_record(context));
        HandlerResponse::fail().with_dead_letters(letters)
    }
}

#[cfg(test)]
mod tests {
    use vltava_client::ClientError;
    use vltava_protocol::ErrorCode;

    use super::*;
    use crate::{Headers, handler::ProductionHandlerResult, task_id::TaskId};

    fn refused(code: ErrorCode) -> Error {
        Error::Production { topic: "out".to_owned(), source: ClientError::broker(code) }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_the_rest_is_a_dead_letter() {
        let headers = Headers::new();
        let context = ErrorHandlerContext {
            topic: None,
            partition: -1,
            offset: -1,
            headers: &headers,
            processor_node_id: "sink",
            task_id: TaskId { subtopology: 0, partition: 0 },
            timestamp: -1,
            source_raw_key: None,
            source_raw_value: None,
        };
        let topic = "out".into();
        let record = ProducerRecord {
            topic: &topic,
            partition: None,
            timestamp: None,
            headers: &headers,
            key: None,
            value: Some(b"v"),
        };
        let handler = DefaultProductionExceptionHandler::with_dead_letter_topic(Some("letters".to_owned()));
        let response = handler.handle(&context, &record, &refused(ErrorCode::NotEnoughReplicas));
        assert_eq!((response.result, response.dead_letters.len()), (ProductionHandlerResult::Retry, 0));

        let response = handler.handle(&context, &record, &refused(ErrorCode::MessageTooLarge));
        assert_eq!(response.result, ProductionHandlerResult::Fail);
        let [letter] = &response.dead_letters[..] else { panic!("{response:?}") };
        assert_eq!((&*letter.topic, letter.value.as_deref(), letter.timestamp), ("letters", Some(&b"v"[..]), None));
        let header = |name: &str| letter.headers.iter().find(|header| header.key == name).unwrap().value.clone();
        let exception = header("__streams.errors.exception").unwrap();
        assert_eq!(exception, "org.apache.kafka.common.errors.RecordTooLargeException");
        assert_eq!(header("__streams.errors.topic"), None, "as the JVM writes what is null");
        assert_eq!(header("__streams.errors.offset").unwrap(), "-1");
    }
}
