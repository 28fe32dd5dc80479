use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Compression, Decompressor, HeaderView, RecordBatch, RecordBatchBuilder, RecordBatchHeader};
use super::*;

fn batch(compression: Compression) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(compression);
    let header = HeaderView::new("name", Some(b"value"));
    let large = vec![7; 200_000];
    builder.append(1_000, Some(b"key"), None, []).unwrap();
    builder.append(990, None, Some(&large), [header]).unwrap();
    builder.append(-1, Some(&large), Some(b""), [header, HeaderView::new("null", None)]).unwrap();
    builder.append(1_000_000_000_000, Some(b""), Some(b"end"), []).unwrap();
    RecordBatch::parse(builder.build().unwrap()).unwrap()
}

fn streamed(
    header: &RecordBatchHeader,
    compression: Compression,
    bytes: &[u8],
) -> Vec<Result<RecordOutline, RecordError>> {
    match DecompressedStream::new(compression, bytes, 1 << 20) {
        Ok(stream) => RecordOutlines::new(header, Walk::Stream(stream)).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn whole(header: &RecordBatchHeader, bytes: &[u8]) -> Vec<Result<RecordOutline, RecordError>> {
    RecordOutlines::new(header, Walk::Whole(bytes)).collect()
}

/// The records' bytes as they are without compression.
fn plain() -> (RecordBatchHeader, Bytes) {
    let batch = batch(Compression::None);
    (*batch.header(), batch.raw_records_bytes())
}

#[test]
fn a_stream_tells_of_records_what_the_whole_batch_tells() {
    let (header, plain) = plain();
    let expected = whole(&header, &plain);
    assert_eq!(expected.len(), 4);
    assert!(expected.iter().all(Result::is_ok));
    for compression in Compression::ALL {
        let batch = batch(compression);
        assert_eq!(streamed(&header, compression, batch.raw_records()), expected, "{compression}");
        let mut decompressor = Decompressor::new();
        let outlines: Vec<_> = batch.outlines(&mut decompressor).unwrap().collect();
        assert_eq!(outlines, expected, "{compression}");
    }
}

#[test]
fn a_stream_that_is_cut_off_ends_with_an_error() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        let stored = batch.raw_records();
        for length in [0, 1, 5, 20, stored.len() / 2, stored.len() - 1] {
            let got = streamed(batch.header(), compression, &stored[..length]);
            assert!(got.last().unwrap().is_err(), "{compression} {length}");
            assert!(got.iter().rev().skip(1).all(Result::is_ok), "{compression} {length}");
        }
    }
}

#[test]
fn the_limit_itself_is_allowed_to_a_stream() {
    let (header, plain) = plain();
    for compression in Compression::ALL {
        let batch = batch(compression);
        for (limit, fits) in [(plain.len(), true), (plain.len() - 1, false), (1, false)] {
            let stream = DecompressedStream::new(compression, batch.raw_records(), limit).unwrap();
            let last = RecordOutlines::new(&header, Walk::Stream(stream)).last().unwrap();
            match last {
                Ok(_) => assert!(fits, "{compression} {limit}"),
                Err(error) => {
                    assert_eq!(error, RecordError::DecompressedTooLarge { limit }, "{compression}");
                    assert!(!fits, "{compression} {limit}");
                }
            }
        }
    }
}

#[test]
fn members_and_frames_that_follow_one_another_are_one_stream() {
    let (header, plain) = plain();
    let expected = whole(&header, &plain);
    let (first, second) = plain.split_at(70_000);
    let mut compressor = crate::record::Compressor::new();
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
        let mut both = compressor.compress(compression.into(), first).unwrap().to_vec();
        both.extend_from_slice(compressor.compress(compression.into(), second).unwrap());
        assert_eq!(streamed(&header, compression, &both), expected, "{compression}");
    }
}

/// Position and kind of an error: the words may differ.
fn kind(error: &RecordError) -> (u8, i32) {
    match error {
        RecordError::InvalidRecord { index, .. } => (0, *index),
        RecordError::TrailingBytes { remaining, .. } => (1, *remaining as i32),
        other => panic!("{other}"),
    }
}

proptest! {
    #[test]
    fn a_stream_refuses_what_the_whole_batch_refuses(
        at in any::<prop::sample::Index>(),
        near in any::<bool>(),
        byte: u8,
        count in 0_i32..6,
        cut in 0_usize..30,
    ) {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        let header = HeaderView::new("n", Some(b"v"));
        for index in 0..4_i64 {
            builder.append(1_000 - index, Some(b"key"), None, [header, HeaderView::new("null", None)]).unwrap();
            builder.append(1_000 + index * 1_000, None, Some(b"value"), []).unwrap();
        }
        let batch = RecordBatch::parse(builder.build().unwrap()).unwrap();
        let mut bytes = batch.raw_records().to_vec();
        let room = if near { 20 } else { bytes.len() };
        bytes[at.index(room)] = byte;
        bytes.truncate(bytes.len() - cut);
        let mut raw = batch.header().to_bytes();
        raw[57..61].copy_from_slice(&(count + 3).to_be_bytes());
        let header = RecordBatchHeader::parse(&raw).unwrap();
        let (streamed, whole) = (streamed(&header, Compression::None, &bytes), whole(&header, &bytes));
        prop_assert_eq!(streamed.len(), whole.len());
        for (streamed, whole) in streamed.iter().zip(&whole) {
            match (streamed, whole) {
                (Ok(streamed), Ok(whole)) => prop_assert_eq!(streamed, whole),
                (Err(streamed), Err(whole)) => prop_assert_eq!(kind(streamed), kind(whole)),
                _ => prop_assert!(false, "{:?} and {:?}", streamed, whole),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_end_a_stream(id in 1_u8..5, input: Vec<u8>) {
        let (header, _) = plain();
        let got = streamed(&header, Compression::from_id(id).unwrap(), &input);
        prop_assert!(got.len() <= 5);
    }
}
