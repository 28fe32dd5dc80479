//! Bytes as text by the class names of Kafka's deserializers.

use crate::failure::Failure;
use crate::java;

/// One of Kafka's deserializers, whose value is printed as Java prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deserializer {
    String,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Deserializer {
    /// The deserializer of a class name, with or without its package.
    ///
    /// # Errors
    /// A message that names the class where it is none of Kafka's for single values.
    pub(super) fn by_class(class: &str) -> Result<Self, Failure> {
        let package = "org.apache.kafka.common.serialization.";
        Ok(match class.strip_prefix(package).unwrap_or(class) {
            "StringDeserializer" => Self::String,
            "ShortDeserializer" => Self::Short,
            "IntegerDeserializer" => Self::Integer,
            "LongDeserializer" => Self::Long,
            "FloatDeserializer" => Self::Float,
            "DoubleDeserializer" => Self::Double,
            "BooleanDeserializer" => Self::Boolean,
            "UUIDDeserializer" => Self::Uuid,
            _ => return Err(Failure::Message(format!("deserializer {class} is not supported yet"))),
        })
    }

    /// The value as Java prints it.
    ///
    /// # Errors
    /// A message where the bytes are no such value.
    pub(super) fn text(self, bytes: &[u8]) -> Result<String, Failure> {
        Ok(match self {
            Self::String => String::from_utf8_lossy(bytes).into_owned(),
            Self::Short => i16::from_be_bytes(array(bytes)?).to_string(),
            Self::Integer => i32::from_be_bytes(array(bytes)?).to_string(),
            Self::Long => i64::from_be_bytes(array(bytes)?).to_string(),
            Self::Float => java::float(f32::from_be_bytes(array(bytes)?)),
            Self::Double => java::double(f64::from_be_bytes(array(bytes)?)),
            Self::Boolean => match array::<1>(bytes)? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => return Err(Failure::Message(format!("Unexpected byte received: {other}"))),
            },
            Self::Uuid => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let parts: Vec<&str> = text.split('-').collect();
                let hex = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
                if parts.len() != 5 || !parts.iter().all(hex) {
                    return Err(Failure::Message(format!("Error parsing data into UUID: {text}")));
                }
                text.to_lowercase()
            }
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Failure> {
    let text = || Failure::Message(format!("Size of data received by the deserializer is not {N}"));
    bytes.try_into().map_err(|_| text())
}

#[cfg(test)]
mod tests {
    use super::Deserializer;

    #[test]
    fn numbers_look_as_in_java() {
        let doubles = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1_234_567.0, "1234567.0"),
            (1.0e7, "1.0E7"),
            (1.234e10, "1.234E10"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, expected) in doubles {
            assert_eq!(Deserializer::Double.text(&value.to_be_bytes()).expect(expected), expected);
        }
        assert_eq!(Deserializer::Float.text(&0.1_f32.to_be_bytes()).expect("a float"), "0.1");
        assert_eq!(Deserializer::Integer.text(&(-7_i32).to_be_bytes()).expect("an integer"), "-7");
        assert_eq!(Deserializer::Short.text(&[0, 9]).expect("a short"), "9");
    }

    #[test]
    fn wrong_sizes_and_classes_are_refused() {
        let refused = Deserializer::Long.text(b"null").expect_err("four bytes");
        assert_eq!(refused.message(), "Size of data received by the deserializer is not 8");
        let refused = Deserializer::by_class("com.example.Mine").expect_err("no such class");
        assert_eq!(refused.message(), "deserializer com.example.Mine is not supported yet");
    }
}
