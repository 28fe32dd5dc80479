//! `max.connections` and `max.connection.creation.rate`, for the broker and for one listener, `max.connections.per.ip` and
//! its overrides, and the quotas of addresses on new connections (KIP-612).
//!
//! As in Kafka, the listener that brokers use among themselves, where there are others, knows of what holds for all nothing but its
//! own limits, and what is too much ends elsewhere (`excess`). What is connected beyond `max.connections` waits until another connection ends, what comes faster than the
//! rate until it has its time, and a client beyond its address's part is closed at once; one that comes faster than its
//! address may is closed, too, after some time, and counts nowhere. The limits may change while the
//! broker runs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::warn;

use super::excess::{Activity, Closable, Uses};
use super::rate::{self, Creations};
use crate::config::BrokerConfig;
use crate::config::connections::parse_override;
use crate::config::resolve::Sources;
use crate::controller::quotas;
use crate::metadata::MetadataStore;
use crate::metadata::quotas::QuotasImage;
use crate::quota::CONNECTION_CREATION_RATE;
use crate::seldom::Seldom;

/// How often an acceptor that waits looks whether the limits have changed.
const LOOK: Duration = Duration::from_secs(1);

/// The connections there are, and where it stands how many there may be.
#[derive(Debug)]
pub(crate) struct Limits {
    config: Arc<BrokerConfig>,
    metadata: Arc<MetadataStore>,
    places: Arc<Places>,
    /// Tells that connections come too fast.
    throttled: Mutex<Seldom>,
    /// The order in which connections were used.
    uses: Arc<Uses>,
    /// Tells that some were closed.
    closed: Mutex<Seldom>,
    /// Tells that there are as many as there may be.
    full: Mutex<Seldom>,
    settings: tokio::sync::Mutex<Settings>,
}

/// The places of the connections there are.
#[derive(Debug, Default)]
struct Places {
    open: Mutex<Open>,
    freed: Notify,
}

/// The settings, read once for each state of the metadata that connections meet.
#[derive(Debug, Default)]
struct Settings {
    /// Where the log of the metadata ended when they were read.
    as_of: Option<i64>,
    all: usize,
    rate: usize,
    of_address: usize,
    /// Of each listener that has had a connection: how many, and the rate.
    of_listener: HashMap<Arc<str>, (usize, usize)>,
    /// `max.connections.per.ip.overrides`, and what it says with its names resolved.
    overrides: String,
    of_addresses: HashMap<IpAddr, usize>,
    /// The quotas that were read, and what they say of addresses.
    quotas: Arc<QuotasImage>,
    rates: RatesOfAddresses,
}

/// The quotas of addresses: what those have that have none of their own, and the others.
#[derive(Debug, Default)]
struct RatesOfAddresses {
    default: Option<usize>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_listener: HashMap<Arc<str>, usize>,
    /// Those of them that are to end.
    closing: usize,
    by_address: HashMap<IpAddr, usize>,
    closable: Closable,
    creations: Creations,
    creations_by_listener: HashMap<Arc<str>, Creations>,
    /// Of those that have a quota and have come lately.
    creations_by_address: HashMap<IpAddr, Creations>,
    /// When it is looked next for those that have not.
    sweep: Option<Instant>,
}

/// What the settings allow.
#[derive(Debug, Clone, PartialEq)]
struct Allowed {
    all: usize,
    of_listener: usize,
    of_address: usize,
    /// In a second.
    rate: usize,
    rate_of_listener: usize,
    /// Whether it is the listener that brokers use among themselves, beside others: what holds for all does not hold there.
    is_protected: bool,
    /// A quota.
    rate_of_address: Option<usize>,
    /// For how many seconds these are means.
    seconds: f64,
}

/// What became of a wish for a place.
#[derive(Debug)]
enum Taken {
    Place(Place),
    /// `max.connections` is reached.
    Full,
    /// Its time comes after this.
    TooEarly(Duration),
    Refused(NoPlace),
}

/// A connection's place among those allowed, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    listener: Arc<str>,
    address: IpAddr,
    /// Where it may be ended for others.
    closable: Option<u64>,
}

/// Why a connection is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The address has as many connections as it may have.
    TooManyOfAddress { limit: usize },
    /// Connections of the address come faster than its quota lets them; it is closed after this time.
    TooFastOfAddress { after: Duration },
}

impl Limits {
    pub(crate) fn new(config: Arc<BrokerConfig>, metadata: Arc<MetadataStore>) -> Self {
        Self {
            config,
            metadata,
            places: Arc::default(),
            throttled: Mutex::default(),
            full: Mutex::default(),
            uses: Arc::default(),
            closed: Mutex::default(),
            settings: tokio::sync::Mutex::default(),
        }
    }

    /// Waits until the broker and the listener may have one more connection, then takes the place, if the address may.
    /// Cancel-safe.
    pub(crate) async fn place(
        &self,
        listener: &Arc<str>,
        address: IpAddr,
        activity: &Arc<Activity>,
    ) -> Result<Place, NoPlace> {
        let mut told = false;
        loop {
            let freed = self.places.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let allowed = self.allowed(listener, address).await;
            let now = Instant::now();
            match self.places.take(&allowed, listener, address, now) {
                Taken::Place(mut place) => {
                    if !allowed.is_protected {
                        place.closable = Some(self.places.open.lock().closable.add(activity));
                    }
                    self.close_excess(allowed.all);
                    return Ok(place);
                }
                Taken::Refused(refused) => return Err(refused),
                Taken::TooEarly(wait) => {
                    if let Some(times) = self.throttled.lock().count(now.into_std()) {
                        warn!(%listener, times, "new connections wait: `max.connection.creation.rate` is reached");
                    }
                    tokio::time::sleep(wait.min(LOOK)).await;
                }
                Taken::Full => {
                    let waiting = !std::mem::replace(&mut told, true);
                    if waiting && let Some(times) = self.full.lock().count(now.into_std()) {
                        let limit = allowed.all.min(allowed.of_listener);
                        warn!(%listener, limit, times, "new connections wait: `max.connections` is reached");
                    }
                    tokio::time::timeout(LOOK, freed).await.ok();
                }
            }
        }
    }

    /// Of a new connection.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Activity::new(&self.uses)
    }

    /// Ends connections, now and then, where there are more than there may be: the limit may have been lowered.
    pub(crate) async fn keep(&self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let all = self.settings().await.all;
            self.close_excess(all);
        }
    }

    fn close_excess(&self, all: usize) {
        let closed = {
            let mut open = self.places.open.lock();
            let excess = open.all.saturating_sub(all).saturating_sub(open.closing);
            let closed = open.closable.close(excess);
            open.closing += closed;
            closed
        };
        if closed > 0
            && let Some(times) = self.closed.lock().count(Instant::now().into_std())
        {
            warn!(
                limit = all,
                times, "connections that were used longest ago are closed: `max.connections` is exceeded"
            );
        }
    }

    async fn allowed(&self, listener: &Arc<str>, address: IpAddr) -> Allowed {
        let mut settings = self.settings().await;
        let image = self.metadata.image();
        let sources = image.sources(&self.config);
        let limit = |key: &str| limit(sources, key);
        let (of_listener, rate_of_listener) =
            *settings.of_listener.entry(Arc::clone(listener)).or_insert_with_key(|listener| {
                let limit = |key: &str| limit(&format!("listener.name.{}.{key}", listener.to_lowercase()));
                (limit("max.connections"), limit("max.connection.creation.rate"))
            });
        let of_address = settings.of_addresses.get(&address.to_canonical()).copied().unwrap_or(settings.of_address);
        let is_protected = self.config.listeners.len() > 1 && **listener == *self.config.inter_broker_listener;
        let rates = &settings.rates;
        Allowed {
            all: settings.all,
            of_listener,
            of_address,
            rate: settings.rate,
            rate_of_listener,
            is_protected,
            rate_of_address: rates.by_address.get(&address.to_canonical()).copied().or(rates.default),
            seconds: rate::seconds(self.config.quota_windows),
        }
    }

    /// The settings as they are now.
    async fn settings(&self) -> tokio::sync::MutexGuard<'_, Settings> {
        let mut settings = self.settings.lock().await;
        let (image, as_of) = self.metadata.image_and_offset();
        let sources = image.sources(&self.config);
        let limit = |key: &str| limit(sources, key);
        if settings.as_of != Some(as_of) {
            let overrides = sources.broker("max.connections.per.ip.overrides").unwrap_or_default();
            if settings.overrides != overrides {
                settings.of_addresses = resolve(overrides).await;
                overrides.clone_into(&mut settings.overrides);
            }
            settings.all = limit("max.connections");
            settings.rate = limit("max.connection.creation.rate");
            settings.of_address = limit("max.connections.per.ip");
            settings.of_listener.clear();
            self.uses.set_counted(settings.all < i32::MAX as usize);
            if !Arc::ptr_eq(&settings.quotas, image.quotas()) {
                settings.rates = RatesOfAddresses::of(image.quotas()).await;
                settings.quotas = Arc::clone(image.quotas());
            }
            settings.as_of = Some(as_of);
        }
        settings
    }
}

impl RatesOfAddresses {
    async fn of(quotas: &QuotasImage) -> Self {
        let mut rates = Self::default();
        for (entity, values) in quotas.entities() {
            let (Some(ip), Some(rate)) = (&entity.ip, values.get(CONNECTION_CREATION_RATE)) else { continue };
            let rate = *rate as usize;
            let Some(name) = ip else {
                rates.default = Some(rate);
                continue;
            };
            match quotas::address(name) {
                Some(address) => drop(rates.by_address.insert(address, rate)),
                // As Kafka, of a host's name the first of its addresses.
                None => match tokio::net::lookup_host((name.as_str(), 0)).await.map(|mut found| found.next()) {
                    Ok(found) => rates.by_address.extend(found.map(|found| (found.ip().to_canonical(), rate))),
                    Err(error) => warn!(host = name, %error, "a quota is of a host that is not found any more"),
                },
            }
        }
        rates
    }
}

impl Open {
    /// How long it is until the address may have one more connection, by its quota.
    fn wait_of_address(&mut self, allowed: &Allowed, address: IpAddr, now: Instant) -> Option<Duration> {
        let rate = allowed.rate_of_address?;
        let seconds = allowed.seconds;
        if self.sweep.is_none_or(|at| now >= at) {
            self.creations_by_address.retain(|_, creations| !creations.is_over(now, seconds));
            self.sweep = Some(now + Duration::from_secs_f64(seconds));
        }
        self.creations_by_address.entry(address).or_default().wait(now, rate, seconds)
    }
}

/// No limit where none can be read.
fn limit(sources: Sources<'_>, key: &str) -> usize {
    sources.broker(key).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
}

impl Places {
    fn take(self: &Arc<Self>, allowed: &Allowed, listener: &Arc<str>, address: IpAddr, now: Instant) -> Taken {
        let mut open = self.open.lock();
        let open = &mut *open;
        let of_listener = open.by_listener.get(listener).copied().unwrap_or(0);
        if (!allowed.is_protected && open.all >= allowed.all) || of_listener >= allowed.of_listener {
            return Taken::Full;
        }
        let creations = open.creations_by_listener.entry(Arc::clone(listener)).or_default();
        let seconds = allowed.seconds;
        let of_all = if allowed.is_protected { None } else { open.creations.wait(now, allowed.rate, seconds) };
        let waits = [of_all, creations.wait(now, allowed.rate_of_listener, seconds)];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Taken::TooEarly(wait);
        }
        if let Some(after) = open.wait_of_address(allowed, address, now) {
            return Taken::Refused(NoPlace::TooFastOfAddress { after });
        }
        // One that is refused from now on has come, too.
        if !allowed.is_protected {
            open.creations.count();
        }
        open.creations_by_listener.entry(Arc::clone(listener)).or_default().count();
        if let Some(creations) =
            open.creations_by_address.get_mut(&address).filter(|_| allowed.rate_of_address.is_some())
        {
            creations.count();
        }
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= allowed.of_address {
            return Taken::Refused(NoPlace::TooManyOfAddress { limit: allowed.of_address });
        }
        open.all += 1;
        *open.by_listener.entry(Arc::clone(listener)).or_default() += 1;
        *open.by_address.entry(address).or_default() += 1;
        Taken::Place(Place { places: Arc::clone(self), listener: Arc::clone(listener), address, closable: None })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open.lock();
        open.all -= 1;
        if let Some(number) = self.closable
            && !open.closable.remove(number)
        {
            open.closing -= 1;
        }
        if let Some(count) = open.by_listener.get_mut(&self.listener) {
            *count -= 1;
        }
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
        drop(open);
        self.places.freed.notify_waiters();
    }
}

/// `host:count` pairs, where a host is an address or a name.
fn parse_overrides(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.split(',').filter_map(parse_override)
}

async fn resolve(overrides: &str) -> HashMap<IpAddr, usize> {
    let mut of_addresses = HashMap::new();
    for (host, count) in parse_overrides(overrides) {
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => of_addresses.extend(found.map(|address| (address.ip().to_canonical(), count))),
            Err(error) => warn!(host, %error, "`max.connections.per.ip.overrides` names a host that is not found"),
        }
    }
    of_addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(all: usize, of_listener: usize, of_address: usize) -> Allowed {
        Allowed {
            all,
            of_listener,
            of_address,
            rate: usize::MAX,
            rate_of_listener: usize::MAX,
            is_protected: false,
            rate_of_address: None,
            seconds: 10.0,
        }
    }

    fn place(taken: Taken) -> Place {
        let Taken::Place(place) = taken else { panic!("{taken:?}") };
        place
    }

    #[test]
    fn each_limit_holds_by_itself() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (plain, extra): (Arc<str>, Arc<str>) = ("PLAINTEXT".into(), "EXTRA".into());
        let places = Arc::new(Places::default());
        let now = Instant::now();
        let allow = allowed(3, 2, 1);
        let first = place(places.take(&allow, &plain, one, now));
        assert!(matches!(
            places.take(&allow, &plain, one, now),
            Taken::Refused(NoPlace::TooManyOfAddress { limit: 1 })
        ));
        let second = place(places.take(&allow, &plain, other, now));
        let allow = allowed(3, 2, 9);
        assert!(matches!(places.take(&allow, &plain, one, now), Taken::Full), "the listener is full");
        let third = place(places.take(&allow, &extra, one, now));
        assert!(matches!(places.take(&allow, &extra, one, now), Taken::Full), "the broker is full");
        drop((first, second, third));
        assert_eq!(places.open.lock().all, 0);
        assert!(places.open.lock().by_address.is_empty());
    }

    #[test]
    fn the_rates_of_the_broker_and_of_a_listener_hold_both() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let (plain, extra): (Arc<str>, Arc<str>) = ("PLAINTEXT".into(), "EXTRA".into());
        let places = Arc::new(Places::default());
        let now = Instant::now();
        let slow = Allowed { rate: 2, rate_of_listener: 1, ..allowed(99, 99, 99) };
        let second = Duration::from_secs(1);
        for _ in 0..10 {
            place(places.take(&slow, &plain, address, now));
        }
        assert!(matches!(places.take(&slow, &plain, address, now), Taken::TooEarly(wait) if wait == second));
        let refused = Allowed { of_address: 0, ..slow.clone() };
        for _ in 0..10 {
            assert!(matches!(places.take(&refused, &extra, address, now), Taken::Refused(_)));
        }
        let faster = Allowed { rate_of_listener: 9, ..slow };
        assert!(matches!(places.take(&faster, &extra, address, now), Taken::TooEarly(wait) if wait == second / 2));
        place(places.take(&faster, &extra, address, now + second / 2));
    }

    #[test]
    fn an_address_beyond_its_quota_counts_nowhere_and_others_come() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let listener: Arc<str> = "PLAINTEXT".into();
        let places = Arc::new(Places::default());
        let now = Instant::now();
        let limited = Allowed { rate: 2, rate_of_address: Some(1), ..allowed(99, 99, 99) };
        for _ in 0..10 {
            place(places.take(&limited, &listener, one, now));
        }
        for _ in 0..50 {
            let after = Duration::from_secs(1);
            let refused = places.take(&limited, &listener, one, now);
            assert!(matches!(refused, Taken::Refused(NoPlace::TooFastOfAddress { after: told }) if told == after));
        }
        for _ in 0..10 {
            place(places.take(&limited, &listener, other, now));
        }
        assert!(matches!(places.take(&limited, &listener, other, now), Taken::TooEarly(_)), "the broker's own rate");
        let unlimited = Allowed { rate: 99, rate_of_address: None, ..limited.clone() };
        place(places.take(&unlimited, &listener, one, now));
        place(places.take(&limited, &listener, one, now + Duration::from_secs(1)));
        place(places.take(&Allowed { rate: 99, ..limited }, &listener, other, now + Duration::from_secs(12)));
        assert_eq!(places.open.lock().creations_by_address.len(), 1, "who does not come any more is forgotten");
    }

    #[tokio::test]
    async fn quotas_are_of_addresses_and_of_hosts() {
        let mut image = crate::metadata::image::MetadataImage::default();
        for (ip, value) in
            [(None, 3.0), (Some("10.1.1.1"), 4.0), (Some("localhost"), 5.0), (Some("[2001:db8::1]"), 6.0)]
        {
            let part = vltava_protocol::records::metadata::client_quota_record::EntityData {
                entity_type: "ip".to_owned(),
                entity_name: ip.map(str::to_owned),
                ..Default::default()
            };
            let record = vltava_protocol::records::metadata::ClientQuotaRecord {
                entity: vec![part],
                key: CONNECTION_CREATION_RATE.to_owned(),
                value,
                ..Default::default()
            };
            image.replay(&vltava_protocol::records::metadata::MetadataRecord::ClientQuota(record)).unwrap();
        }
        let rates = RatesOfAddresses::of(image.quotas()).await;
        assert_eq!(rates.default, Some(3));
        let of = |address: &str| rates.by_address.get(&address.parse().unwrap()).copied();
        assert_eq!(of("10.1.1.1"), Some(4));
        assert_eq!(of("127.0.0.1").or(of("::1")), Some(5));
        assert_eq!(of("2001:db8::1"), Some(6));
    }

    #[tokio::test]
    async fn overrides_are_by_address_or_name() {
        let local = IpAddr::from([127, 0, 0, 1]);
        for (text, expected) in [
            ("127.0.0.1:5", Some(5)),
            ("10.1.1.1:3, localhost:7", Some(7)),
            ("[::1]:4", None),
            ("10.1.1.1:3", None),
            ("no.such.host.invalid:2,127.0.0.1:1", Some(1)),
            ("", None),
        ] {
            assert_eq!(resolve(text).await.get(&local).copied(), expected, "{text}");
        }
        let v6 = resolve("[::1]:4").await;
        assert_eq!(v6.get(&IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])), Some(&4));
    }
}
