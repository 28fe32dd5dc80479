//! Names of the files and directories of a log.

use std::path::{Path, PathBuf};

use crate::TopicPartition;

pub(crate) const LOG: &str = ".log";
pub(crate) const INDEX: &str = ".index";
pub(crate) const TIME_INDEX: &str = ".timeindex";
pub(crate) const TXN_INDEX: &str = ".txnindex";
pub(crate) const SNAPSHOT: &str = ".snapshot";
pub(crate) const DELETED: &str = ".deleted";
pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";
pub(crate) const DELETE_DIR: &str = "-delete";
pub(crate) const FUTURE_DIR: &str = "-future";
pub(crate) const STRAY_DIR: &str = "-stray";

/// `00000000000000000042.log` and its like: `kind` is one of the constants above, `suffix` is empty or `.deleted`,
/// `.cleaned`, `.swap`.
pub(crate) fn segment_file(dir: &Path, base_offset: i64, kind: &str, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}{kind}{suffix}"))
}

/// The offset at the start of a segment file's name; `None` where the name has none.
pub(crate) fn offset_of(name: &str) -> Option<i64> {
    let (digits, _) = name.split_once('.')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What a directory inside a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartitionDir {
    /// `topic-0`
    Current(TopicPartition),
    /// `topic-0.<id>-delete`, to be removed.
    Deleted(TopicPartition),
    /// `topic-0.<id>-future`, a replica on its way between directories.
    Future(TopicPartition),
    /// `topic-0.<id>-stray`, kept for the operator.
    Stray(TopicPartition),
}

impl PartitionDir {
    /// Understands a directory's name; `None` where it is not a partition's.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        type Kind = fn(TopicPartition) -> PartitionDir;
        let kinds: [(&str, Kind); 3] =
            [(DELETE_DIR, Self::Deleted), (FUTURE_DIR, Self::Future), (STRAY_DIR, Self::Stray)];
        for (suffix, kind) in kinds {
            if let Some(rest) = name.strip_suffix(suffix)
                && let Some((partition, unique)) = rest.rsplit_once('.')
                && !unique.is_empty()
            {
                return Some(kind(parse_topic_partition(partition)?));
            }
            if name.ends_with(suffix) {
                return None;
            }
        }
        parse_topic_partition(name).map(Self::Current)
    }
}

/// `topic-0`; the topic itself may hold dashes.
fn parse_topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if topic.is_empty() || partition.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

/// The name that a partition's directory gets when the partition is deleted or set aside. Within the 255 bytes of a file name:
/// a long topic is cut.
pub(crate) fn renamed_dir(partition: &TopicPartition, unique: u128, suffix: &str) -> String {
    let suffix = format!("-{}.{unique:032x}{suffix}", partition.partition);
    let topic: String = partition.topic.chars().take(255 - suffix.len()).collect();
    topic + &suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_of_partitions() {
        let tp = |t: &str, p| TopicPartition::new(t, p);
        let id = "0123456789abcdef0123456789abcdef";
        let cases = [
            ("users-0".to_owned(), Some(PartitionDir::Current(tp("users", 0)))),
            ("a-b.c_d-12".to_owned(), Some(PartitionDir::Current(tp("a-b.c_d", 12)))),
            (format!("a-b-3.{id}-delete"), Some(PartitionDir::Deleted(tp("a-b", 3)))),
            (format!("a-3.{id}-future"), Some(PartitionDir::Future(tp("a", 3)))),
            (format!("a-3.{id}-stray"), Some(PartitionDir::Stray(tp("a", 3)))),
            ("a-3-delete".to_owned(), None),
            ("users".to_owned(), None),
            ("-0".to_owned(), None),
            ("users-".to_owned(), None),
            ("users-x".to_owned(), None),
            ("users-99999999999".to_owned(), None),
        ];
        for (name, expected) in cases {
            assert_eq!(PartitionDir::parse(&name), expected, "{name}");
        }
    }

    #[test]
    fn deleted_directories_fit_into_a_file_name_and_parse_again() {
        let long = "t".repeat(249);
        let name = renamed_dir(&TopicPartition::new(long.as_str(), 7), 5, DELETE_DIR);
        assert_eq!(name.len(), 255);
        assert!(matches!(PartitionDir::parse(&name), Some(PartitionDir::Deleted(tp)) if tp.partition == 7));
    }

    #[test]
    fn offsets_in_file_names() {
        assert_eq!(offset_of("00000000000000000042.log.deleted"), Some(42));
        assert_eq!(offset_of("leader-epoch-checkpoint"), None);
        assert_eq!(offset_of("partition.metadata"), None);
        assert_eq!(offset_of(".lock"), None);
        assert_eq!(
            segment_file(Path::new("d"), 42, TIME_INDEX, SWAP),
            Path::new("d/00000000000000000042.timeindex.swap")
        );
    }
}
