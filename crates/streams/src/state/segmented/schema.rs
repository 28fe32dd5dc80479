//! The bytes of keys in time, as they are in changelogs and engines.

/// Start in ms (8 bytes, big endian) and sequence number (4) behind a window store's keys.
const WINDOW_SUFFIX: usize = 12;
/// End and start in ms (8 bytes each, big endian) behind a session store's keys.
const SESSION_SUFFIX: usize = 16;

/// What stands behind a key's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySchema {
    /// Window stores: the window's start in ms (8 bytes, big endian), then a sequence number (4 bytes) that tells the
    /// values of one key and window apart where the store keeps them all, and is 0 where it does not.
    Window,
    /// Session stores: the session's end in ms, then its start (8 bytes each, big endian).
    Session,
}

impl KeySchema {
    fn suffix(self) -> usize {
        match self {
            KeySchema::Window => WINDOW_SUFFIX,
            KeySchema::Session => SESSION_SUFFIX,
        }
    }

    /// The key's own bytes, and the rest.
    pub(crate) fn split(self, key: &[u8]) -> (&[u8], &[u8]) {
        key.split_at_checked(key.len().saturating_sub(self.suffix())).unwrap_or((key, &[]))
    }

    /// The time by which the entry is filed and expires: a window's start, a session's end.
    pub(crate) fn time(self, key: &[u8]) -> i64 {
        long(self.split(key).1, 0)
    }

    /// A session's start.
    pub(crate) fn session_start(key: &[u8]) -> i64 {
        long(KeySchema::Session.split(key).1, 8)
    }

    /// Whether an entry is in a range of keys and times.
    pub(crate) fn matches(self, key: &[u8], range: &super::TimeRange<'_>) -> bool {
        let (own, suffix) = self.split(key);
        let time = long(suffix, 0);
        let last = match self {
            KeySchema::Window => time,
            KeySchema::Session => long(suffix, 8),
        };
        time >= range.from && last <= range.to && range.has_key(own)
    }

    /// Bounds in the engine's order that hold all entries of the range; entries that are not in it may be between them.
    pub(crate) fn bounds(self, range: &super::TimeRange<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let single = range.from_key.is_some() && range.from_key == range.to_key;
        let lower = range.from_key.map(|key| match single {
            // Nothing of this key is earlier.
            true => [key, &range.from.max(0).to_be_bytes()].concat(),
            false => key.to_vec(),
        });
        let upper = range.to_key.map(|key| {
            let suffix = match self {
                KeySchema::Window => [&range.to.max(0).to_be_bytes()[..], &i32::MAX.to_be_bytes()].concat(),
                KeySchema::Session => [i64::MAX.to_be_bytes(), range.to.max(0).to_be_bytes()].concat(),
            };
            if single { [key, &suffix].concat() } else { above(key, &suffix) }
        });
        (lower, upper)
    }
}

/// A bound above every key up to `key` with a suffix up to `suffix`: a shorter key's suffix may compare with the bytes
/// of a longer key, so those that are less than the suffix's first are left out (Kafka's `OrderedBytes`).
fn above(key: &[u8], suffix: &[u8]) -> Vec<u8> {
    let first = suffix.first().copied().unwrap_or_default();
    let kept = key.iter().enumerate().take_while(|(at, byte)| *at < 1 || **byte >= first).count();
    [key.get(..kept).unwrap_or_default(), suffix].concat()
}

fn long(bytes: &[u8], at: usize) -> i64 {
    let eight = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    eight.map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::TimeRange;

    #[test]
    fn keys_are_kafkas() {
        let window = [b"k".as_slice(), &5i64.to_be_bytes(), &3i32.to_be_bytes()].concat();
        assert_eq!(KeySchema::Window.split(&window).0, b"k");
        assert_eq!(KeySchema::Window.time(&window), 5);
        let session = [b"key".as_slice(), &9i64.to_be_bytes(), &7i64.to_be_bytes()].concat();
        assert_eq!(KeySchema::Session.time(&session), 9);
        assert_eq!(KeySchema::session_start(&session), 7);
        assert_eq!(KeySchema::Window.time(b"short"), 0);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_what_matches(
            // As in Kafka a range may miss keys that another one continues with a byte that is no greater than the first of
            // a timestamp, which is 0.
            key in proptest::collection::vec(1u8..4, 1..4),
            from_key in proptest::option::of(proptest::collection::vec(1u8..4, 1..4)),
            to_key in proptest::option::of(proptest::collection::vec(1u8..4, 1..4)),
            (start, length) in (0i64..1000, 0i64..1000),
            (from, to) in (-5i64..1000, -5i64..2000),
        ) {
            let range = TimeRange { from_key: from_key.as_deref(), to_key: to_key.as_deref(), from, to };
            let window = [&key[..], &start.to_be_bytes(), &1i32.to_be_bytes()].concat();
            let session = [&key[..], &(start + length).to_be_bytes(), &start.to_be_bytes()].concat();
            for (schema, key) in [(KeySchema::Window, window), (KeySchema::Session, session)] {
                let (lower, upper) = schema.bounds(&range);
                if schema.matches(&key, &range) {
                    prop_assert!(lower.is_none_or(|lower| lower <= key));
                    prop_assert!(upper.is_none_or(|upper| upper >= key));
                }
            }
        }
    }
}
