//! TLS from Kafka's keys: stores of keys and certificates, who is trusted, and who a certificate says one is.
//!
//! The definitions are there in every build; the rest with the feature `tls`.

#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod context;
#[cfg(feature = "tls")]
mod der;
#[cfg(feature = "tls")]
mod ec_key;
#[cfg(feature = "tls")]
mod error;
#[cfg(feature = "tls")]
mod failure;
#[cfg(feature = "tls")]
mod jks;
mod keys;
#[cfg(feature = "tls")]
mod name;
#[cfg(feature = "tls")]
mod pbe;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod pkcs12;
#[cfg(feature = "tls")]
mod principal_mapper;
#[cfg(feature = "tls")]
#[cfg(feature = "tls")]
mod store;
#[cfg(feature = "tls")]
mod trust;

#[cfg(feature = "tls")]
pub use self::{
    config::{ClientAuth, SslConfig},
    context::{ClientContext, Context, End, ServerContext},
    error::{SslError, StoreProblem},
    failure::HandshakeFailure,
    name::distinguished_name,
    principal_mapper::SslPrincipalMapper,
    trust::{crypto_provider, trusted_certificates},
};
pub use keys::{BROKER, CLIENT, NO_TLS, is_default};
