//! What a commit keeps beside an offset: the partition's time, in the form of the JVM's `TopicPartitionMetadata`.

use base64::{Engine, engine::general_purpose::STANDARD};

/// The form with a partition time and, after it, times that processors keep; this version writes none of those.
const LATEST: u8 = 2;

/// The metadata text of a commit.
pub(super) fn encode(partition_time: i64) -> String {
    let mut bytes = [LATEST, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some((_, time)) = bytes.split_first_mut() {
        time.copy_from_slice(&partition_time.to_be_bytes());
    }
    STANDARD.encode(bytes)
}

/// The partition time in a commit's metadata text; `None` if there is none, or it is of another application.
pub(super) fn decode(metadata: &str) -> Option<i64> {
    let bytes = STANDARD.decode(metadata).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (time, _) = rest.split_first_chunk::<8>()?;
    matches!(version, 1 | 2).then(|| i64::from_be_bytes(*time))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn is_what_the_jvm_writes() {
        // new TopicPartitionMetadata(1700000000000L, new ProcessorMetadata()).encode()
        assert_eq!(encode(1_700_000_000_000), "AgAAAYvP5WgA");
        assert_eq!(decode("AgAAAYvP5WgA"), Some(1_700_000_000_000));
    }

    #[test]
    fn reads_the_first_version_and_refuses_what_is_not_its_own() {
        assert_eq!(decode("AQAAAYvP5WgA"), Some(1_700_000_000_000));
        for other in ["", "AwAAAYvP5WgA", "not base64!", "AgAA"] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
