use bytes::BufMut;

use super::*;
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, ProduceRequest, produce_request};
use crate::wire::{DecodeError, EncodeError};

fn unframed(chunks: &[Bytes]) -> Bytes {
    let mut stream = Bytes::from(chunks.concat());
    let mut reader = FrameReader::new(1 << 20);
    loop {
        if let Some(frame) = reader.next_frame().unwrap() {
            assert!(stream.is_empty() && reader.buffered() == 0);
            return frame;
        }
        let mut room = reader.room();
        let length = room.chunk_mut().len().min(stream.len());
        assert_ne!(length, 0, "the frame is cut off");
        room.put(stream.split_to(length));
    }
}

#[test]
fn a_request_travels_in_a_frame() {
    let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
    let chunks = encode_request(&request, 9, 7, Some("app")).unwrap();
    let mut r = Reader::new(unframed(&chunks));
    let (api_key, header) = decode_request_header(&mut r).unwrap();
    assert_eq!((api_key, header.request_api_version, header.correlation_id), (ApiKey::Metadata, 9, 7));
    assert_eq!(header.client_id.as_deref(), Some("app"));
    assert_eq!(MetadataRequest::decode(&mut r, 9).unwrap(), request);
    r.finish().unwrap();
}

#[test]
fn records_are_sent_from_where_they_are() {
    let records = Bytes::from(vec![1; 10_000]);
    let partition =
        produce_request::PartitionProduceData { records: Some(records.clone().into()), ..Default::default() };
    let topic =
        produce_request::TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let chunks = encode_request(&request, 12, 1, None).unwrap();
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].as_ptr(), records.as_ptr());
    let frame = unframed(&chunks);
    assert_eq!(frame.len() + LENGTH_SIZE, chunks.iter().map(Bytes::len).sum::<usize>());
    let mut r = Reader::new(frame.clone());
    decode_request_header(&mut r).unwrap();
    let read = ProduceRequest::decode(&mut r, 12).unwrap();
    assert_eq!(read, request);
    let records = read.topic_data[0].partition_data[0].records.as_ref().and_then(crate::wire::Records::memory).unwrap();
    assert!(frame.as_ptr_range().contains(&records.as_ptr()), "copied");
}

#[test]
fn an_answer_belongs_to_its_request() {
    let response = ApiVersionsResponse { error_code: 35, ..Default::default() };
    let chunks = encode_response::<ApiVersionsRequest>(&response, 4, 42).unwrap();
    let frame = unframed(&chunks);
    assert_eq!(correlation_id(&frame), Ok(42));
    assert_eq!(decode_response::<ApiVersionsRequest>(frame.clone(), 4, 42), Ok(response));
    let other = decode_response::<ApiVersionsRequest>(frame, 4, 41);
    assert_eq!(other, Err(Error::CorrelationMismatch { expected: 41, actual: 42 }));
}

#[test]
fn a_header_is_read_even_for_versions_that_do_not_exist() {
    let mut w = start_request(ApiKey::ApiVersions, 99, 5, Some("new")).unwrap();
    w.unsigned_varint(0);
    let mut r = Reader::new(unframed(&finish(w).unwrap()));
    let (api_key, header) = decode_request_header(&mut r).unwrap();
    assert_eq!((api_key, header.request_api_version, header.correlation_id), (ApiKey::ApiVersions, 99, 5));
    let body = ApiVersionsRequest::decode(&mut r, 99);
    assert!(matches!(body, Err(DecodeError::UnsupportedVersion { version: 99, min: 0, max: 4, .. })), "{body:?}");
}

#[test]
fn an_unknown_api_is_refused_by_number() {
    let mut r = Reader::new(Bytes::from_static(&[0x03, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(decode_request_header(&mut r), Err(Error::UnknownApiKey(1000)));
}

#[test]
fn a_version_that_cannot_say_it_is_refused() {
    let request = ProduceRequest { transactional_id: Some("x".repeat(40_000)), ..Default::default() };
    let error = encode_request(&request, 9, 1, None).unwrap_err();
    assert_eq!(error, Error::Encode(EncodeError::TooLong { length: 40_000, limit: 32_767 }));
    assert!(!error.is_fatal());
    let error = encode_request(&request, 99, 1, None).unwrap_err();
    assert!(matches!(error, Error::Encode(EncodeError::UnsupportedVersion { version: 99, .. })));
}
