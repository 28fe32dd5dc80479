//! A serde is for its types.

use vltava_streams::{
    Consumed, StreamsBuilder,
    serdes::{BigEndian, StringSerde},
};

fn main() {
    let builder = StreamsBuilder::new();
    builder.stream_with::<String, String>(Consumed::with(StringSerde, BigEndian), "texts");
}
