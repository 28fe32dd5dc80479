use super::*;
use crate::{config::StreamsConfig, data::DefaultSerde};

/// What making a driver fails with, where a source asks for the configured serde of values.
fn without_a_serde<T: DefaultSerde>(settings: &[(&str, &str)]) -> String {
    let builder = crate::StreamsBuilder::new();
    builder.stream_with::<String, T>(crate::Consumed::with(StringSerde, Configured), "in").to("out");
    let settings = [("application.id", "a")].into_iter().chain(settings.iter().copied());
    let config = StreamsConfig::from_properties(settings).unwrap();
    crate::TopologyTestDriver::with_config(&builder.build().unwrap(), &config, 0).unwrap_err().to_string()
}

#[test]
fn a_configured_serde_without_a_class_or_with_a_wrong_one_fails_before_the_first_record() {
    let long = [("default.value.serde", "LongSerde")];
    let unknown = [("default.value.serde", "com.example.OrderSerde")];
    let list_of_nothing = [("default.value.serde", "ListSerde")];
    for error in [
        without_a_serde::<i64>(&[]),
        without_a_serde::<i64>(&unknown),
        without_a_serde::<i32>(&long),
        without_a_serde::<Vec<i64>>(&list_of_nothing),
        without_a_serde::<i64>(&[("default.key.serde", "LongSerde")]),
    ] {
        assert!(error.contains("KSTREAM-SOURCE-0000000000 needs a serde for `"), "{error}");
    }
}

#[test]
fn a_length_that_has_no_room_is_an_error() {
    assert_eq!(length(i32::MAX as usize).unwrap(), i32::MAX);
    let error = length(i32::MAX as usize + 1).unwrap_err().to_string();
    assert_eq!(error, "a length of 2147483648, which the format has no room for");
}
