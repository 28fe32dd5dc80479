use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;
use vltava_config::Settings;

use super::*;

fn bytes<T>(serde: &impl Serde<T>, value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    serde.serialize("t", value, &mut out).unwrap();
    out
}

fn refused<T: std::fmt::Debug>(serde: &impl Serde<T>, bytes: &[u8]) -> String {
    serde.deserialize("t", bytes).unwrap_err().to_string()
}

#[test]
fn bytes_are_those_of_kafkas_serdes() {
    assert_eq!(bytes(&BooleanSerde, &true), [1]);
    assert_eq!(bytes(&BooleanSerde, &false), [0]);
    assert_eq!(bytes(&BigEndian, &-2_i16), [0xff, 0xfe]);
    let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(bytes(&UuidSerde, &uuid), b"00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(UuidSerde.deserialize("t", b"00112233-4455-6677-8899-AABBCCDDEEFF").unwrap(), uuid);
    assert!(bytes(&UnitSerde, &()).is_empty());
}

#[test]
fn wrong_bytes_are_refused() {
    assert_eq!(refused(&BooleanSerde, &[2]), "byte 2 for a boolean, which is 0 or 1");
    assert_eq!(refused(&BooleanSerde, &[]), "0 bytes for a boolean, which has 1");
    assert_eq!(refused(&VoidSerde, &[1]), "1 bytes where only null may stand");
    assert_eq!(refused(&UnitSerde, &[1]), "1 bytes for a unit");
    assert!(UuidSerde.deserialize("t", b"no uuid").is_err());
}

/// Computed by Kafka's `ListSerializer`: the strategy, for fixed sizes the indexes of nulls, the size, the entries.
#[test]
fn lists_are_written_as_kafka_writes_them() {
    let text = vec![Some("ab".to_owned()), None, Some(String::new())];
    let expected = [&[1, 0, 0, 0, 3][..], &[0, 0, 0, 2, b'a', b'b'], &[0xff; 4], &[0; 4]].concat();
    assert_eq!(bytes(&ListSerde(StringSerde), &text), expected);
    let numbers = vec![None, Some(1_i32), None];
    let expected = [&[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2][..], &[0, 0, 0, 3, 0, 0, 0, 1]].concat();
    assert_eq!(bytes(&ListSerde(BigEndian), &numbers), expected);
    // Booleans have one size, but Kafka does not count them among the fixed ones.
    assert_eq!(bytes(&ListSerde(BooleanSerde), &vec![true]), [1, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
    assert_eq!(bytes(&ListSerde(ListSerde(BigEndian)), &vec![Vec::<i64>::new()])[..9], [1, 0, 0, 0, 1, 0, 0, 0, 9]);
}

#[test]
fn corrupt_lists_are_refused() {
    let longs = |bytes: &[u8]| refused::<Vec<i64>>(&ListSerde(BigEndian), bytes);
    assert_eq!(longs(&[]), "a list that ends too early");
    assert_eq!(longs(&[7]), "a list of unknown serialization strategy [7]");
    assert_eq!(longs(&[0, 0x7f, 0xff, 0xff, 0xff]), "a list of 5 bytes with 2147483647 nulls");
    assert_eq!(longs(&[1, 0xff, 0xff, 0xff, 0xff]), "a list of 5 bytes with -1 entries");
    assert_eq!(longs(&[1, 0, 0, 0, 1, 0, 0, 0, 90]), "a list of 9 bytes with an entry of 90");
    assert_eq!(longs(&[1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe]), "a list of 9 bytes with an entry of -2");
    assert_eq!(longs(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]), "a list that ends too early");
    let null = longs(&[1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(null, "entry 0 of a list is null, and its type has no null");
    let text = refused::<Vec<String>>(&ListSerde(StringSerde), &[0, 0, 0, 0, 0]);
    assert_eq!(text, "a list of entries of constant size, and the serde of the entries has none");
}

#[test]
fn the_configuration_names_a_serde_by_kafkas_class() {
    let settings = [
        ("default.key.serde", "org.apache.kafka.common.serialization.Serdes$LongSerde"),
        ("default.value.serde", "ListSerde"),
        ("default.list.value.serde.inner", "UUIDSerde"),
    ];
    let config = SerdeConfig::read(&Settings::parse(&[], settings).unwrap().reader());
    assert_eq!(config.get("default.value.serde"), Some("ListSerde"));
    let key: SerdeRef<i64> = Configured.configure(&config, true).unwrap();
    assert_eq!(bytes(&key, &1), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert!(Serde::<String>::configure(&Configured, &config, true).is_none(), "a long is no string");
    let value: SerdeRef<Vec<Uuid>> = Configured.configure(&config, false).unwrap();
    assert_eq!(bytes(&value, &vec![Uuid::nil()]).len(), 9 + 36);
    let unknown = refused::<i32>(&Configured, &[0]);
    assert_eq!(unknown, "`default.key.serde` or `default.value.serde` names no serde for i32");
}

#[test]
fn types_bring_their_serdes() {
    fn round_trip<T: DefaultSerde + PartialEq + std::fmt::Debug>(value: T) {
        let serde = serde_of::<T>();
        assert_eq!(serde.deserialize("t", &bytes(&serde, &value)).unwrap(), value);
    }
    round_trip(true);
    round_trip(Uuid::from_u128(1));
    round_trip(Bytes::from_static(b"x"));
    round_trip(vec![1_u8]);
    round_trip(vec![vec!["a".to_owned()], Vec::new()]);
    round_trip(Json(std::collections::BTreeMap::from([("a".to_owned(), 1)])));
    // Quick parsing of numbers is off by a bit here and there; among a thousand, some of these.
    round_trip(Json((1..1000).map(|n| 1.0 / f64::from(n) + f64::from(n)).collect::<Vec<_>>()));
}

proptest! {
    #[test]
    fn lists_come_back(
        numbers in prop::collection::vec(any::<Option<i64>>(), 0..20),
        texts in prop::collection::vec(any::<Option<String>>(), 0..20),
    ) {
        let read: Vec<Option<i64>> = ListSerde(BigEndian).deserialize("t", &bytes(&ListSerde(BigEndian), &numbers)).unwrap();
        prop_assert_eq!(read, numbers);
        let read: Vec<Option<String>> = ListSerde(StringSerde).deserialize("t", &bytes(&ListSerde(StringSerde), &texts)).unwrap();
        prop_assert_eq!(read, texts);
    }

    #[test]
    fn no_bytes_of_a_list_make_it_panic(input in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..60)) {
        let _ = Serde::<Vec<Option<i32>>>::deserialize(&ListSerde(BigEndian), "t", &input);
        let _ = Serde::<Vec<Option<String>>>::deserialize(&ListSerde(StringSerde), "t", &input);
    }
}
