use bytes::Bytes;
use proptest::prelude::*;

use super::rows::Rows;
use crate::state::{InMemoryKeyValueStore, KeyValueBytesStore, LsmEngine, LsmOptions};

const HISTORY: i64 = 40;
const INTERVAL: i64 = 15;

/// A key, a value or a deletion, a timestamp.
type Put = (u8, Option<u8>, i64);

fn puts() -> impl Strategy<Value = Vec<Put>> {
    let put = (0u8..3, prop::option::weighted(0.7, any::<u8>()), 0i64..60);
    prop::collection::vec(put, 1..60).prop_map(|puts| {
        // Time goes on, and back by up to more than the history.
        let put = |(at, (key, value, late)): (usize, Put)| (key, value, (at as i64 * 4 - late).max(0));
        puts.into_iter().enumerate().map(put).collect()
    })
}

fn put(rows: &mut Rows, (key, value, timestamp): Put) -> super::VersionedPut {
    rows.put(&[key], value.map(|value| Bytes::copy_from_slice(&[value])), timestamp).unwrap()
}

fn in_memory() -> Rows {
    Rows::new(Box::new(InMemoryKeyValueStore::new("versions")), HISTORY, INTERVAL).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 5))]

    /// A store goes on as if nothing had been, from its disk and from its changelog.
    #[test]
    fn a_restart_changes_nothing(before in puts(), after in puts()) {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = || {
            let engine = LsmEngine::new(LsmOptions::default()).unwrap().open("versions", folder.path()).unwrap();
            Rows::new(Box::new(engine), HISTORY, INTERVAL).unwrap()
        };
        let (mut running, mut reopened) = (in_memory(), on_disk());
        for one in &before {
            prop_assert_eq!(put(&mut running, *one), put(&mut reopened, *one));
        }
        reopened.commit(Some(1)).unwrap();
        reopened.close().unwrap();
        drop(reopened);
        let mut reopened = on_disk();
        let mut restored = in_memory();
        for one in &before {
            put(&mut restored, *one);
        }
        let start = before.len() as i64 * 4;
        for (key, value, timestamp) in after {
            let one = (key, value, timestamp + start);
            let done = put(&mut running, one);
            prop_assert_eq!(done, put(&mut reopened, one));
            prop_assert_eq!(done, put(&mut restored, one));
        }
        prop_assert_eq!(running.all().unwrap(), reopened.all().unwrap());
        prop_assert_eq!(running.all().unwrap(), restored.all().unwrap());
        for (key, mut versions) in running.all().unwrap() {
            versions.reverse();
            prop_assert_eq!(running.get_between(&key, (i64::MIN, i64::MAX)).unwrap(), versions);
        }
    }
}

#[test]
fn what_has_ended_before_the_history_is_dropped_and_newest_values_stay() {
    let mut rows = in_memory();
    for timestamp in [0, 10, 20] {
        put(&mut rows, (1, Some(timestamp as u8), timestamp));
    }
    put(&mut rows, (2, None, 20));
    put(&mut rows, (3, Some(3), 1000));
    let all = rows.all().unwrap();
    let kept: Vec<_> = all.iter().map(|(key, versions)| (key[0], versions.clone())).collect();
    let newest = |value: u8, begin| vec![(begin, None, Bytes::copy_from_slice(&[value]))];
    assert_eq!(kept, [(1, newest(20, 20)), (3, newest(3, 1000))]);
    rows.commit(None).unwrap();
    assert_eq!(rows.engine().approximate_num_entries(), 3, "the newest values and the time");
}

/// As in Kafka, whose newest values leave no trace when a deletion of the same time takes their place.
#[test]
fn a_deletion_at_the_time_of_the_only_value_is_forgotten() {
    let mut rows = in_memory();
    for one in [(1, Some(1), 16), (1, None, 16), (1, Some(2), 39), (1, Some(3), 13)] {
        put(&mut rows, one);
    }
    assert_eq!(rows.get_as_of(&[1], 20).unwrap(), Some((13, Some(39), Bytes::from_static(&[3]))));
}

#[test]
fn a_foreign_engine_is_refused() {
    let mut engine = InMemoryKeyValueStore::new("versions");
    engine.put(b"short", Some(b"row")).unwrap();
    engine.put(&[0, 0, 0, 0, 0, 0, 0, 1, 7], Some(b"row")).unwrap();
    assert!(Rows::new(Box::new(engine), HISTORY, INTERVAL).is_err_and(|error| error.to_string().contains("versions")));
}
