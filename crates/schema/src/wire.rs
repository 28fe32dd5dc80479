//! The header that the registry's serializers put in front of a record: a zero byte and the schema's id, and for
//! Protobuf the place of the message in its file.

use crate::error::{Result, SchemaError};

/// The first byte.
pub const MAGIC_BYTE: u8 = 0;

/// How deep messages are nested at most; what claims to be deeper is not a header.
const MAX_DEPTH: usize = 64;

/// Appends the magic byte and a schema's id, big-endian.
pub fn put_header(id: i32, out: &mut Vec<u8>) {
    out.push(MAGIC_BYTE);
    out.extend_from_slice(&id.to_be_bytes());
}

/// The schema's id, and what follows.
///
/// # Errors
/// [`SchemaError::WireFormat`] for bytes without such a header.
pub fn split_header(bytes: &[u8]) -> Result<(i32, &[u8])> {
    match bytes {
        [MAGIC_BYTE, a, b, c, d, rest @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), rest)),
        [MAGIC_BYTE, rest @ ..] => {
            Err(SchemaError::WireFormat(format!("{} bytes of a schema's id, which has 4", rest.len())))
        }
        [other, ..] => Err(SchemaError::WireFormat(format!("magic byte {other} in place of 0"))),
        [] => Err(SchemaError::WireFormat("no bytes".to_owned())),
    }
}

/// Appends the place of a message: its index in the file, then that of each nested one in the one around it. The first
/// message of a file is a single zero.
pub fn put_message_indexes(indexes: &[usize], out: &mut Vec<u8>) {
    if indexes == [0] {
        return out.push(0);
    }
    put_varint(indexes.len(), out);
    for index in indexes {
        put_varint(*index, out);
    }
}

/// The place of a message, and what follows.
///
/// # Errors
/// [`SchemaError::WireFormat`] if the bytes are no such place.
pub fn split_message_indexes(bytes: &[u8]) -> Result<(Vec<usize>, &[u8])> {
    let (count, mut rest) = split_varint(bytes)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if count > MAX_DEPTH {
        return Err(SchemaError::WireFormat(format!("a message that is {count} deep")));
    }
    let mut indexes = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = split_varint(rest)?;
        indexes.push(index);
        rest = after;
    }
    Ok((indexes, rest))
}

/// Zigzag, as Kafka's `ByteUtils.writeVarint`; never negative here.
fn put_varint(number: usize, out: &mut Vec<u8>) {
    let mut left = (number as u64) << 1;
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn split_varint(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let rest = bytes.get(at + 1..).unwrap_or_default();
            return match number & 1 {
                0 => Ok(((number >> 1) as usize, rest)),
                _ => Err(SchemaError::WireFormat("a negative message index".to_owned())),
            };
        }
    }
    Err(SchemaError::WireFormat("message indexes that end too early".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(path: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message_indexes(path, &mut out);
        out
    }

    #[test]
    fn headers_are_those_of_the_java_serializers() {
        let mut out = Vec::new();
        put_header(258, &mut out);
        assert_eq!(out, [0, 0, 0, 1, 2]);
        assert_eq!(indexes(&[0]), [0]);
        assert_eq!(indexes(&[1]), [2, 2]);
        assert_eq!(indexes(&[1, 0]), [4, 2, 0]);
        assert_eq!(indexes(&[100]), [2, 0xc8, 0x01]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        for path in [&[0][..], &[3], &[0, 0], &[70, 1, 200]] {
            let bytes = [indexes(path), b"rest".to_vec()].concat();
            assert_eq!(split_message_indexes(&bytes).unwrap(), (path.to_vec(), &b"rest"[..]));
        }
        assert_eq!(split_header(&[0, 0, 0, 1, 2, 9]).unwrap(), (258, &[9][..]));
    }

    #[test]
    fn other_bytes_are_refused() {
        let header = |bytes: &[u8]| split_header(bytes).unwrap_err().to_string();
        assert_eq!(header(b"{}"), "not in the schema registry's wire format: magic byte 123 in place of 0");
        assert!(header(&[0, 1]).ends_with("1 bytes of a schema's id, which has 4"));
        assert!(header(&[]).ends_with("no bytes"));
        let indexes = |bytes: &[u8]| split_message_indexes(bytes).unwrap_err().to_string();
        assert!(indexes(&[]).ends_with("end too early"));
        assert!(indexes(&[4, 2]).ends_with("end too early"));
        assert!(indexes(&[1]).ends_with("a negative message index"));
        assert!(indexes(&[0xfe, 0xff, 0xff, 0xff, 0x0f]).contains("deep"));
    }
}
