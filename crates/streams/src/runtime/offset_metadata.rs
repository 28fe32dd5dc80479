//! What a commit keeps beside an offset: the partition's time and those of processors, in the form of the JVM's
//! `TopicPartitionMetadata`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

/// The form with a partition time and, after it, times that processors keep.
const LATEST: u8 = 2;

/// What a commit's metadata text says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Times {
    pub(super) partition: i64,
    pub(super) processors: BTreeMap<String, i64>,
}

/// The metadata text of a commit.
pub(super) fn encode(partition_time: i64, processors: &BTreeMap<String, i64>) -> String {
    let mut bytes = vec![LATEST];
    bytes.extend_from_slice(&partition_time.to_be_bytes());
    if !processors.is_empty() {
        bytes.extend_from_slice(&length(processors.len()));
        for (name, time) in processors {
            bytes.extend_from_slice(&length(name.len()));
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&time.to_be_bytes());
        }
    }
    STANDARD.encode(bytes)
}

fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}

/// The times in a commit's metadata text; `None` if there are none, or they are of another application.
pub(super) fn decode(metadata: &str) -> Option<Times> {
    let bytes = STANDARD.decode(metadata).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let processors = match version {
        1 => BTreeMap::new(),
        // A partition's time counts even if what follows it is broken.
        &LATEST => processors(rest).unwrap_or_default(),
        _ => return None,
    };
    Some(Times { partition: i64::from_be_bytes(*time), processors })
}

fn processors(bytes: &[u8]) -> Option<BTreeMap<String, i64>> {
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut times = BTreeMap::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, more) = rest.split_first_chunk::<4>()?;
        let (name, more) = more.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        let (time, more) = more.split_first_chunk::<8>()?;
        times.insert(String::from_utf8_lossy(name).into_owned(), i64::from_be_bytes(*time));
        rest = more;
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    // By Apache Kafka 4.3.1: new TopicPartitionMetadata(1700000000000L, metadata).encode()
    const NONE: &str = "AgAAAYvP5WgA";
    const ONE: &str = "AgAAAYvP5WgAAAAAAQAAAAZjb3VudHMAAAGLz+VA8A==";
    const TWO: &str = "AgAAAYvP5WgAAAAAAgAAAChLU1RSRUFNLUFHR1JFR0FURS1TVEFURS1TVE9SRS0wMDAwMDAwMDAxAAAAAAAAAAcAAAAGY291bnRzAAABi8/lQPA=";

    fn kept() -> BTreeMap<String, i64> {
        [("counts".to_owned(), 1_699_999_990_000), ("KSTREAM-AGGREGATE-STATE-STORE-0000000001".to_owned(), 7)].into()
    }

    #[test]
    fn is_what_the_jvm_writes() {
        let mut one = kept();
        one.retain(|name, _| name == "counts");
        for (processors, text) in [(BTreeMap::new(), NONE), (one, ONE), (kept(), TWO)] {
            assert_eq!(encode(1_700_000_000_000, &processors), text);
            assert_eq!(decode(text), Some(Times { partition: 1_700_000_000_000, processors }));
        }
    }

    #[test]
    fn reads_the_first_version_and_refuses_what_is_not_its_own() {
        assert_eq!(decode("AQAAAYvP5WgA").map(|times| times.partition), Some(1_700_000_000_000));
        for other in ["", "AwAAAYvP5WgA", "not base64!", "AgAA"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }

    #[test]
    fn broken_times_of_processors_leave_the_partitions_time() {
        let bytes = STANDARD.decode(TWO).unwrap();
        let huge = [&bytes[..9], &[0x7f; 8]].concat();
        let cut = (10..bytes.len()).map(|end| bytes[..end].to_vec());
        for broken in cut.chain([huge, [&bytes[..13], &[0xff; 12]].concat()]) {
            let times = decode(&STANDARD.encode(&broken));
            assert_eq!(times, Some(Times { partition: 1_700_000_000_000, processors: BTreeMap::new() }));
        }
    }
}
