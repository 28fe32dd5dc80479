//! Codec of the hot messages beside that of the `kafka-protocol` crate:
//! `cargo bench -p vltava-protocol --bench messages`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use bytes::{Bytes, BytesMut};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use vltava_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use vltava_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use vltava_protocol::wire::{Message, Reader, Writer};

const PARTITIONS: [i32; 2] = [1, 50];

fn main() {
    divan::main();
}

fn produce(partitions: i32) -> ProduceRequest {
    let data = |index| PartitionProduceData {
        index,
        records: Some(Bytes::from(vec![0; 200]).into()),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: "purchases".to_owned(),
        partition_data: (0..partitions).map(data).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

fn fetch(partitions: i32) -> FetchResponse {
    let data = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1000,
        last_stable_offset: 1000,
        log_start_offset: 0,
        records: Some(Bytes::from(vec![0; 200]).into()),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic: "purchases".to_owned(),
        partitions: (0..partitions).map(data).collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse { responses: vec![topic], ..FetchResponse::default() }
}

fn bytes_of<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version).unwrap();
    w.into_bytes()
}

#[divan::bench(args = PARTITIONS)]
fn produce_decode_ours(bencher: Bencher<'_, '_>, partitions: i32) {
    let bytes = bytes_of(&produce(partitions), 12);
    bencher
        .counter(ItemsCount::new(partitions as usize))
        .bench_local(|| ProduceRequest::decode(&mut Reader::new(black_box(&bytes).clone()), 12).unwrap());
}

#[divan::bench(args = PARTITIONS)]
fn produce_decode_kafka_protocol(bencher: Bencher<'_, '_>, partitions: i32) {
    let bytes = bytes_of(&produce(partitions), 12);
    bencher
        .counter(ItemsCount::new(partitions as usize))
        .bench_local(|| theirs::ProduceRequest::decode(&mut black_box(&bytes).clone(), 12).unwrap());
}

#[divan::bench(args = PARTITIONS)]
fn fetch_encode_ours(bencher: Bencher<'_, '_>, partitions: i32) {
    let response = fetch(partitions);
    bencher.counter(ItemsCount::new(partitions as usize)).bench_local(|| {
        let mut w = Writer::with_capacity(256);
        black_box(&response).encode(&mut w, 12).unwrap();
        w.into_chunks()
    });
}

#[divan::bench(args = PARTITIONS)]
fn fetch_encode_kafka_protocol(bencher: Bencher<'_, '_>, partitions: i32) {
    let mut bytes = bytes_of(&fetch(partitions), 12);
    let response = theirs::FetchResponse::decode(&mut bytes, 12).unwrap();
    bencher.counter(ItemsCount::new(partitions as usize)).bench_local(|| {
        let mut out = BytesMut::with_capacity(256);
        black_box(&response).encode(&mut out, 12).unwrap();
        out.freeze()
    });
}
