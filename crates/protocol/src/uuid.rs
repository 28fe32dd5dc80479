use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A 128-bit identifier, as Kafka has for topics, directories and members; its text is URL-safe base64
/// without padding, 22 characters.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// A text is not a [`Uuid`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a base64 UUID of 16 bytes")]
pub struct ParseUuidError(String);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 16 bytes in base64 without padding.
const TEXT_LEN: usize = 22;

impl Uuid {
    /// The null identifier.
    pub const ZERO: Self = Self([0; 16]);
    /// The identifier of `__cluster_metadata`; never given to another topic.
    pub const ONE: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Creates an identifier from its 16 bytes, the most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Creates an identifier from 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits.to_be_bytes())
    }

    /// Creates a version 4 identifier from 16 random bytes.
    ///
    /// `None` for the rare ones that Kafka does not give out because their text starts with a dash:
    /// draw again.
    pub fn random_from(mut bytes: [u8; 16]) -> Option<Self> {
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        let id = Self(bytes);
        // The dash is value 62: the top six bits of the first byte. Zero and one are not of version 4.
        (bytes.first().is_some_and(|first| first >> 2 != 62)).then_some(id)
    }

    /// Returns the 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the 128 bits.
    pub const fn as_u128(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Returns whether this is the null identifier.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.as_u128();
        let mut text = [0; TEXT_LEN];
        for (index, slot) in text.iter_mut().enumerate() {
            // The last character has two bits of the value and four of padding.
            let sextet = if index == TEXT_LEN - 1 { bits << 4 } else { bits >> (122 - 6 * index) };
            *slot = ALPHABET.get((sextet & 63) as usize).copied().unwrap_or(b'?');
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    /// Reads the base64 text, with or without its two padding characters.
    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let error = || ParseUuidError(text.to_owned());
        let digits = text.strip_suffix("==").unwrap_or(text);
        if digits.len() != TEXT_LEN {
            return Err(error());
        }
        let mut bits = 0u128;
        for (index, byte) in digits.bytes().enumerate() {
            let sextet = ALPHABET.iter().position(|c| *c == byte).ok_or_else(error)? as u128;
            // As Java's decoder, the padding bits of the last character are dropped unread.
            bits = if index == TEXT_LEN - 1 { bits << 2 | sextet >> 4 } else { bits << 6 | sextet };
        }
        Ok(Self::from_u128(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The texts are those that Java's `Uuid.toString` gives for these bits.
    #[test]
    fn text_is_url_safe_base64_without_padding() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::from_u128(u128::MAX).to_string(), "_____________________w");
        assert_eq!(Uuid::from_bytes(*b"0123456789abcdef").to_string(), "MDEyMzQ1Njc4OWFiY2RlZg");
    }

    #[test]
    fn text_is_read_back() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            let id = Uuid::from_u128(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(format!("{id}==").parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAA+AAAAAAAAAAA", "ä"] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_ones_are_of_version_4_and_never_start_with_a_dash() {
        for first in 0..=255 {
            let mut bytes = [0; 16];
            bytes[0] = first;
            match Uuid::random_from(bytes) {
                Some(id) => {
                    assert!(!id.to_string().starts_with('-'));
                    assert_eq!(id.as_bytes()[6] >> 4, 4);
                    assert_eq!(id.as_bytes()[8] >> 6, 2);
                }
                None => assert_eq!(first >> 2, 62),
            }
        }
    }
}
