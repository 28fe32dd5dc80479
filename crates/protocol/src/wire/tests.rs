use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::new();
    write(&mut w);
    w.into_bytes()
}

fn encoded(write: impl FnOnce(&mut Encoder<'_>)) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    let mut encoder = Encoder::new(&mut w);
    write(&mut encoder);
    encoder.finish().map(|()| w.into_bytes())
}

/// What is read, and what is left behind it.
fn decoded<T>(bytes: &Bytes, read: impl FnOnce(&mut Decoder<'_>) -> T) -> Result<(T, Bytes), DecodeError> {
    let mut r = Reader::new(bytes.clone());
    let mut decoder = Decoder::new(&mut r);
    let value = read(&mut decoder);
    decoder.finish().map(|()| (value, r.into_rest()))
}

#[test]
fn varints_are_kafkas() {
    // The pairs of Kafka's documentation of zigzag coding, and the ends of the ranges.
    for (value, bytes) in [
        (0, &[0x00][..]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (300, &[0xd8, 0x04]),
        (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        assert_eq!(written(|w| w.varint(value)), bytes);
        assert_eq!(Reader::new(Bytes::copy_from_slice(bytes)).varint(), Ok(value));
        assert_eq!(size_of_varint(value), bytes.len());
    }
}

#[test]
fn a_varint_without_an_end_is_refused() {
    let endless = Bytes::from_static(&[0xff; 11]);
    assert_eq!(Reader::new(endless.clone()).unsigned_varint(), Err(DecodeError::InvalidVarint));
    assert_eq!(Reader::new(endless).varlong(), Err(DecodeError::InvalidVarint));
    let cut = Bytes::from_static(&[0xff; 3]);
    assert_eq!(Reader::new(cut).varlong(), Err(DecodeError::Truncated { needed: 1, remaining: 0 }));
}

#[test]
fn lengths_beyond_the_bytes_are_refused_before_anything_is_allocated() {
    let lie = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    assert!(matches!(Reader::new(lie.clone()).bytes(false), Err(DecodeError::Truncated { remaining: 2, .. })));
    assert!(matches!(decoded(&lie, |r| r.array::<i64>(0, false)), Err(DecodeError::Truncated { .. })));
    assert!(matches!(Reader::new(lie).string(false), Err(DecodeError::Truncated { remaining: 4, .. })));
    let negative = Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]);
    assert_eq!(Reader::new(negative).bytes(false), Err(DecodeError::InvalidLength(-2)));
}

#[test]
fn null_is_refused_where_there_is_none() {
    let null = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Reader::new(null.clone()).string(false), Err(DecodeError::UnexpectedNull));
    assert_eq!(Reader::new(null.clone()).opt_string(false), Ok(None));
    assert_eq!(decoded(&null, |r| r.array::<i8>(0, false)), Err(DecodeError::UnexpectedNull));
    assert_eq!(decoded(&null, |r| r.opt_array::<i8>(0, false)), Ok((None, Bytes::new())));
    assert_eq!(Reader::new(null).opt_bytes(false), Ok(None));
}

#[test]
fn large_bytes_stay_chunks_of_their_own() {
    let large = Bytes::from(vec![7; 4096]);
    let mut w = Writer::new();
    w.i32(1);
    w.bytes(&large, false).unwrap();
    w.bytes(&large.slice(..4095), false).unwrap();
    assert_eq!(w.len(), 4 + 4 + 4096 + 4 + 4095);
    let chunks = w.into_chunks();
    assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [8, 4096, 4 + 4095]);
    assert_eq!(chunks[1].as_ptr(), large.as_ptr());
}

#[test]
fn the_first_failure_is_told_and_nothing_is_read_behind_it() {
    let bytes = Bytes::from_static(&[0, 0, 0, 2, 0, 1, b'a', 0xff, 0xff, 0, 1]);
    let mut gathered = Vec::new();
    let read = decoded(&bytes, |r| {
        gathered = r.array::<String>(0, false);
        assert_eq!((r.i16(), r.array::<i8>(0, false), r.tags(true)), (0, Vec::new(), 0));
    });
    assert_eq!(read, Err(DecodeError::UnexpectedNull));
    assert_eq!(gathered, ["a", ""]);
    let too_long = "x".repeat(1 << 15);
    let written = encoded(|w| {
        w.string(&too_long, true);
        w.unsupported("A.b", 3);
    });
    assert_eq!(written, Err(EncodeError::TooLong { length: 1 << 15, limit: i16::MAX as usize }));
}

#[test]
fn unknown_tagged_fields_are_written_between_the_known_ones() {
    let mut unknown = UnknownTaggedFields::default();
    unknown.push(1, Bytes::from_static(b"b"));
    unknown.push(300, Bytes::from_static(b""));
    let bytes = encoded(|w| {
        let mut tags = w.tags(&unknown);
        let tag = w.begin_tag(&mut tags, 0);
        w.string("a", true);
        w.end_tag(tag);
        let tag = w.begin_tag(&mut tags, 2);
        w.bytes(&Bytes::from(vec![9; 5000]), true);
        w.end_tag(tag);
        w.end_tags(tags);
    });
    let bytes = bytes.unwrap();
    assert_eq!(&bytes[..8], &[4, 0, 2, 2, b'a', 1, 1, b'b']);
    let (read, rest) = decoded(&bytes, |r| r.unknown_tags(true)).unwrap();
    assert!(rest.is_empty());
    let tags: Vec<(u32, usize)> = read.as_slice().iter().map(|field| (field.tag, field.data.len())).collect();
    assert_eq!(tags, [(0, 2), (1, 1), (2, 5002), (300, 0)]);
}

#[test]
fn tagged_fields_out_of_order_are_refused() {
    let mut unknown = UnknownTaggedFields::default();
    unknown.push(0, Bytes::new());
    let known = encoded(|w| {
        let mut tags = w.tags(&unknown);
        let tag = w.begin_tag(&mut tags, 0);
        w.string("a", true);
        w.end_tag(tag);
        w.end_tags(tags);
    });
    assert_eq!(known, Err(EncodeError::TagOrder(0)));
    let inflexible = encoded(|w| w.unknown_tags(&unknown, 3, false));
    assert_eq!(inflexible, Err(EncodeError::UnsupportedTaggedFields(3)));
}

#[test]
fn a_tagged_field_must_fill_its_size() {
    let of_two = |second: &'static [u8], read: fn(&mut Decoder<'_>)| {
        let bytes = Bytes::from([&[5][..], second].concat());
        decoded(&bytes, |r| {
            let tag = r.next_tag(&mut 1).unwrap();
            assert_eq!(tag.number, 5);
            read(r);
            r.end_tag(tag);
        })
    };
    let left = of_two(&[2, 1, 1], |r| _ = r.i8());
    assert_eq!(left, Err(DecodeError::TaggedFieldSize { tag: 5, left: 1 }));
    let short = of_two(&[1, 1, 1], |r| _ = r.i16());
    assert_eq!(short, Err(DecodeError::Truncated { needed: 2, remaining: 1 }));
}

proptest! {
    #[test]
    fn numbers_are_read_back(a: i32, b: i64, c: u32, d: i16, e: f64) {
        let bytes = written(|w| {
            w.varint(a);
            w.varlong(b);
            w.unsigned_varint(c);
            w.i16(d);
            w.f64(e);
        });
        prop_assert_eq!(bytes.len(), size_of_varint(a) + size_of_varlong(b) + size_of_unsigned_varint(c) + 2 + 8);
        let mut r = Reader::new(bytes);
        prop_assert_eq!(r.varint(), Ok(a));
        prop_assert_eq!(r.varlong(), Ok(b));
        prop_assert_eq!(r.unsigned_varint(), Ok(c));
        prop_assert_eq!(r.i16(), Ok(d));
        prop_assert_eq!(r.f64().map(f64::to_bits), Ok(e.to_bits()));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn strings_and_bytes_are_read_back(text: Option<String>, bytes: Option<Vec<u8>>, flexible: bool) {
        let bytes = bytes.map(Bytes::from);
        let out = written(|w| {
            w.opt_string(text.as_deref(), flexible).unwrap();
            w.opt_bytes(bytes.as_ref(), flexible).unwrap();
        });
        let mut r = Reader::new(out);
        prop_assert_eq!(r.opt_string(flexible), Ok(text));
        prop_assert_eq!(r.opt_bytes(flexible), Ok(bytes));
        prop_assert_eq!(r.finish(), Ok(()));
    }
}

#[test]
fn records_in_files_are_parts_of_their_own() {
    let file = std::sync::Arc::new(std::fs::File::open("/dev/null").unwrap());
    let in_file = Records::File(FileRecords { file, position: 7, len: 300 });
    assert_eq!(Writer::new().opt_records(Some(&in_file), true), Err(EncodeError::NotInMemory));
    let mut w = Writer::with_files();
    w.i16(1);
    w.opt_records(Some(&in_file), true).unwrap();
    w.i8(2);
    assert_eq!(w.len(), 2 + 2 + 300 + 1);
    let memory = |bytes: &'static [u8]| Records::Memory(Bytes::from_static(bytes));
    assert_eq!(w.into_parts(), [memory(&[0, 1, 0xad, 2]), in_file, memory(&[2])]);
}
