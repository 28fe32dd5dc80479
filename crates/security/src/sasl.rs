//! SASL: who is at the other end shows it by a password, a proof of one, or a token.
//!
//! A mechanism is a state machine that takes a message of the other end and gives the answer to it. It opens no socket and
//! reads no clock; what is to be drawn by chance is passed in. [`SaslClient`] and [`SaslServer`] are one of them each,
//! whatever the mechanism. [`JaasConfig`] is what users write about them, and [`ClientLogin`] and [`PlainUsers`] are what it
//! says.

mod client;
mod error;
mod jaas;
mod login;
mod mechanism;
pub mod oauthbearer;
mod plain;
mod random;
pub mod scram;
mod server;

pub use client::SaslClient;
pub use error::SaslError;
pub use jaas::{JaasConfig, JaasError};
pub use login::{
    BrokerOAuthOptions, ClientLogin, LoginError, OAuthOptions, PlainUsers, UnsecuredOptions, check_scram_of_broker,
};
pub use mechanism::{Mechanism, NotSupported};
pub use plain::{PlainClient, PlainServer};
pub use random::{nonce, salt};
pub use server::{Authenticated, Credentials, SaslServer};
