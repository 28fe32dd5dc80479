//! How tests wait for what nobody tells of: they ask until it is so.
#![allow(dead_code, reason = "each of the tests uses a part")]
#![allow(clippy::panic, reason = "a failure here fails a test")]

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use vltava::streams::{
    KafkaStreams,
    query::{QueryableStoreTypes, StoreQueryParameters},
};

/// Longer than anything takes on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is an answer; `told` is said if there is none in time.
#[track_caller]
fn asked<T>(mut ask: impl FnMut() -> Option<T>, told: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        if Instant::now() >= deadline {
            panic!("not in time: {}", told());
        }
        std::thread::yield_now();
    }
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    asked(ask, || what.to_owned())
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    asked(|| is_so().then_some(()), || what.to_owned());
}

/// Waits until something is what it should be.
#[track_caller]
pub(crate) fn await_equal<T: Debug + PartialEq>(look: impl Fn() -> T, wanted: &T) {
    asked(|| (look() == *wanted).then_some(()), || format!("{:?} is not {wanted:?}", look()));
}

/// Waits until the store `counts` of an application has counted a key so often.
#[track_caller]
pub(crate) fn await_count(streams: &KafkaStreams, key: &str, wanted: i64) {
    let count = || {
        let kind = QueryableStoreTypes::key_value_store::<String, i64>();
        let counts = streams.store(&StoreQueryParameters::from_name_and_type("counts", kind));
        counts.and_then(|counts| counts.get(&key.to_owned()))
    };
    let is_so = || matches!(count(), Ok(Some(count)) if count == wanted);
    asked(|| is_so().then_some(()), || format!("{:?}, {:?}", count(), streams.failure()));
}
