//! Why there is no answer, in words.

use hyper::StatusCode;
use serde_json::{Value, json};
use vltava_client::{ClientError, ErrorCode};

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Kind,
    cause: String,
    code: Option<ErrorCode>,
}

/// What may be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The request is not one of the API.
    Asked,
    /// There is no such thing.
    Missing,
    /// The console's login may not see it.
    Unauthorized,
    /// The console does not answer who asks.
    Refused,
    /// No broker can be reached, or none has answered in time.
    Unreachable,
    /// What is asked for is of a kind that this console or the broker does not know.
    Unsupported,
    /// Too many ask at once.
    Busy,
    /// The cluster says so.
    Cluster,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Missing => "missing",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Cluster => "cluster",
        }
    }
}

impl Problem {
    fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), code: None }
    }

    /// The request is not one of the API.
    pub(crate) fn asked(cause: impl Into<String>) -> Self {
        Self::new(Kind::Asked, cause)
    }

    /// There is no such thing.
    pub(crate) fn missing(cause: impl Into<String>) -> Self {
        Self::new(Kind::Missing, cause)
    }

    /// The console does not answer who asks.
    pub(crate) fn refused(cause: impl Into<String>) -> Self {
        Self::new(Kind::Refused, cause)
    }

    /// Nothing that this console or the broker knows.
    pub(crate) fn unsupported(cause: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, cause)
    }

    /// Nobody answers.
    pub(crate) fn unreachable(cause: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, cause)
    }

    /// Too many ask at once.
    pub(crate) fn busy(cause: impl Into<String>) -> Self {
        Self::new(Kind::Busy, cause)
    }

    /// The same in other words.
    pub(crate) fn saying(self, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Asked => StatusCode::BAD_REQUEST,
            Kind::Missing => StatusCode::NOT_FOUND,
            Kind::Unauthorized | Kind::Refused => StatusCode::FORBIDDEN,
            Kind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Unreachable | Kind::Cluster => StatusCode::BAD_GATEWAY,
        }
    }

    /// `{"problem": {"kind": …, "cause": …, "code": …}}`, the code by Kafka's name where a broker gave one.
    pub(crate) fn to_json(&self) -> Value {
        json!({"problem": self.inner()})
    }

    /// The same as a part of an answer.
    pub(crate) fn inner(&self) -> Value {
        json!({"kind": self.kind.name(), "cause": self.cause, "code": self.code.map(ErrorCode::name)})
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::from(&error)
    }
}

impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Self {
        let code = error.code();
        let kind = match (error, code) {
            (
                _,
                Some(
                    ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::GroupIdNotFound
                    | ErrorCode::InvalidTopicException,
                ),
            )
            | (ClientError::InvalidPartition { .. }, _) => Kind::Missing,
            (
                _,
                Some(
                    ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::GroupAuthorizationFailed
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::SaslAuthenticationFailed,
                ),
            )
            | (ClientError::SaslAuthentication { .. } | ClientError::SslAuthentication { .. }, _) => Kind::Unauthorized,
            (_, Some(ErrorCode::UnsupportedVersion))
            | (ClientError::UnsupportedVersion { .. } | ClientError::Unsupported { .. }, _) => Kind::Unsupported,
            (
                ClientError::Timeout { .. }
                | ClientError::Connection { .. }
                | ClientError::NodeNotAvailable { .. }
                | ClientError::NoBrokerAvailable { .. }
                | ClientError::NotKafka { .. },
                _,
            ) => Kind::Unreachable,
            _ => Kind::Cluster,
        };
        Self { kind, cause: error.to_string(), code }
    }
}
