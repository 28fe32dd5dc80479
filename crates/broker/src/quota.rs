//! What clients may use of the broker, and how long who used more has to wait: Kafka's quotas (KIP-13, KIP-55, KIP-124,
//! KIP-599).
//!
//! Whose use counts together, and what they may use, is in [`limits`]; how use becomes a time to wait in [`rate`] and
//! [`token_bucket`]; the uses of now in [`sensors`]. All of those are given the time. [`ClientQuotas`] has one of each kind
//! of use, [`Charges`] is a request's own view of them, and `network/connection.rs` waits.
//!
//! Nothing is counted of a kind of use for which there is no quota at all, nor of who has none.

mod charges;
mod client_quotas;
mod limits;
mod mutations;
mod rate;
mod sensors;
mod token_bucket;

pub(crate) use charges::Charges;
pub(crate) use client_quotas::{ClientQuotas, QuotaType};
pub(crate) use mutations::MutationQuota;

/// Bytes of produce requests in a second.
pub(crate) const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes of answers to fetches in a second.
pub(crate) const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// The part of a thread's time that requests are handled in, in percent; 200 are two threads.
pub(crate) const REQUEST_PERCENTAGE: &str = "request_percentage";
/// Partitions created and deleted in a second.
pub(crate) const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Connections of an address in a second.
pub(crate) const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// The windows in which use is looked at, `quota.window.num` of `quota.window.size.seconds` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) samples: u32,
    pub(crate) size_ms: i64,
}

impl Windows {
    /// How long what was used counts.
    fn span_ms(self) -> i64 {
        i64::from(self.samples).saturating_mul(self.size_ms)
    }

    /// How many windows are always looked at as a whole: the last of them is under way.
    fn whole(self) -> i64 {
        i64::from(self.samples.saturating_sub(1))
    }

    /// The same in seconds.
    pub(crate) fn whole_seconds(self) -> f64 {
        self.whole() as f64 * self.size_ms as f64 / 1000.0
    }
}

/// Whose request it is, as far as quotas are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    /// The name of the principal.
    pub(crate) user: &'a str,
    /// What the request says; one that says nothing counts as the empty one.
    pub(crate) client_id: &'a str,
}

/// A measure of use against a limit.
trait Measure: Default {
    /// Counts a use.
    fn record(&mut self, windows: Windows, limit: f64, value: f64, now_ms: i64);

    /// How long it takes until as much was used as may be, if nothing more is; 0 if it is not more.
    fn throttle_ms(&mut self, windows: Windows, limit: f64, now_ms: i64) -> i64;

    /// Whether it tells the same as one that has never counted anything.
    fn is_as_new(&mut self, windows: Windows, limit: f64, now_ms: i64) -> bool;
}

/// To whole milliseconds as Java rounds; what is too much becomes the most.
fn round_ms(value: f64) -> i64 {
    (value + 0.5).floor() as i64
}
