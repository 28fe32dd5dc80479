//! What records cost, beside the codec of the `kafka-protocol` crate.
//!
//! `cargo bench -p vltava-protocol --bench record`: the figures are per batch of 1000 records with
//! keys of 8 and values of 100 bytes, the item throughput is in records.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::{Bytes, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use kafka_protocol::records as theirs;
use vltava_protocol::TimestampMs;
use vltava_protocol::record::validate::{AppendRules, BatchValidator};
use vltava_protocol::record::{Compression, Compressor, Decompressor, RecordBatch, RecordBatchBuilder, murmur2};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const RECORDS: u64 = 1000;
const TIME: i64 = 1_700_000_000_000;

fn main() {
    divan::main();
}

/// Values as applications have them: some text, some digits that differ.
fn values() -> Vec<[u8; 100]> {
    (0..RECORDS)
        .map(|index| {
            let order = index.wrapping_mul(2_654_435_761) % 1_000_003;
            let text = format!(
                "{{\"order\":{order},\"customer\":\"c-{}\",\"item\":\"item-{}\",\"quantity\":{},\"note\":\"{:>40}\"}}",
                order % 997,
                order % 61,
                order % 7,
                "leave it at the door"
            );
            let mut value = [b' '; 100];
            value.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
            value
        })
        .collect()
}

fn fill(builder: &mut RecordBatchBuilder, values: &[[u8; 100]]) {
    for (index, value) in (0_i64..).zip(values) {
        builder.append(TIME + index, Some(&index.to_be_bytes()), Some(value), []).unwrap();
    }
}

fn batch(compression: Compression) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(compression);
    fill(&mut builder, &values());
    RecordBatch::parse(builder.build().unwrap()).unwrap()
}

fn iterate(batch: &RecordBatch, decompressor: &mut Decompressor) -> i64 {
    let mut sum = 0;
    for record in batch.records(decompressor).unwrap() {
        let record = record.unwrap();
        sum += record.offset() + record.timestamp();
        black_box((record.key(), record.value()));
    }
    sum
}

#[divan::bench_group]
mod read {
    use super::*;

    #[divan::bench]
    fn iterate_without_crc(bencher: Bencher) {
        let batch = batch(Compression::None);
        let mut decompressor = Decompressor::new();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| iterate(black_box(&batch), &mut decompressor));
    }

    #[divan::bench]
    fn iterate_with_crc(bencher: Bencher) {
        let batch = batch(Compression::None);
        let mut decompressor = Decompressor::new();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            batch.verify_crc().unwrap();
            iterate(black_box(&batch), &mut decompressor)
        });
    }

    #[divan::bench]
    fn iterate_owned(bencher: Bencher) {
        let batch = batch(Compression::None);
        let mut decompressor = Decompressor::new();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let decoded = black_box(&batch).decode(&mut decompressor).unwrap();
            decoded.into_owned_records().map(|record| record.unwrap().offset()).sum::<i64>()
        });
    }

    #[divan::bench]
    fn kafka_protocol_with_crc(bencher: Bencher) {
        let bytes = batch(Compression::None).into_bytes();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let decoded = theirs::RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
            decoded.records.iter().map(|record| record.offset + record.timestamp).sum::<i64>()
        });
    }

    #[divan::bench(args = Compression::ALL)]
    fn decompress_and_iterate(bencher: Bencher, compression: Compression) {
        let batch = batch(compression);
        let mut decompressor = Decompressor::new();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| iterate(black_box(&batch), &mut decompressor));
    }

    #[divan::bench(args = Compression::ALL)]
    fn validate(bencher: Bencher, compression: Compression) {
        let batch = batch(compression);
        let mut validator = BatchValidator::default();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            validator.validate(black_box(&batch), &AppendRules::default(), 7, 0, TimestampMs(TIME)).unwrap()
        });
    }

    #[divan::bench]
    fn crc_alone(bencher: Bencher) {
        let batch = batch(Compression::None);
        bencher.counter(BytesCount::new(batch.size())).bench_local(|| black_box(&batch).verify_crc());
    }
}

#[divan::bench_group]
mod write {
    use super::*;

    #[divan::bench]
    fn build(bencher: Bencher) {
        let values = values();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let mut builder = RecordBatchBuilder::with_capacity(Compression::None, 128 * 1024);
            fill(&mut builder, black_box(&values));
            builder.build().unwrap()
        });
    }

    #[divan::bench]
    fn build_into_used_buffer(bencher: Bencher) {
        let values = values();
        let mut buffer = vec![0; 128 * 1024];
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let used = std::mem::take(&mut buffer);
            let mut builder = RecordBatchBuilder::with_buffer(Compression::None, used, 128 * 1024);
            fill(&mut builder, black_box(&values));
            buffer = builder.build().unwrap().into();
        });
    }

    #[divan::bench]
    fn kafka_protocol(bencher: Bencher) {
        let values: Vec<_> = values().iter().map(|value| Bytes::copy_from_slice(value)).collect();
        let options = theirs::RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
        let records: Vec<_> = (0_i64..)
            .zip(values)
            .map(|(offset, value)| theirs::Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id: -1,
                producer_epoch: -1,
                timestamp_type: theirs::TimestampType::Creation,
                offset,
                // Else it writes one batch per record.
                sequence: offset as i32,
                timestamp: TIME + offset,
                key: Some(Bytes::copy_from_slice(&offset.to_be_bytes())),
                value: Some(value),
                headers: Default::default(),
            })
            .collect();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let mut encoded = BytesMut::with_capacity(128 * 1024);
            theirs::RecordBatchEncoder::encode(&mut encoded, black_box(&records), &options).unwrap();
            encoded.freeze()
        });
    }

    #[divan::bench(args = Compression::ALL)]
    fn build_compressed(bencher: Bencher, compression: Compression) {
        let values = values();
        let mut compressor = Compressor::new();
        bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
            let mut builder = RecordBatchBuilder::with_capacity(compression, 128 * 1024);
            fill(&mut builder, black_box(&values));
            builder.build_with(&mut compressor).unwrap()
        });
    }
}

#[divan::bench(args = [8, 100])]
fn hash_key(bencher: Bencher, length: usize) {
    let key = vec![b'k'; length];
    bencher.counter(BytesCount::new(length)).bench_local(|| murmur2(black_box(&key)));
}
