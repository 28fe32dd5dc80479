//! Whether the broker does its work, and what is wrong with it: in the same words in the log and over HTTP.

mod trouble;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch as stop;
use tracing::{info, warn};

use self::watch::{Said, Watch};
use crate::services::Services;

/// How often somebody looks, whether or not anybody asks.
const LOOK: Duration = Duration::from_secs(10);

/// What the broker is doing, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BrokerState {
    NotRunning = 0,
    Starting = 1,
    Recovery = 2,
    Running = 3,
    ShuttingDown = 7,
}

impl BrokerState {
    fn of(number: u8) -> Self {
        let all = [Self::Starting, Self::Recovery, Self::Running, Self::ShuttingDown];
        all.into_iter().find(|state| *state as u8 == number).unwrap_or(Self::NotRunning)
    }

    /// What it waits for, or does; nothing where it serves.
    fn why_not_ready(self) -> Option<&'static str> {
        match self {
            Self::NotRunning => Some("the broker does not run"),
            Self::Starting => Some("the broker starts"),
            Self::Recovery => Some("the logs are being loaded"),
            Self::Running => None,
            Self::ShuttingDown => Some("the broker stops"),
        }
    }
}

/// What the broker is doing.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: AtomicU8,
}

impl Health {
    pub(crate) fn enter(&self, state: BrokerState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn state(&self) -> BrokerState {
        BrokerState::of(self.state.load(Ordering::Acquire))
    }

    /// Whether clients are served; why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.state().why_not_ready().map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// Whether going on makes sense, in words: what is wrong stands in either. Asks the disks.
    pub(crate) fn health(&self, services: Option<&Services>) -> Result<String, String> {
        let troubles = services.map_or_else(Vec::new, trouble::look);
        let words: Vec<&str> = troubles.iter().map(|trouble| trouble.words.as_str()).collect();
        match troubles.iter().any(|trouble| trouble.ends_with_a_restart) {
            true => Err(words.join("\n")),
            false => Ok(std::iter::once("ok").chain(words).collect::<Vec<_>>().join("\n")),
        }
    }
}

fn say(said: Said) {
    match said {
        Said::Begun(words) => warn!("{words}"),
        Said::Lasting(words, since) => warn!(since_s = since.as_secs(), "still: {words}"),
        Said::Over(words) => info!("no longer: {words}"),
    }
}

/// Says what is wrong, when it begins, now and then while it lasts, and when it is over.
pub(crate) async fn watch(services: Arc<Services>, mut stop: stop::Receiver<bool>) {
    let mut watch = Watch::default();
    loop {
        let looked = Arc::clone(&services);
        match tokio::task::spawn_blocking(move || trouble::look(&looked)).await {
            Ok(found) => watch.look(found, Instant::now()).into_iter().for_each(say),
            Err(error) => warn!(%error, "the look at the log directories panicked"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_ready_when_it_runs() {
        let health = Health::default();
        assert_eq!(health.ready(), Err("the broker does not run".to_owned()));
        for (state, is_ready) in [
            (BrokerState::Starting, false),
            (BrokerState::Recovery, false),
            (BrokerState::Running, true),
            (BrokerState::ShuttingDown, false),
        ] {
            health.enter(state);
            assert_eq!((health.state(), health.ready().is_ok()), (state, is_ready));
            assert_eq!(health.health(None), Ok("ok".to_owned()));
        }
    }
}
