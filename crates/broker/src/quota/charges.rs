//! What one request costs its client, and how long that has to wait.
//!
//! A handler charges what only it knows: bytes appended or read, partitions changed. The time that it took is charged for
//! every request, by `dispatch.rs`. The longest of the times to wait goes into the answer, and the connection is not read
//! for as long after it (KIP-219).
//!
//! The time of a request (KIP-124) is the time in which a thread of the broker did its work, decoding and encoding
//! included, and not that in which it waited for data, for members of a group or for the disk's own thread: in Kafka it is
//! that of the threads of `num.io.threads` and `num.network.threads`. The threads of the controller are not in it, as in
//! Kafka, and neither are the kernel's, which sends files by itself.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Client, ClientQuotas, MutationQuota, QuotaType};
use crate::clock;
use crate::request::RequestContext;

/// What a request has been charged with. Empty where there are no quotas.
#[derive(Debug, Default)]
pub(crate) struct Charges(Option<Box<Inner>>);

#[derive(Debug)]
struct Inner {
    quotas: Arc<ClientQuotas>,
    size_bytes: usize,
    /// Where time is counted at all.
    spent: Option<Spent>,
    is_time_charged: AtomicBool,
    throttle_ms: AtomicI64,
}

/// The time in which a request was worked on.
#[derive(Debug)]
struct Spent {
    base: Instant,
    /// In all turns that are over, and that is charged already, in nanoseconds.
    total: AtomicU64,
    charged: AtomicU64,
    /// When the turn under way has begun, counted from `base`.
    turn: AtomicU64,
}

impl Spent {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begin_turn(&self) {
        self.turn.store(self.elapsed(), Ordering::Relaxed);
    }

    fn end_turn(&self) {
        let turn = self.elapsed().saturating_sub(self.turn.load(Ordering::Relaxed));
        self.total.fetch_add(turn, Ordering::Relaxed);
        self.begin_turn();
    }

    /// What is not charged yet, in percent of a second; it is from now on.
    fn percent(&self) -> f64 {
        self.end_turn();
        let total = self.total.load(Ordering::Relaxed);
        let charged = self.charged.swap(total, Ordering::Relaxed);
        total.saturating_sub(charged) as f64 * 100.0 / 1e9
    }
}

impl Charges {
    /// Of a request that takes as many bytes.
    pub(crate) fn new(quotas: &Arc<ClientQuotas>, size_bytes: usize) -> Self {
        if !quotas.are_any() {
            return Self(None);
        }
        let zero = || AtomicU64::new(0);
        let spent = || Spent { base: Instant::now(), total: zero(), charged: zero(), turn: zero() };
        Self(Some(Box::new(Inner {
            quotas: Arc::clone(quotas),
            size_bytes,
            spent: quotas.are_of(QuotaType::Request).then(spent),
            is_time_charged: AtomicBool::new(false),
            throttle_ms: AtomicI64::new(0),
        })))
    }

    /// Runs the work of the request, and counts its time if that is wanted.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(spent) = self.0.as_ref().and_then(|inner| inner.spent.as_ref()) else { return work.await };
        let mut work = pin!(work);
        poll_fn(|context| {
            spent.begin_turn();
            let polled = work.as_mut().poll(context);
            spent.end_turn();
            polled
        })
        .await
    }

    /// How long the client is to wait.
    pub(crate) fn throttle(&self) -> Duration {
        let throttle_ms = self.0.as_ref().map_or(0, |inner| inner.throttle_ms.load(Ordering::Relaxed));
        Duration::from_millis(throttle_ms.unsigned_abs())
    }
}

impl Inner {
    fn wait(&self, throttle_ms: i64) {
        // As the answer's field has it.
        self.throttle_ms.fetch_max(throttle_ms.min(i32::MAX.into()), Ordering::Relaxed);
    }
}

impl RequestContext {
    fn client(&self) -> Client<'_> {
        Client { user: self.peer.principal.name(), client_id: self.client_id.as_deref().unwrap_or_default() }
    }

    /// Counts a use of now.
    fn record(&self, inner: &Inner, kind: QuotaType, value: f64) -> i64 {
        if !inner.quotas.are_of(kind) {
            return 0;
        }
        inner.quotas.record(kind, self.client(), value, clock::now().uptime_ms)
    }

    /// Charges the bytes of the request as produced ones.
    pub(crate) fn charge_produce(&self) {
        if let Some(inner) = &self.charges.0 {
            inner.wait(self.record(inner, QuotaType::Produce, inner.size_bytes as f64));
        }
    }

    /// The most bytes that a fetch may read.
    pub(crate) fn most_bytes_fetched(&self) -> i32 {
        let inner = self.charges.0.as_ref();
        let most = inner.and_then(|inner| inner.quotas.most_bytes_fetched(self.client()));
        // As in Java, what is too much becomes the most.
        most.map_or(i32::MAX, |most| most as i32)
    }

    /// Charges the bytes of a fetch's answer, and its time; says whether the client has to wait. Then the answer is to be
    /// empty, and its bytes are not charged.
    pub(crate) fn charge_fetch(&self, bytes: impl FnOnce() -> usize) -> bool {
        let Some(inner) = &self.charges.0 else { return false };
        self.charge_time();
        if !inner.quotas.are_of(QuotaType::Fetch) {
            return !self.charges.throttle().is_zero();
        }
        let bytes = bytes() as f64;
        inner.wait(self.record(inner, QuotaType::Fetch, bytes));
        let is_throttled = !self.charges.throttle().is_zero();
        if is_throttled {
            self.record(inner, QuotaType::Fetch, -bytes);
        }
        is_throttled
    }

    /// What the request may change of the metadata; strictly from a version on.
    pub(crate) fn mutation_quota(&self, strict_since: i16) -> MutationQuota {
        match &self.charges.0 {
            Some(inner) => MutationQuota::new(&inner.quotas, self.client(), self.version >= strict_since),
            None => MutationQuota::default(),
        }
    }

    /// Makes the client wait for what it has changed.
    pub(crate) fn charge_mutations(&self, quota: &MutationQuota) {
        if let Some(inner) = &self.charges.0 {
            inner.wait(quota.throttle_ms());
        }
    }

    /// Charges the time that the request took until now, once.
    pub(crate) fn charge_time(&self) {
        let Some(inner) = &self.charges.0 else { return };
        let Some(spent) = inner.spent.as_ref().filter(|_| !inner.is_time_charged.swap(true, Ordering::Relaxed)) else {
            return;
        };
        inner.wait(self.record(inner, QuotaType::Request, spent.percent()));
    }

    /// Charges what it took since: it counts for the next request. Nothing where nothing was charged before.
    pub(crate) fn settle_time(&self) {
        let Some(inner) = &self.charges.0 else { return };
        if let Some(spent) = inner.spent.as_ref().filter(|_| inner.is_time_charged.load(Ordering::Relaxed)) {
            self.record(inner, QuotaType::Request, spent.percent());
        }
    }
}
