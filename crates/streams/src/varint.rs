//! Kafka's signed varint: zigzag, seven bits a byte, the lowest first.

pub(crate) fn write(value: i32, out: &mut Vec<u8>) {
    let mut zigzag = (value.wrapping_shl(1) ^ (value >> 31)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// The number and what is behind it.
pub(crate) fn read(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let mut zigzag = 0u32;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        zigzag |= u32::from(byte & 0x7f).wrapping_shl(7 * at as u32);
        if byte & 0x80 == 0 {
            let value = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
            return bytes.get(at + 1..).map(|rest| (value, rest));
        }
    }
    None
}

/// Writes a length, or the greatest that there is.
pub(crate) fn write_length(len: usize, out: &mut Vec<u8>) {
    write(i32::try_from(len).unwrap_or(i32::MAX), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(value: i32, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            super::write(value, &mut bytes);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(super::read(&bytes), Some((value, &rest[..])));
        }
    }

    #[test]
    fn an_endless_one_is_none() {
        assert_eq!(super::read(&[0x80; 9]), None);
    }
}
