//! Why a handshake came to nothing, and whether another would.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// What a failed handshake, or a connection right behind it, says of the other end: whether it is Kafka's
/// `SslAuthenticationException`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// One end does not trust the other, or they have nothing in common: another try ends the same way.
    Refused(String),
    /// What came is not TLS.
    NotTls,
    /// The connection was lost, as it may be at any time.
    Lost,
}

impl HandshakeFailure {
    /// What the error of a connection says.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            None => Self::Lost,
            Some(Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => Self::NotTls,
            Some(Error::InvalidCertificate(problem)) => Self::Refused(certificate(problem)),
            Some(Error::NoCertificatesPresented) => Self::Refused("it presented no certificate".to_owned()),
            Some(Error::AlertReceived(alert)) => match refusal(*alert) {
                Some(why) => Self::Refused(why.to_owned()),
                None => Self::Lost,
            },
            Some(Error::PeerIncompatible(_)) => {
                Self::Refused("both ends have no version or cipher suite of TLS in common".to_owned())
            }
            Some(other) => Self::Refused(other.to_string()),
        }
    }
}

impl HandshakeFailure {
    /// Why the other end has ended a connection whose handshake was over for this one, where it is for who this one is.
    #[must_use]
    pub fn told_later(error: &io::Error) -> Option<&'static str> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::AlertReceived(alert) => refusal(*alert),
            _ => None,
        }
    }
}

fn certificate(problem: &CertificateError) -> String {
    let why = match problem {
        CertificateError::UnknownIssuer => "is not signed by anybody who is trusted".to_owned(),
        CertificateError::BadSignature => {
            "is not signed by anybody who is trusted: who is of its issuer's name has another key".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!("has expired ({problem})"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("is not valid yet ({problem})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is not for this host ({problem})")
        }
        CertificateError::ApplicationVerificationFailure => {
            "is trusted, and no rule of `ssl.principal.mapping.rules` fits its name".to_owned()
        }
        other => format!("cannot be accepted ({other})"),
    };
    format!("its certificate {why}")
}

/// What the other end has refused, where it is that and not a connection that ends.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => "it wants a certificate, and none was given",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => "it does not accept the certificate that it was given",
        AlertDescription::CertificateExpired => "the certificate that it was given has expired, or is not valid yet",
        AlertDescription::DecryptError => "it cannot verify the certificate that it was given, or who has signed that",
        AlertDescription::UnknownCA => "it does not trust who has signed the certificate that it was given",
        AlertDescription::AccessDenied => "it denies access to whom the certificate is of",
        AlertDescription::ProtocolVersion => "it does not speak the versions of TLS that are enabled",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it found nothing in common in the handshake"
        }
        AlertDescription::UnrecognisedName => "it has no certificate for this name",
        _ => return None,
    })
}
