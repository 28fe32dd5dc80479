//! `max.connections` and `max.connection.creation.rate`, for the broker and for one listener, `max.connections.per.ip` and
//! its overrides.
//!
//! As in Kafka, the listener that brokers use among themselves, where there are others, knows of what holds for all nothing but its
//! own limits, and what is too much ends elsewhere (`excess`). What is connected beyond `max.connections` waits until another connection ends, what comes faster than the
//! rate until it has its time, and a client beyond its address's part is closed at once. The limits may change while the
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
use super::rate::Creations;
use crate::config::BrokerConfig;
use crate::config::connections::parse_override;
use crate::config::resolve::Sources;
use crate::metadata::MetadataStore;
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
}

/// What the settings allow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    all: usize,
    of_listener: usize,
    of_address: usize,
    /// In a second.
    rate: usize,
    rate_of_listener: usize,
    /// Whether it is the listener that brokers use among themselves, beside others: what holds for all does not hold there.
    is_protected: bool,
}

/// What became of a wish for a place.
#[derive(Debug)]
enum Taken {
    Place(Place),
    /// `max.connections` is reached.
    Full,
    /// Its time comes after this.
    TooEarly(Duration),
    Refused(TooManyOfAddress),
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

/// An address has as many connections as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyOfAddress {
    pub(crate) limit: usize,
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
    ) -> Result<Place, TooManyOfAddress> {
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
        Allowed { all: settings.all, of_listener, of_address, rate: settings.rate, rate_of_listener, is_protected }
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
            settings.as_of = Some(as_of);
        }
        settings
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
        let of_all = if allowed.is_protected { None } else { open.creations.wait(now, allowed.rate) };
        let waits = [of_all, creations.wait(now, allowed.rate_of_listener)];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Taken::TooEarly(wait);
        }
        // One that is refused has come, too.
        if !allowed.is_protected {
            open.creations.count();
        }
        creations.count();
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= allowed.of_address {
            return Taken::Refused(TooManyOfAddress { limit: allowed.of_address });
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
        Allowed { all, of_listener, of_address, rate: usize::MAX, rate_of_listener: usize::MAX, is_protected: false }
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
        assert!(matches!(places.take(&allow, &plain, one, now), Taken::Refused(TooManyOfAddress { limit: 1 })));
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
