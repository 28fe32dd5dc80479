//! When a provider's keys are read, as Kafka's `RefreshingHttpsJwks`: now and then, again where that fails, and at once where
//! a token names a key that is not among them.
//!
//! A state machine without a clock: whoever has it asks when a reading is due, does it, and says what came of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::JsonWebKeySet;

/// How often, by Kafka's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshSettings {
    /// `sasl.oauthbearer.jwks.endpoint.refresh.ms`.
    pub every: Duration,
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.ms`: the first pause after a failure; each is twice the one before.
    pub backoff: Duration,
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms`: for how long it is tried again.
    pub backoff_max: Duration,
}

/// How many keys are remembered that are not there, and for how long, and how long their ids may be: Kafka's numbers.
const MISSING_KEYS: usize = 16;
const MISSING_FOR: Duration = Duration::from_secs(60);
const LONGEST_ID: usize = 1000;

/// Between two readings that tokens have asked for: who makes up ids shall not have the provider asked without end. Kafka has
/// no such limit.
const BETWEEN_REQUESTED: Duration = Duration::from_secs(5);

/// The least pause between attempts that belong to nothing, as long as there are no keys.
const WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// When the keys are read: the schedule of Kafka's `RefreshingHttpsJwks`.
#[derive(Debug)]
pub struct JwksRefresh {
    settings: RefreshSettings,
    next: Instant,
    /// The attempts that belong together.
    trying: Option<Trying>,
    has_keys: bool,
    /// Those that tokens have named lately, the oldest first.
    missing: VecDeque<(String, Instant)>,
    requested_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Trying {
    until: Instant,
    pause: Duration,
}

/// What follows a failure, as in Kafka's `Retry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again after this long.
    Again(Duration),
    /// It is left for now, and begun anew after this long.
    Left(Duration),
}

impl JwksRefresh {
    /// The first reading is due at once.
    #[must_use]
    pub fn new(settings: RefreshSettings, now: Instant) -> Self {
        Self { settings, next: now, trying: None, has_keys: false, missing: VecDeque::new(), requested_at: None }
    }

    /// When the next reading is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.next
    }

    /// A reading begins.
    pub fn begin(&mut self, now: Instant) {
        let RefreshSettings { backoff, backoff_max, .. } = self.settings;
        self.trying.get_or_insert(Trying { until: now + backoff_max, pause: backoff });
        // Who asks for another meanwhile has a later one.
        self.next = now + self.settings.every;
    }

    /// There are these keys now.
    pub fn fetched(&mut self, keys: &JsonWebKeySet, now: Instant) {
        self.trying = None;
        self.has_keys = true;
        self.missing.retain(|(missing, _)| !keys.has(missing));
        self.next = self.next.min(now + self.settings.every);
    }

    /// There are none, or those from before still. `now` is when it failed.
    pub fn failed(&mut self, now: Instant) -> AfterFailure {
        let RefreshSettings { every, backoff, backoff_max } = self.settings;
        let left = self.trying.as_ref().map_or(Duration::ZERO, |trying| trying.until.saturating_duration_since(now));
        if let Some(trying) = self.trying.as_mut().filter(|trying| !trying.pause.min(left).is_zero()) {
            let pause = trying.pause.min(left);
            trying.pause = trying.pause.saturating_mul(2);
            self.next = now + pause;
            return AfterFailure::Again(pause);
        }
        self.trying = None;
        // Without any keys nobody is let in: that does not last until the next time.
        let pause = if self.has_keys { every } else { backoff_max.max(backoff).max(WITHOUT_KEYS).min(every) };
        self.next = self.next.min(now + pause);
        AfterFailure::Left(self.next.saturating_duration_since(now))
    }

    /// A token names a key that is not there. Whether that brings the next reading forward.
    pub fn is_missing(&mut self, id: &str, now: Instant) -> bool {
        // So long an id is none, and would take the memory of many.
        if id.len() > LONGEST_ID {
            return false;
        }
        if let Some(at) = self.missing.iter().position(|(missing, _)| missing == id) {
            let Some(known) = self.missing.remove(at) else { return false };
            let is_known = known.1 > now;
            if is_known {
                self.missing.push_back(known);
                return false;
            }
        }
        self.missing.push_back((id.to_owned(), now + MISSING_FOR));
        if self.missing.len() > MISSING_KEYS {
            self.missing.pop_front();
        }
        let earliest = self.requested_at.map_or(now, |at| (at + BETWEEN_REQUESTED).max(now));
        if earliest >= self.next {
            return false;
        }
        self.requested_at = Some(earliest);
        self.next = earliest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SETTINGS: RefreshSettings = RefreshSettings {
        every: Duration::from_secs(3600),
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
    };

    fn fetched(refresh: &mut JwksRefresh, now: Instant) {
        refresh.begin(now);
        refresh.fetched(&JsonWebKeySet::default(), now);
    }

    #[test]
    fn keys_are_read_at_once_and_then_seldom() {
        let now = Instant::now();
        let mut refresh = JwksRefresh::new(SETTINGS, now);
        assert_eq!(refresh.due(), now);
        fetched(&mut refresh, now);
        assert_eq!(refresh.due(), now + SETTINGS.every);
    }

    #[test]
    fn failures_are_tried_again_with_longer_pauses_and_then_left() {
        let start = Instant::now();
        let mut refresh = JwksRefresh::new(SETTINGS, start);
        let mut now = start;
        for pause in [100, 200, 400, 300] {
            refresh.begin(now);
            assert_eq!(refresh.failed(now), AfterFailure::Again(pause * MS));
            now += pause * MS;
            assert_eq!(refresh.due(), now);
        }
        assert_eq!(now, start + SETTINGS.backoff_max);
        refresh.begin(now);
        assert_eq!(refresh.failed(now), AfterFailure::Left(SETTINGS.backoff_max), "there are no keys at all");
        fetched(&mut refresh, now);
        now += SETTINGS.every;
        refresh.begin(now);
        now += 2 * SETTINGS.backoff_max;
        assert_eq!(refresh.failed(now), AfterFailure::Left(SETTINGS.every - 2 * SETTINGS.backoff_max));
    }

    #[test]
    fn without_pauses_it_is_not_tried_again_at_once() {
        let now = Instant::now();
        let zero = RefreshSettings { backoff: Duration::ZERO, ..SETTINGS };
        for settings in [zero, RefreshSettings { backoff_max: Duration::ZERO, ..zero }] {
            let mut refresh = JwksRefresh::new(settings, now);
            refresh.begin(now);
            assert_eq!(refresh.failed(now), AfterFailure::Left(WITHOUT_KEYS));
        }
    }

    #[test]
    fn an_unknown_key_brings_the_next_reading_forward_but_once() {
        let start = Instant::now();
        let mut refresh = JwksRefresh::new(SETTINGS, start);
        fetched(&mut refresh, start);
        let now = start + MS;
        assert!(refresh.is_missing("new", now));
        assert_eq!(refresh.due(), now);
        assert!(!refresh.is_missing("new", now), "it is on its way");
        fetched(&mut refresh, now);
        assert!(!refresh.is_missing("new", now + MISSING_FOR - MS), "it was looked for");
        assert!(refresh.is_missing("new", now + MISSING_FOR));
        refresh.begin(now + MISSING_FOR);
        let set = JsonWebKeySet::parse(br#"{"keys":[{"kty":"oct","kid":"new","k":"AQAB"}]}"#).unwrap();
        refresh.fetched(&set, now + MISSING_FOR);
        assert!(refresh.is_missing("new", now + MISSING_FOR + MS), "it was there in between");
    }

    #[test]
    fn who_makes_up_ids_has_the_provider_asked_seldom() {
        let start = Instant::now();
        let mut refresh = JwksRefresh::new(SETTINGS, start);
        fetched(&mut refresh, start);
        let mut readings = 0;
        for ms in 0..60_000 {
            let now = start + ms * MS;
            refresh.is_missing(&format!("made-up-{ms}"), now);
            if refresh.due() <= now {
                readings += 1;
                fetched(&mut refresh, now);
            }
        }
        assert_eq!(readings, 12);
        assert!(refresh.missing.len() <= MISSING_KEYS);
        assert!(!refresh.is_missing(&"x".repeat(LONGEST_ID + 1), start + SETTINGS.every));
    }
}
