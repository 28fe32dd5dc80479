use super::*;

fn bytes<T: ?Sized>(serde: &impl Serializer<T>, value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    serde.serialize(value, &mut buffer).unwrap();
    buffer
}

#[test]
fn bytes_are_those_of_kafkas_serializers() {
    assert_eq!(bytes(&Utf8, "é"), [0xc3, 0xa9]);
    assert_eq!(bytes(&BigEndian, &-2_i16), [0xff, 0xfe]);
    assert_eq!(bytes(&BigEndian, &1_i32), [0, 0, 0, 1]);
    assert_eq!(bytes(&BigEndian, &0x0102_0304_0506_0708_i64), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bytes(&BigEndian, &1.0_f32), [0x3f, 0x80, 0, 0]);
    assert_eq!(bytes(&BigEndian, &-2.0_f64), [0xc0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(&Raw, &[1_u8, 2][..]), [1, 2]);
    assert_eq!(bytes(&Boolean, &true), [1]);
    let uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    assert_eq!(bytes(&UuidText, &uuid), b"00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(bytes(&Json, &vec![1, 2]), b"[1,2]");
}

#[test]
fn what_is_written_is_read_back() {
    assert_eq!(Deserializer::<i64>::deserialize(&BigEndian, &bytes(&BigEndian, &-7_i64)).unwrap(), -7);
    assert_eq!(Deserializer::<f64>::deserialize(&BigEndian, &bytes(&BigEndian, &0.1_f64)).unwrap(), 0.1);
    let uuid = Uuid::from_u128(7);
    assert_eq!(UuidText.deserialize(&bytes(&UuidText, &uuid)).unwrap(), uuid);
    assert!(!Boolean.deserialize(&[0]).unwrap());
    assert_eq!(Deserializer::<Vec<u8>>::deserialize(&Raw, &[7]).unwrap(), [7]);
}

#[test]
fn wrong_bytes_are_errors_that_name_the_type() {
    let short = Deserializer::<i32>::deserialize(&BigEndian, &[1, 2]).unwrap_err();
    assert_eq!(short.to_string(), "i32 serde: 2 bytes in place of 4");
    let other = Boolean.deserialize(&[2]).unwrap_err();
    assert_eq!(other.to_string(), "boolean serde: [2] in place of one byte, 0 or 1");
    assert!(Deserializer::<String>::deserialize(&Utf8, &[0xff]).unwrap_err().to_string().starts_with("string serde: "));
    assert!(Deserializer::<Uuid>::deserialize(&UuidText, b"x").unwrap_err().to_string().starts_with("uuid serde: "));
    assert!(Deserializer::<u8>::deserialize(&Json, b"{").unwrap_err().to_string().starts_with("json serde: "));
}
