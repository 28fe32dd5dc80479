//! Versioned stores (KIP-889), held against a map of every key's versions.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken test fails loudly")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use vltava_streams::{
    Context, Processor, Record, Result, StoreBuilder, StreamsBuilder, TopologyTestDriver, VersionedKeyValueStore,
    VersionedPut, VersionedRecord, state::KeyValueSupplier,
};

type Store = VersionedKeyValueStore<String, i64>;

/// In ms; what is put may be as late as that.
const HISTORY: i64 = 100;

#[derive(Clone, Debug)]
enum Op {
    Put(usize, Option<i64>, i64),
    Delete(usize, i64),
    Get(usize),
    GetAsOf(usize, i64),
}

const KEYS: [&str; 3] = ["", "a", "ab"];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..KEYS.len();
    // Few times, so that some are the same; late by up to more than the history.
    let late = || prop_oneof![4 => 0i64..12, 1 => 0i64..40].prop_map(|late| late * 5);
    let op = prop_oneof![
        6 => (key(), prop::option::weighted(0.7, 0i64..100), late()).prop_map(|(k, v, t)| Op::Put(k, v, t)),
        1 => (key(), late()).prop_map(|(k, t)| Op::Delete(k, t)),
        1 => key().prop_map(Op::Get),
        4 => (key(), late()).prop_map(|(k, t)| Op::GetAsOf(k, t)),
    ];
    let op = (op, prop_oneof![10 => 0i64..4, 1 => 0i64..60]);
    prop::collection::vec(op, 0..80).prop_map(|ops| {
        let mut now = 0;
        let op = |(op, step): (Op, i64)| {
            now += step * 5;
            match op {
                Op::Put(key, value, late) => Op::Put(key, value, (now - late).max(0)),
                Op::Delete(key, late) => Op::Delete(key, (now - late).max(0)),
                Op::GetAsOf(key, late) => Op::GetAsOf(key, now + 20 - late),
                get => get,
            }
        };
        ops.into_iter().map(op).collect()
    })
}

#[derive(Default)]
struct Model {
    stream_time: Option<i64>,
    /// Deletions are versions too.
    versions: BTreeMap<&'static str, BTreeMap<i64, Option<i64>>>,
    /// Times at which a version has ended, or which a deletion has left behind.
    ends: BTreeSet<(&'static str, i64)>,
}

impl Model {
    fn is_before_history(&self, time: i64) -> bool {
        self.stream_time.is_some_and(|now| time < now - HISTORY)
    }

    fn put(&mut self, key: &'static str, value: Option<i64>, time: i64) -> VersionedPut {
        if self.is_before_history(time) {
            return VersionedPut::NotPut;
        }
        self.stream_time = self.stream_time.max(Some(time));
        let versions = self.versions.entry(key).or_default();
        let next = versions.range(time + 1..).next().map(|(time, _)| *time);
        let newest = versions.last_key_value().and_then(|(time, value)| value.map(|_| *time));
        versions.insert(time, value);
        match (next, newest) {
            (Some(next), _) => drop(self.ends.insert((key, next))),
            (None, Some(newest)) if newest < time => drop(self.ends.insert((key, time))),
            (None, None) if value.is_none() => drop(self.ends.insert((key, time))),
            // Kafka keeps no deletion that takes the place of the newest value, unless another version ended there.
            (None, Some(_)) if value.is_none() && !self.ends.contains(&(key, time)) => drop(versions.remove(&time)),
            (None, _) => {}
        }
        next.map_or(VersionedPut::Latest, VersionedPut::ValidTo)
    }

    fn get(&self, key: &str) -> Option<VersionedRecord<i64>> {
        let (timestamp, value) = self.versions.get(key)?.last_key_value()?;
        Some(VersionedRecord { value: (*value)?, timestamp: *timestamp, valid_to: None })
    }

    fn get_as_of(&self, key: &str, time: i64) -> Option<VersionedRecord<i64>> {
        let versions = self.versions.get(key)?;
        let (timestamp, value) = versions.range(..=time).next_back()?;
        let valid_to = versions.range(timestamp + 1..).next().map(|(time, _)| *time);
        let known = valid_to.is_none() || !self.is_before_history(time);
        value.filter(|_| known).map(|value| VersionedRecord { value, timestamp: *timestamp, valid_to })
    }

    /// The versions that ended within the history, which no store may have dropped.
    fn history(&self) -> Vec<(String, VersionedRecord<i64>)> {
        let mut all = Vec::new();
        for (key, versions) in &self.versions {
            let ends = versions.keys().skip(1).copied().map(Some).chain([None]);
            for ((timestamp, value), valid_to) in versions.iter().zip(ends) {
                if let Some(value) = *value
                    && valid_to.is_none_or(|end| !self.is_before_history(end))
                {
                    all.push(((*key).to_owned(), VersionedRecord { value, timestamp: *timestamp, valid_to }));
                }
            }
        }
        all
    }
}

/// What the store is connected with; the test works with it from outside.
struct Idle;

impl Processor for Idle {
    type KIn = String;
    type VIn = String;
    type KOut = String;
    type VOut = String;

    fn process(&mut self, _: Record<String, String>, _: &mut Context<'_, Self>) -> Result<()> {
        Ok(())
    }
}

fn driver(segment_interval: i64) -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    let supplier = KeyValueSupplier::persistent_versioned_in_segments("s", ms(HISTORY), ms(segment_interval));
    let store = builder.add_state_store(StoreBuilder::<Store>::versioned(supplier));
    builder.stream::<String, String>("in").process_with(store, |_| Idle);
    TopologyTestDriver::new(&builder.build().unwrap()).unwrap()
}

fn check(ops: &[Op], segment_interval: i64) -> std::result::Result<(), TestCaseError> {
    let (driver, mut model) = (driver(segment_interval), Model::default());
    let (mut dropped, mut logged) = (0, Vec::new());
    for op in ops {
        let owned = |key: &usize| KEYS[*key].to_owned();
        match op {
            Op::Put(key, value, time) => {
                let done = driver.store::<Store, _>("s", |store| store.put(&owned(key), *value, *time)).unwrap();
                let expected = model.put(KEYS[*key], *value, *time);
                prop_assert_eq!(done, expected, "{:?}", op);
                dropped += u64::from(done == VersionedPut::NotPut);
                logged.push((owned(key), *value, *time));
            }
            Op::Delete(key, time) => {
                let was = driver.store::<Store, _>("s", |store| store.delete(&owned(key), *time)).unwrap();
                let expected = model.get_as_of(KEYS[*key], *time).filter(|_| !model.is_before_history(*time));
                prop_assert_eq!(was, expected, "{:?}", op);
                dropped += u64::from(model.put(KEYS[*key], None, *time) == VersionedPut::NotPut);
                logged.push((owned(key), None, *time));
            }
            Op::Get(key) => {
                let got = driver.store::<Store, _>("s", |store| store.get(&owned(key))).unwrap();
                prop_assert_eq!(got, model.get(KEYS[*key]));
            }
            Op::GetAsOf(key, time) => {
                let got = driver.store::<Store, _>("s", |store| store.get_as_of(&owned(key), *time)).unwrap();
                prop_assert_eq!(got, model.get_as_of(KEYS[*key], *time), "{:?}", op);
            }
        }
    }
    let all = driver.store::<Store, _>("s", |store| store.all_versions()).unwrap();
    let kept: Vec<_> = all
        .into_iter()
        .filter(|(_, version)| version.valid_to.is_none_or(|end| !model.is_before_history(end)))
        .collect();
    prop_assert_eq!(kept, model.history());
    prop_assert_eq!(driver.dropped_records(), dropped);
    let history = driver.history();
    let changelog: Vec<_> = history
        .iter()
        .map(|record| {
            let key = String::from_utf8(record.key.as_ref().unwrap().to_vec()).unwrap();
            let value = record.value.as_ref().map(|value| i64::from_be_bytes(value[..].try_into().unwrap()));
            (key, value, record.timestamp.unwrap())
        })
        .collect();
    prop_assert_eq!(changelog, logged);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_has_every_version_within_its_history(
        ops in ops(),
        segment_interval in prop::sample::select(vec![1i64, 20, 50, 1000]),
    ) {
        check(&ops, segment_interval)?;
    }
}
