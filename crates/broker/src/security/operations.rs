//! The operations that a client may do, as bit fields: all of them, as long as there is no
//! authorizer.

/// READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);

/// CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.
pub(crate) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(crate) const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);

const fn bits(operations: &[u8]) -> i32 {
    let mut field = 0;
    let mut rest = operations;
    while let [operation, more @ ..] = rest {
        field |= 1 << *operation;
        rest = more;
    }
    field
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bits_are_those_kafka_answers() {
        assert_eq!((super::TOPIC, super::CLUSTER), (3576, 8096));
    }
}
