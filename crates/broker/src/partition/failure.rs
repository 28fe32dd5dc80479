//! What a client is told when a log refuses.

use vltava_log::{LogError, RecordError};
use vltava_protocol::ErrorCode;

/// Why nothing was appended.
#[derive(Debug)]
pub(crate) struct AppendFailure {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
    pub(crate) record_errors: Vec<RecordError>,
    /// -1 where Kafka does not tell it.
    pub(crate) log_start_offset: i64,
}

/// Why nothing was read.
pub(crate) type ReadFailure = ErrorCode;

impl AppendFailure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), record_errors: Vec::new(), log_start_offset: -1 }
    }

    pub(crate) fn of_log(error: LogError, log_start_offset: i64) -> Self {
        let code = code(&error);
        let message = Some(error.to_string());
        // Of these Kafka knows nothing about the log by the time it answers.
        let log_start_offset = match code {
            ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError => -1,
            _ => log_start_offset,
        };
        let record_errors = match error {
            LogError::InvalidRecord { record_errors, .. } | LogError::InvalidTimestamp { record_errors, .. } => {
                record_errors
            }
            _ => Vec::new(),
        };
        Self { code, message, record_errors, log_start_offset }
    }
}

impl From<ErrorCode> for AppendFailure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

pub(crate) fn code(error: &LogError) -> ErrorCode {
    error.code()
}
