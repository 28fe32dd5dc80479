//! A client that speaks single protocol messages, and the records it sends.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a failure here fails a test")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use vltava_broker::embedded;
use vltava_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use vltava_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use vltava_protocol::messages::fetch_response::PartitionData;
use vltava_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use vltava_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use vltava_protocol::messages::metadata_request::MetadataRequestTopic;
use vltava_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use vltava_protocol::messages::produce_response::PartitionProduceResponse;
use vltava_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, RequestHeader,
    ResponseHeader,
};
use vltava_protocol::record::{Compression, Decompressor, ProducerState, RecordBatchBuilder, RecordBatches};
use vltava_protocol::wire::{Message, Reader, Records, Request, Writer};
use vltava_protocol::{ErrorCode, Uuid};

/// How long a test waits for an answer before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn start() -> embedded::Broker {
    embedded::Broker::start(embedded::Config::default()).unwrap()
}

/// A connection to a broker.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn connect(broker: &embedded::Broker) -> Self {
        Self::connect_to(broker.bootstrap_servers())
    }

    pub(crate) fn connect_to(address: &str) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// As [`Self::connect_to`], from an address of this machine.
    pub(crate) fn connect_from(host: Ipv4Addr, address: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
        socket.connect(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let bytes = encode(self.correlation_id, version, request);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Reads the answer to the last request.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let id = self.correlation_id;
        self.receive_as::<R>(id, version)
    }

    pub(crate) fn receive_as<R: Request>(&mut self, correlation_id: i32, version: i16) -> R::Response {
        Self::decode::<R>(self.receive_frame().expect("an answer"), correlation_id, version)
    }

    /// As [`Self::receive`]; nothing if the broker closed the connection.
    pub(crate) fn receive_if_open<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let frame = self.receive_frame()?;
        Some(Self::decode::<R>(frame, self.correlation_id, version))
    }

    fn decode<R: Request>(frame: Bytes, correlation_id: i32, version: i16) -> R::Response {
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, R::API_KEY.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        let response = R::Response::decode(&mut reader, version).unwrap();
        reader.finish().unwrap();
        response
    }

    /// The bytes of an answer; nothing if the broker closed the connection.
    pub(crate) fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        Some(body.into())
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs
                .iter()
                .map(|(key, value)| CreatableTopicConfig {
                    name: (*key).to_owned(),
                    value: Some((*value).to_owned()),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
        let mut response = self.call(7, &request);
        let created = response.topics.remove(0);
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        created.topic_id
    }

    pub(crate) fn metadata(&mut self, names: &[&str], may_create: bool) -> vltava_protocol::messages::MetadataResponse {
        let topics =
            names.iter().map(|name| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() });
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: may_create,
            ..Default::default()
        };
        self.call(12, &request)
    }

    /// Appends values to a partition with `acks=all`.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, values: &[&str]) -> PartitionProduceResponse {
        self.produce_batch(topic, partition, batch(values))
    }

    pub(crate) fn produce_batch(&mut self, topic: &str, partition: i32, records: Bytes) -> PartitionProduceResponse {
        let mut response = self.call(12, &produce_request(topic, partition, records, -1));
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Reads a partition from an offset, without waiting and without a session.
    pub(crate) fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let mut response = self.call(12, &fetch_request(topic, &[(partition, offset)], 0));
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// The values of a partition from an offset on.
    pub(crate) fn values(&mut self, topic: &str, partition: i32, mut offset: i64) -> Vec<String> {
        let mut values = Vec::new();
        loop {
            let data = self.fetch(topic, partition, offset);
            assert_eq!(data.error_code, 0);
            let records = records(&data.records.unwrap_or_default());
            let Some(last) = records.last() else { return values };
            offset = last.0 + 1;
            values.extend(records.into_iter().map(|(_, value)| value));
        }
    }

    pub(crate) fn list_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> ListOffsetsPartitionResponse {
        self.list_offset_in(11, topic, partition, timestamp)
    }

    /// As [`Self::list_offset`], in any version.
    pub(crate) fn list_offset_in(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition {
            partition_index: partition,
            timestamp,
            current_leader_epoch: -1,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.call(version, &request).topics.remove(0).partitions.remove(0)
    }
}

/// The bytes of a request with its length and header.
pub(crate) fn encode<R: Request>(correlation_id: i32, version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::new();
    let header = RequestHeader {
        request_api_key: R::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some("test".to_owned()),
        ..Default::default()
    };
    header.encode(&mut writer, R::API_KEY.request_header_version(version)).unwrap();
    request.encode(&mut writer, version).unwrap();
    let body = writer.into_bytes();
    let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

/// A batch with the values as records; record `i` has timestamp `1000 + i`.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_of(values, None, Compression::None)
}

pub(crate) fn batch_of(values: &[&str], producer: Option<ProducerState>, compression: Compression) -> Bytes {
    let mut builder = RecordBatchBuilder::new(compression);
    for (value, timestamp) in values.iter().zip(1000..) {
        builder.append(timestamp, None, Some(value.as_bytes()), []).unwrap();
    }
    if let Some(producer) = producer {
        builder.set_producer_state(producer);
    }
    builder.build().unwrap()
}

pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(records.into()), ..Default::default() };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

pub(crate) fn fetch_request(topic: &str, partitions: &[(i32, i64)], max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: partitions.iter().map(|(partition, offset)| fetch_partition(*partition, *offset)).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn fetch_partition(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

/// Offsets and values of the records in fetched bytes.
pub(crate) fn records(records: &Records) -> Vec<(i64, String)> {
    let mut decompressor = Decompressor::default();
    let mut found = Vec::new();
    for batch in RecordBatches::new(records.memory().unwrap().clone()) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let value = record.value().unwrap_or_default();
            found.push((record.offset(), String::from_utf8_lossy(value).into_owned()));
        }
    }
    found
}

pub(crate) fn code(code: ErrorCode) -> i16 {
    code.code()
}
