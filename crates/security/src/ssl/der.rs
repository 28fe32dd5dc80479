//! ASN.1 in its distinguished encoding, as far as keys and certificates need it: tags, lengths, and what is within.

use super::error::StoreProblem;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag `[number]` of a constructed value that its context explains.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of a simple value that its context explains.
pub(super) const fn context_simple(number: u8) -> u8 {
    0x80 | number
}

/// One value after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    /// What is within.
    pub(super) content: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn peek_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(super) fn next(&mut self) -> Result<Value<'a>, StoreProblem> {
        let (value, rest) = split(self.0).ok_or(StoreProblem::Malformed("its ASN.1 cannot be read"))?;
        self.0 = rest;
        Ok(value)
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], StoreProblem> {
        match self.next()? {
            value if value.tag == tag => Ok(value.content),
            _ => Err(StoreProblem::Malformed("its ASN.1 has an unexpected type")),
        }
    }

    /// The content of the next value if it has this tag.
    pub(super) fn take_if(&mut self, tag: u8) -> Result<Option<&'a [u8]>, StoreProblem> {
        if self.peek_tag() == Some(tag) { self.take(tag).map(Some) } else { Ok(None) }
    }

    /// What is within the next value, a sequence.
    pub(super) fn sequence(&mut self) -> Result<Self, StoreProblem> {
        self.take(SEQUENCE).map(Self)
    }

    /// A number that is not negative.
    pub(super) fn unsigned(&mut self) -> Result<u32, StoreProblem> {
        number(self.take(INTEGER)?)
    }
}

/// A number that is not negative.
pub(super) fn number(content: &[u8]) -> Result<u32, StoreProblem> {
    let too_large = StoreProblem::Malformed("a number in it is out of range");
    let is_negative = content.first().is_none_or(|first| *first & 0x80 != 0);
    if is_negative || content.len() > 5 {
        return Err(too_large);
    }
    let value = content.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    u32::try_from(value).map_err(|_| too_large)
}

fn split(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    // Tags of more than one byte are in none of these formats.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, header) = match *first {
        short @ 0..=0x7f => (usize::from(short), 2),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let length = rest.get(..count)?.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            (length, 2 + count)
        }
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(header.checked_add(length)?)?;
    Some((Value { tag: *tag, content: whole.get(header..)?, whole }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_one_after_the_other() {
        let mut der = Der::new(&[0x02, 1, 5, 0x30, 2, 0x05, 0, 0x04, 0x81, 1, 9]);
        assert_eq!(der.unsigned(), Ok(5));
        assert_eq!(der.take_if(OCTET_STRING), Ok(None));
        assert!(!der.sequence().unwrap().is_empty());
        assert_eq!(der.take(OCTET_STRING), Ok([9].as_slice()));
        assert!(der.is_empty());
    }

    #[test]
    fn what_ends_too_early_is_malformed() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 5, 0],
            &[0x30, 0x80, 0, 0],
            &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x04, 0x85, 0, 0, 0, 0, 0],
        ] {
            assert!(Der::new(bytes).next().is_err(), "{bytes:?}");
        }
        assert!(number(&[0x80]).is_err() && number(&[1, 0, 0, 0, 0]).is_err() && number(&[]).is_err());
        assert_eq!(number(&[0, 0xff, 0xff, 0xff, 0xff]), Ok(u32::MAX));
    }
}
