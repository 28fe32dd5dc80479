//! Messages made straight from Kafka's specifications are read, and written as the same bytes.

use std::collections::HashMap;

use bytes::Bytes;

use crate::codecs::{self, Failure};
use crate::schema::{self, Random};

const SAMPLES: u64 = 25;

#[test]
fn every_message_and_version_is_read_and_written_as_specified() {
    let codecs: HashMap<_, _> = codecs::all().into_iter().map(|codec| ((codec.module, codec.name), codec)).collect();
    let schemas = schema::load();
    assert_eq!(codecs.len(), schemas.len());
    let mut random = Random(1);
    for schema in &schemas {
        let codec = &codecs[&(schema.module.as_str(), schema.name.as_str())];
        assert_eq!((codec.min, codec.max), (schema.min, schema.max), "{}", schema.name);
        for version in schema.min..=schema.max {
            for _ in 0..SAMPLES {
                let sample = Bytes::from(schema.sample(version, &mut random, true));
                let written = (codec.round_trip)(sample.clone(), version);
                assert_eq!(written, Ok(sample), "{} version {version}", schema.name);
            }
        }
    }
}

#[test]
fn every_message_cut_short_is_refused() {
    let codecs: HashMap<_, _> = codecs::all().into_iter().map(|codec| ((codec.module, codec.name), codec)).collect();
    let mut random = Random(2);
    for schema in &schema::load() {
        let codec = &codecs[&(schema.module.as_str(), schema.name.as_str())];
        for version in schema.min..=schema.max {
            let sample = Bytes::from(schema.sample(version, &mut random, true));
            for len in (0..sample.len()).rev().take(200) {
                let written = (codec.round_trip)(sample.slice(..len), version);
                assert!(matches!(written, Err(Failure::Decode(_))), "{} version {version}, {len} bytes", schema.name);
            }
        }
    }
}

#[test]
fn every_message_has_a_default_that_each_version_can_say_or_refuses() {
    for codec in codecs::all() {
        for version in codec.min..=codec.max {
            if let Ok(bytes) = (codec.default)(version) {
                assert_eq!((codec.round_trip)(bytes.clone(), version), Ok(bytes), "{} {version}", codec.name);
            }
        }
        for version in [codec.min - 1, codec.max + 1] {
            assert!((codec.default)(version).is_err(), "{} {version}", codec.name);
        }
    }
}
