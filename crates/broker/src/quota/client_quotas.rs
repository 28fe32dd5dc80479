//! The quotas in force and the uses of now, of each kind of use.

use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::{Mutex, RwLock};

use super::limits::Limits;
use super::rate::Rate;
use super::sensors::{Counted, Sensors};
use super::token_bucket::TokenBucket;
use super::{
    CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE, Client, Measure, PRODUCER_BYTE_RATE, REQUEST_PERCENTAGE, Windows,
};
use crate::metadata::quotas::QuotasImage;

/// A kind of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaType {
    Produce = 1,
    Fetch = 2,
    Request = 4,
    ControllerMutation = 8,
}

/// All quotas of clients.
#[derive(Debug)]
pub(crate) struct ClientQuotas {
    /// The kinds that there are any quotas of: all that is looked at where there are none.
    in_force: AtomicU8,
    produce: Usage<Rate>,
    fetch: Usage<Rate>,
    request: Usage<Rate>,
    mutations: Usage<TokenBucket>,
}

/// The limits of a kind of use, and the uses.
#[derive(Debug)]
struct Usage<M> {
    windows: Windows,
    limits: RwLock<Limits>,
    sensors: Mutex<Sensors<M>>,
}

impl<M: Measure> Usage<M> {
    fn new(windows: Windows) -> Self {
        Self { windows, limits: RwLock::default(), sensors: Mutex::new(Sensors::new(windows)) }
    }

    /// The time to wait after a use, if there is a quota.
    fn record(&self, client: Client<'_>, value: f64, counted: Counted, now_ms: i64) -> i64 {
        let limit = self.limits.read().find(client);
        limit.map_or(0, |limit| self.sensors.lock().record(limit, value, counted, now_ms))
    }

    /// Takes over new limits; says whether there are any.
    fn follow(&self, limits: Limits) -> bool {
        let is_empty = limits.is_empty();
        *self.limits.write() = limits;
        !is_empty
    }
}

impl ClientQuotas {
    /// No quotas, with the windows of `quota.window.*`, and of `controller.quota.window.*` for changes of metadata.
    pub(crate) fn new(windows: Windows, of_mutations: Windows) -> Self {
        Self {
            in_force: AtomicU8::new(0),
            produce: Usage::new(windows),
            fetch: Usage::new(windows),
            request: Usage::new(windows),
            mutations: Usage::new(of_mutations),
        }
    }

    /// Takes over the quotas that the metadata has.
    pub(crate) fn follow(&self, image: &QuotasImage) {
        let limits = |key| Limits::of(image, key);
        let there = [
            (QuotaType::Produce, self.produce.follow(limits(PRODUCER_BYTE_RATE))),
            (QuotaType::Fetch, self.fetch.follow(limits(CONSUMER_BYTE_RATE))),
            (QuotaType::Request, self.request.follow(limits(REQUEST_PERCENTAGE))),
            (QuotaType::ControllerMutation, self.mutations.follow(limits(CONTROLLER_MUTATION_RATE))),
        ];
        let kinds = there.into_iter().filter(|(_, is_there)| *is_there).fold(0, |kinds, (kind, _)| kinds | kind as u8);
        self.in_force.store(kinds, Ordering::Relaxed);
    }

    /// Whether there are any quotas.
    pub(crate) fn are_any(&self) -> bool {
        self.in_force.load(Ordering::Relaxed) != 0
    }

    /// Whether there are any quotas of a kind of use.
    pub(crate) fn are_of(&self, kind: QuotaType) -> bool {
        self.in_force.load(Ordering::Relaxed) & kind as u8 != 0
    }

    /// Counts a use, or takes one back; the time to wait after it, in milliseconds.
    pub(super) fn record(&self, kind: QuotaType, client: Client<'_>, value: f64, now_ms: i64) -> i64 {
        match kind {
            QuotaType::Produce => self.produce.record(client, value, Counted::Always, now_ms),
            QuotaType::Fetch => self.fetch.record(client, value, Counted::Always, now_ms),
            // As Kafka: no longer than a window at once.
            QuotaType::Request => {
                let throttle_ms = self.request.record(client, value, Counted::Always, now_ms);
                throttle_ms.min(self.request.windows.size_ms)
            }
            QuotaType::ControllerMutation => self.mutations.record(client, value, Counted::Always, now_ms),
        }
    }

    /// Counts changes of metadata unless too many were made before; then the time until some may be made again.
    pub(super) fn record_strictly(&self, client: Client<'_>, value: f64, now_ms: i64) -> i64 {
        self.mutations.record(client, value, Counted::IfNotExceeded, now_ms)
    }

    /// As many bytes as a client may fetch at once that has fetched nothing for a while: more would never be given.
    pub(super) fn most_bytes_fetched(&self, client: Client<'_>) -> Option<f64> {
        let limit = self.fetch.limits.read().find(client)?;
        Some(limit.per_second * self.fetch.windows.whole_seconds())
    }
}

#[cfg(test)]
mod tests {
    use vltava_protocol::records::metadata::client_quota_record::EntityData;
    use vltava_protocol::records::metadata::{ClientQuotaRecord, MetadataRecord};

    use super::*;
    use crate::metadata::image::MetadataImage;

    const ALICE: Client<'static> = Client { user: "alice", client_id: "a" };
    const BOB: Client<'static> = Client { user: "bob", client_id: "b" };

    fn of_alice(image: &mut MetadataImage, key: &str, value: Option<f64>) {
        let user = EntityData {
            entity_type: "user".to_owned(),
            entity_name: Some("alice".to_owned()),
            ..EntityData::default()
        };
        let record = ClientQuotaRecord {
            entity: vec![user],
            key: key.to_owned(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..ClientQuotaRecord::default()
        };
        image.replay(&MetadataRecord::ClientQuota(record)).unwrap();
    }

    fn quotas() -> ClientQuotas {
        let windows = Windows { samples: 11, size_ms: 1000 };
        ClientQuotas::new(windows, Windows { samples: 5, size_ms: 1000 })
    }

    #[test]
    fn a_quota_holds_from_when_it_is_known_until_it_is_removed() {
        let (quotas, mut image) = (quotas(), MetadataImage::default());
        assert!(!quotas.are_any());
        of_alice(&mut image, "producer_byte_rate", Some(100.0));
        quotas.follow(image.quotas());
        assert!(quotas.are_of(QuotaType::Produce) && !quotas.are_of(QuotaType::Fetch));
        assert_eq!(quotas.record(QuotaType::Produce, ALICE, 1100.0, 0), 1000);
        assert_eq!(quotas.record(QuotaType::Produce, BOB, 1e9, 0), 0);
        assert_eq!(quotas.produce.sensors.lock().len(), 1, "nothing is kept of who has no quota");
        of_alice(&mut image, "producer_byte_rate", None);
        quotas.follow(image.quotas());
        assert!(!quotas.are_any());
        assert_eq!(quotas.record(QuotaType::Produce, ALICE, 1e9, 0), 0);
    }

    #[test]
    fn time_of_requests_is_waited_for_a_window_at_the_most() {
        let (quotas, mut image) = (quotas(), MetadataImage::default());
        of_alice(&mut image, "request_percentage", Some(10.0));
        quotas.follow(image.quotas());
        assert_eq!(quotas.record(QuotaType::Request, ALICE, 101.0, 0), 100);
        assert_eq!(quotas.record(QuotaType::Request, ALICE, 500.0, 0), 1000);
    }

    #[test]
    fn a_fetch_is_no_larger_than_what_is_ever_given() {
        let (quotas, mut image) = (quotas(), MetadataImage::default());
        of_alice(&mut image, "consumer_byte_rate", Some(100.0));
        quotas.follow(image.quotas());
        assert_eq!(quotas.most_bytes_fetched(ALICE), Some(1000.0));
        assert_eq!(quotas.most_bytes_fetched(BOB), None);
        assert_eq!(quotas.record(QuotaType::Fetch, ALICE, 1000.0, 0), 0);
        assert_eq!(quotas.record(QuotaType::Fetch, ALICE, 1.0, 0), 10);
    }

    #[test]
    fn changes_of_metadata_have_windows_of_their_own() {
        let (quotas, mut image) = (quotas(), MetadataImage::default());
        of_alice(&mut image, "controller_mutation_rate", Some(2.0));
        quotas.follow(image.quotas());
        assert_eq!(quotas.record_strictly(ALICE, 11.0, 0), 0);
        assert_eq!(quotas.record_strictly(ALICE, 1.0, 0), 500);
        assert_eq!(quotas.record(QuotaType::ControllerMutation, ALICE, 1.0, 0), 1000);
    }
}
