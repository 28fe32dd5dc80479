//! What a request may change of the metadata (KIP-599): partitions that are created or deleted.

use std::sync::Arc;

use parking_lot::Mutex;
use vltava_protocol::ErrorCode;

use super::{Client, ClientQuotas, QuotaType};
use crate::clock;
use crate::request::ApiError;

/// A request's view of its client's quota. Cheap to clone; it goes along to where a change is decided.
#[derive(Debug, Clone, Default)]
pub(crate) struct MutationQuota(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    quotas: Arc<ClientQuotas>,
    user: String,
    client_id: String,
    /// Whether what exceeds the quota is refused: older clients do not know the error, and are kept waiting only.
    is_strict: bool,
    /// The time to wait, and when it was found.
    throttle: Mutex<Option<(i64, i64)>>,
}

impl MutationQuota {
    pub(super) fn new(quotas: &Arc<ClientQuotas>, client: Client<'_>, is_strict: bool) -> Self {
        if !quotas.are_of(QuotaType::ControllerMutation) {
            return Self(None);
        }
        Self(Some(Arc::new(Inner {
            quotas: Arc::clone(quotas),
            user: client.user.to_owned(),
            client_id: client.client_id.to_owned(),
            is_strict,
            throttle: Mutex::default(),
        })))
    }

    /// Counts partitions that are to be created or deleted.
    ///
    /// # Errors
    /// `ThrottlingQuotaExceeded` where the quota was used up before, and the client knows the error.
    pub(crate) fn record(&self, partitions: usize) -> Result<(), ApiError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let client = Client { user: &inner.user, client_id: &inner.client_id };
        let (now_ms, value) = (clock::now().uptime_ms, partitions as f64);
        let throttle_ms = match inner.is_strict {
            true => inner.quotas.record_strictly(client, value, now_ms),
            false => inner.quotas.record(QuotaType::ControllerMutation, client, value, now_ms),
        };
        if throttle_ms == 0 {
            return Ok(());
        }
        *inner.throttle.lock() = Some((throttle_ms, now_ms));
        if inner.is_strict { Err(ErrorCode::ThrottlingQuotaExceeded.into()) } else { Ok(()) }
    }

    /// How long the client has to wait from now on.
    pub(super) fn throttle_ms(&self) -> i64 {
        let found = self.0.as_ref().and_then(|inner| *inner.throttle.lock());
        found.map_or(0, |(throttle_ms, at_ms)| (throttle_ms - (clock::now().uptime_ms - at_ms)).max(0))
    }
}
