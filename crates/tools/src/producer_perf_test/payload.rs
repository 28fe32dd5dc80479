//! What the records of a test hold.

use std::path::Path;

use regex_lite::Regex;

use crate::failure::Failure;

/// Where payloads come from.
#[derive(Debug)]
pub(super) enum Payloads {
    /// Random capital letters, as many as the record is long.
    Random(Vec<u8>),
    /// One of these, at random.
    Lines(Vec<String>),
    /// The record's number.
    Monotonic(String),
}

impl Payloads {
    /// The payload of the record with this number.
    pub(super) fn next(&mut self, number: u64, random: &mut SplittableRandom) -> &[u8] {
        match self {
            Self::Random(bytes) => {
                for byte in bytes.iter_mut() {
                    *byte = b'A' + random.below(26) as u8;
                }
                bytes
            }
            Self::Lines(lines) => {
                let index = random.below(i32::try_from(lines.len()).unwrap_or(i32::MAX)) as usize;
                lines.get(index).map(String::as_bytes).unwrap_or_default()
            }
            Self::Monotonic(text) => {
                *text = number.to_string();
                text.as_bytes()
            }
        }
    }

    /// The parts of a file between delimiters, which are a regular expression; one at either end is none.
    pub(super) fn read(path: &Path, delimiter: &str) -> Result<Vec<String>, Failure> {
        let refuse = || Failure::Message("File does not exist or empty file provided.".to_owned());
        let bytes = std::fs::read(path).map_err(|_| refuse())?;
        if bytes.is_empty() {
            return Err(refuse());
        }
        let text = String::from_utf8_lossy(&bytes);
        let delimiter = Regex::new(delimiter).map_err(|error| Failure::Message(error.to_string()))?;
        let mut parts: Vec<String> = delimiter.split(&text).map(str::to_owned).collect();
        if parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        if parts.first().is_some_and(String::is_empty) {
            parts.remove(0);
        }
        Ok(parts)
    }
}

/// Java's `SplittableRandom`, so that the payloads are those of Kafka's tool.
#[derive(Debug)]
pub(super) struct SplittableRandom {
    seed: u64,
}

impl SplittableRandom {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn next(&mut self) -> i32 {
        self.seed = self.seed.wrapping_add(Self::GOLDEN_GAMMA);
        let mut z = self.seed;
        z = (z ^ (z >> 33)).wrapping_mul(0x62a9_d9ed_7997_05f5);
        z = (z ^ (z >> 28)).wrapping_mul(0xcb24_d0a5_c88c_35b3);
        ((z >> 32) as u32).cast_signed()
    }

    /// A number from 0 up to `bound`, which is positive.
    fn below(&mut self, bound: i32) -> i32 {
        let drawn = self.next();
        let most = bound - 1;
        if bound & most == 0 {
            return drawn & most;
        }
        let positive = |drawn: i32| (drawn.cast_unsigned() >> 1).cast_signed();
        let mut drawn = positive(drawn);
        // Those that would make some numbers likelier are drawn again.
        loop {
            let rest = drawn % bound;
            if drawn.wrapping_add(most).wrapping_sub(rest) >= 0 {
                return rest;
            }
            drawn = positive(self.next());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_javas() {
        let mut random = SplittableRandom::new(0);
        let mut payloads = Payloads::Random(vec![0; 50]);
        // The first records of Kafka's tool with --record-size 50.
        for (number, expected) in [
            "YQHHNEBSEPDNSEIFGAMSUJXKOLTXSPLGHDIOYZJFNIDSPWHZMK",
            "VJAXDBZFCOXYKYRJOGYKDESSJMOIIOWVKYUAVWJLXSEPPFEILV",
            "BASHCGRHSYGIFSYLVGRXCDVABWWTRQZTMMPBAXGHEPHTASSORY",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(payloads.next(number as u64, &mut random), expected.as_bytes());
        }
    }

    #[test]
    fn files_are_split_as_a_scanner_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("payloads");
        for (text, expected) in
            [("a\nb\n", vec!["a", "b"]), ("a\n\nb", vec!["a", "", "b"]), ("\na", vec!["a"]), ("a\n\n", vec!["a", ""])]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(Payloads::read(&file, "\n").unwrap(), expected, "{text:?}");
        }
        std::fs::write(&file, "").unwrap();
        let refused = Payloads::read(&file, "\n").unwrap_err();
        assert_eq!(refused.message(), "File does not exist or empty file provided.");
    }
}
