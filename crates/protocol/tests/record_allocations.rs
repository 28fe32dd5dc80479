//! Records cost no allocation: not when they are read, checked or written, compressed or not.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use vltava_protocol::TimestampMs;
use vltava_protocol::record::validate::{AppendRules, BatchValidator};
use vltava_protocol::record::{
    Compression, Compressor, Decompressor, HeaderView, RecordBatch, RecordBatchBuilder, RecordBatches,
};

const RECORDS: usize = 1000;
const TIME: i64 = 1_700_000_000_000;

fn builder(compression: Compression) -> RecordBatchBuilder {
    RecordBatchBuilder::with_capacity(compression, 200_000)
}

fn fill(builder: &mut RecordBatchBuilder) {
    let headers = [HeaderView::new("trace", Some(b"17"))];
    for index in 0..RECORDS {
        assert!(builder.has_room_for(TIME, Some(8), Some(100), headers));
        builder.append(TIME, Some(&index.to_be_bytes()), Some(&[7; 100]), headers).unwrap();
    }
}

fn batch(compression: Compression) -> RecordBatch {
    let mut builder = builder(compression);
    fill(&mut builder);
    RecordBatch::parse(builder.build().unwrap()).unwrap()
}

/// Allocations that `work` does on this thread.
fn allocations<T>(work: impl FnOnce() -> T) -> u64 {
    allocation_counter::measure(|| drop(black_box(work()))).count_total
}

#[test]
fn iterating_allocates_nothing() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        let mut decompressor = Decompressor::new();
        let mut iterate = || {
            let mut read = 0;
            for record in batch.records(&mut decompressor).unwrap() {
                let record = record.unwrap();
                read += record.key().map_or(0, <[u8]>::len) + record.headers().len();
            }
            assert_eq!(read, RECORDS * 9);
        };
        // The first time makes the codec's state and the scratch buffer.
        iterate();
        assert_eq!(allocations(iterate), 0, "{compression}");
    }
}

#[test]
fn owned_records_allocate_nothing_each() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        let decoded = batch.decode(&mut Decompressor::new()).unwrap();
        let mut records = decoded.into_owned_records();
        // The first one turns the buffer into a shared one.
        let first = records.next();
        let rest = || records.by_ref().map(Result::unwrap).filter(|record| record.key_bytes().is_some()).count();
        assert_eq!(allocations(rest), 0, "{compression}");
        drop(first);
    }
}

#[test]
fn walking_over_batches_allocates_nothing_each() {
    let batch = batch(Compression::None);
    let segment: bytes::Bytes = batch.bytes().repeat(10).into();
    // The segment is shared by the first slice of it.
    let keep = segment.clone();
    let walk = || {
        let verified =
            RecordBatches::new(segment.clone()).map(|batch| batch.unwrap().verify_crc()).filter(Result::is_ok);
        assert_eq!(verified.count(), 10);
    };
    assert_eq!(allocations(walk), 0);
    drop(keep);
}

#[test]
fn validating_allocates_nothing() {
    for compression in Compression::ALL {
        let batch = batch(compression);
        let mut validator = BatchValidator::default();
        let mut validate = || validator.validate(&batch, &AppendRules::default(), 500, 3, TimestampMs(TIME)).unwrap();
        validate();
        assert_eq!(allocations(validate), 0, "{compression}");
    }
}

#[test]
fn building_allocates_the_batch_alone() {
    let build = || {
        let mut builder = builder(Compression::None);
        fill(&mut builder);
        builder.build().unwrap()
    };
    // The buffer, and what counts its references once it is shared.
    assert_eq!(allocations(build), 2);
}

#[test]
fn building_compressed_allocates_the_batch_twice() {
    for compression in Compression::ALL.into_iter().filter(|compression| *compression != Compression::None) {
        let mut compressor = Compressor::new();
        let mut build = || {
            let mut builder = builder(compression);
            fill(&mut builder);
            builder.build_with(&mut compressor).unwrap()
        };
        build();
        // The buffer of the builder, and the compressed batch.
        assert_eq!(allocations(build), 2, "{compression}");
    }
}

#[test]
fn validating_a_bomb_holds_little_of_it_in_memory() {
    for compression in Compression::ALL.into_iter().filter(|compression| *compression != Compression::None) {
        let mut builder = RecordBatchBuilder::new(compression);
        for index in 0..32_i64 {
            builder.append(TIME + index, Some(b"k"), Some(&vec![0; 1 << 20]), []).unwrap();
        }
        let bomb = RecordBatch::parse(builder.build().unwrap()).unwrap();
        let mut validator = BatchValidator::default();
        let measured = allocation_counter::measure(|| {
            let validated = validator.validate(&bomb, &AppendRules::default(), 500, 3, TimestampMs(TIME)).unwrap();
            assert_eq!(validated.header().max_timestamp(), TIME + 31);
        });
        // What is tried as a whole, before it is known to be large, is 4 MiB in a buffer that doubles: up to 8 MiB, and
        // what it was before while it is copied.
        assert!(measured.bytes_max < 13 << 20, "{compression}: {} bytes", measured.bytes_max);
    }
}
