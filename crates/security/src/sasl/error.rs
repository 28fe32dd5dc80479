//! Why an exchange fails.

/// Why an exchange of SASL fails, after Kafka's exceptions. None shows a password, a token or whether there is such a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// Who asks is not let in, in words that the other end may read: Kafka's `SaslAuthenticationException`.
    #[error("{0}")]
    Refused(String),
    /// Who asks is not let in, and the reason stays here: Kafka's `SaslException`, of which a client learns nothing more
    /// than that its credentials are invalid.
    #[error("{0}")]
    Invalid(&'static str),
    /// The other end, which had to prove that it knows the secret too, has not, or says that it does not let us in.
    #[error("the broker has not authenticated: {0}")]
    Server(String),
    /// A message that nothing asked for.
    #[error("unexpected message in state {0}")]
    IllegalState(&'static str),
}
