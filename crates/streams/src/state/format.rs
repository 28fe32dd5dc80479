//! In which form the rows of a store lie on disk: what its mark says.
//!
//! A store keeps its rows in the form that its kind, its supplier and `dsl.store.format` choose together, and nothing in a
//! row tells which one it is. So every store's directory has a mark, a small text file that is written when the store is
//! made and compared whenever it is opened.

use std::fmt;

/// What the keys of an engine are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFormat {
    /// The store's own keys.
    Plain,
    /// Segments of versions (KIP-889), each this long in ms.
    Versioned { segment_interval: i64 },
    /// Time, side and key of records that have met no other: an outer join of streams.
    OuterJoin,
    /// Time, number and key of records that wait for their table: a join with a grace period.
    JoinBuffer,
    /// Foreign key and primary key: who subscribes to which row.
    Subscription,
    /// Key, start of the window and number, in segments of time of this length in ms.
    Window { segment_interval: i64, duplicates: bool },
    /// Key, end and start of the session, in segments of time of this length in ms.
    Session { segment_interval: i64 },
}

/// What stands in front of a row's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueFormat {
    /// Nothing.
    Plain,
    /// Its timestamp (KIP-258).
    Timestamped,
    /// Its headers (KIP-1271).
    WithHeaders,
    /// Its headers, then its timestamp (KIP-1271).
    TimestampedWithHeaders,
}

/// The form of a store's rows on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFormat {
    pub(crate) keys: KeyFormat,
    pub(crate) values: ValueFormat,
}

/// The first line of a mark. A later form of these files has another number.
const FIRST_LINE: &str = "vltava.store.version=1";

impl KeyFormat {
    fn name(self) -> &'static str {
        match self {
            KeyFormat::Plain => "plain",
            KeyFormat::Versioned { .. } => "versioned",
            KeyFormat::OuterJoin => "outer-join",
            KeyFormat::JoinBuffer => "join-buffer",
            KeyFormat::Subscription => "subscription",
            KeyFormat::Window { duplicates: false, .. } => "window",
            KeyFormat::Window { duplicates: true, .. } => "window-with-duplicates",
            KeyFormat::Session { .. } => "session",
        }
    }

    fn segment_interval(self) -> Option<i64> {
        match self {
            KeyFormat::Versioned { segment_interval }
            | KeyFormat::Window { segment_interval, .. }
            | KeyFormat::Session { segment_interval } => Some(segment_interval),
            KeyFormat::Plain | KeyFormat::OuterJoin | KeyFormat::JoinBuffer | KeyFormat::Subscription => None,
        }
    }
}

impl ValueFormat {
    fn name(self) -> &'static str {
        match self {
            ValueFormat::Plain => "plain",
            ValueFormat::Timestamped => "timestamped",
            ValueFormat::WithHeaders => "with-headers",
            ValueFormat::TimestampedWithHeaders => "timestamped-with-headers",
        }
    }
}

impl StoreFormat {
    pub(crate) fn new(keys: KeyFormat, values: ValueFormat) -> Self {
        StoreFormat { keys, values }
    }

    /// What the mark of such a store says.
    pub(super) fn mark(self) -> String {
        let (keys, values) = (self.keys.name(), self.values.name());
        let interval = self.keys.segment_interval().map(|interval| format!("segment.interval.ms={interval}\n"));
        format!("{FIRST_LINE}\nkeys={keys}\nvalues={values}\n{}", interval.unwrap_or_default())
    }

    /// Whether the changelog of a store with another mark has records of the form that this store's has. A changelog has
    /// a row's timestamp and headers in the record, whatever the store does with them, and versions one by one.
    pub(super) fn shares_changelog_with(self, mark: &str) -> bool {
        let kind = |name: &str| if name == "versioned" { "plain".to_owned() } else { name.to_owned() };
        // A mark that cannot be read says nothing about the changelog.
        field(mark, "keys").is_none_or(|keys| kind(keys) == kind(self.keys.name()))
    }
}

/// For people: what a mark says of the rows.
pub(super) fn describe(mark: &str) -> impl fmt::Display {
    match (field(mark, "keys"), field(mark, "values"), field(mark, "segment.interval.ms")) {
        (Some(keys), Some(values), Some(interval)) => {
            format!("{values} values under {keys} keys in segments of {interval} ms")
        }
        (Some(keys), Some(values), None) => format!("{values} values under {keys} keys"),
        _ => "rows in a form that this version does not know".to_owned(),
    }
}

fn field<'a>(mark: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = mark.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_what_tells_two_stores_apart() {
        let window = |segment_interval, duplicates| KeyFormat::Window { segment_interval, duplicates };
        let formats = [
            StoreFormat::new(KeyFormat::Plain, ValueFormat::Plain),
            StoreFormat::new(KeyFormat::Plain, ValueFormat::Timestamped),
            StoreFormat::new(KeyFormat::Plain, ValueFormat::TimestampedWithHeaders),
            StoreFormat::new(KeyFormat::Versioned { segment_interval: 5 }, ValueFormat::Plain),
            StoreFormat::new(KeyFormat::OuterJoin, ValueFormat::Plain),
            StoreFormat::new(KeyFormat::JoinBuffer, ValueFormat::Plain),
            StoreFormat::new(KeyFormat::Subscription, ValueFormat::Timestamped),
            StoreFormat::new(window(5, false), ValueFormat::Timestamped),
            StoreFormat::new(window(6, false), ValueFormat::Timestamped),
            StoreFormat::new(window(5, true), ValueFormat::Timestamped),
            StoreFormat::new(KeyFormat::Session { segment_interval: 5 }, ValueFormat::Plain),
            StoreFormat::new(KeyFormat::Session { segment_interval: 5 }, ValueFormat::WithHeaders),
        ];
        for (at, one) in formats.iter().enumerate() {
            for (other_at, other) in formats.iter().enumerate() {
                assert_eq!(one.mark() == other.mark(), at == other_at, "{one:?} and {other:?}");
            }
        }
        assert_eq!(
            describe(&formats[7].mark()).to_string(),
            "timestamped values under window keys in segments of 5 ms"
        );
        assert!(describe("vltava.store.version=2\nkeys=x").to_string().contains("does not know"));
    }

    #[test]
    fn rows_of_one_key_format_share_a_changelog_and_so_do_versions() {
        let plain = StoreFormat::new(KeyFormat::Plain, ValueFormat::Plain);
        let timestamped = StoreFormat::new(KeyFormat::Plain, ValueFormat::Timestamped);
        let versioned = StoreFormat::new(KeyFormat::Versioned { segment_interval: 1 }, ValueFormat::Plain);
        let session = StoreFormat::new(KeyFormat::Session { segment_interval: 1 }, ValueFormat::Plain);
        assert!(plain.shares_changelog_with(&timestamped.mark()));
        assert!(plain.shares_changelog_with(&versioned.mark()));
        assert!(versioned.shares_changelog_with(&timestamped.mark()));
        assert!(!plain.shares_changelog_with(&session.mark()));
        assert!(session.shares_changelog_with("\0\0"));
    }
}
