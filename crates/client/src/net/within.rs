//! Time limits of whole calls.

use std::future::Future;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::error::ClientError;

/// The time limit of a call, whatever it waits for: connections, answers, pauses.
pub(crate) struct Within<'a, W> {
    cluster: &'a Cluster,
    deadline: Instant,
    limit: Duration,
    what: W,
}

/// Until a time; for ever without one.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Cluster {
    /// Limits a call that began `limit` before `deadline`; `what` names what is waited for.
    pub(crate) fn within<W: Fn() -> String>(&self, deadline: Instant, limit: Duration, what: W) -> Within<'_, W> {
        Within { cluster: self, deadline, limit, what }
    }

    /// The error of a call that had no more time, with what may be the reason.
    pub(crate) fn timed_out(&self, what: String, limit: Duration) -> ClientError {
        let what = match self.last_failure() {
            Some(last) => format!("{what} (last failure: {last})"),
            None => what,
        };
        ClientError::timeout(what, limit)
    }

    /// As [`within`](Self::within), from now on for
    /// [`CommonConfig::api_timeout`](crate::config::CommonConfig::api_timeout).
    pub(crate) fn within_api_timeout<W: Fn() -> String>(&self, what: W) -> Within<'_, W> {
        let limit = self.config().api_timeout;
        self.within(Instant::now() + limit, limit, what)
    }
}

impl<W: Fn() -> String> Within<'_, W> {
    /// Waits for `call` as long as there is time.
    ///
    /// # Errors
    /// What `call` fails with, or [`ClientError::Timeout`] with the last failure to connect.
    pub(crate) async fn wait<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        match tokio::time::timeout_at(self.deadline.into(), call).await {
            Ok(result) => result,
            Err(_) => Err(self.cluster.timed_out((self.what)(), self.limit)),
        }
    }
}
