//! How much of the processor is given to those who ask.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A tenth of the time may be used.
const SHARE: u32 = 10;

/// What may be used at once after a pause: a look at thousands of partitions takes some ten milliseconds.
const MOST_SPARE: Duration = Duration::from_millis(250);

/// What a connection costs whatever it asks for.
const OF_CONNECTION: Duration = Duration::from_micros(100);

/// The time that is left, of what all connections share.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Left>);

#[derive(Debug)]
struct Left {
    spare: Duration,
    /// What was used beyond that.
    owed: Duration,
    as_of: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Left { spare: MOST_SPARE, owed: Duration::ZERO, as_of: None }))
    }
}

impl Pace {
    /// Waits until there may be one more connection.
    pub(super) async fn turn(&self) {
        self.wait().await;
        self.0.lock().used(OF_CONNECTION);
    }

    /// Looks at something where waiting is allowed, when there is time for it: what is asked may have to wait for a
    /// thread's turn.
    pub(super) async fn during<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.wait().await;
        let begun = Instant::now();
        let found = tokio::task::spawn_blocking(look).await;
        self.0.lock().used(begun.elapsed());
        found.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn wait(&self) {
        loop {
            let wait = self.0.lock().wait(Instant::now());
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl Left {
    fn used(&mut self, time: Duration) {
        let of_spare = time.min(self.spare);
        self.spare -= of_spare;
        self.owed += time - of_spare;
    }

    /// How long it is until there is time again.
    fn wait(&mut self, now: Instant) -> Duration {
        let earned = now.duration_since(self.as_of.unwrap_or(now)) / SHARE;
        self.as_of = Some(now);
        let of_owed = earned.min(self.owed);
        self.owed -= of_owed;
        self.spare = (self.spare + earned - of_owed).min(MOST_SPARE);
        self.owed * SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_used_and_some_at_once() {
        let mut left = Left { spare: MOST_SPARE, owed: Duration::ZERO, as_of: None };
        let begun = Instant::now();
        assert_eq!(left.wait(begun), Duration::ZERO);
        left.used(MOST_SPARE + Duration::from_millis(50));
        assert_eq!(left.wait(begun), Duration::from_millis(500));
        assert_eq!(left.wait(begun + Duration::from_millis(200)), Duration::from_millis(300));
        assert_eq!(left.wait(begun + Duration::from_millis(500)), Duration::ZERO);
        left.used(Duration::from_millis(1));
        assert_eq!(left.wait(begun + Duration::from_millis(500)), Duration::from_millis(10));
        assert_eq!(left.wait(begun + Duration::from_secs(60)), Duration::ZERO);
        assert_eq!((left.spare, left.owed), (MOST_SPARE, Duration::ZERO));
    }
}
