//! CRC-32C (Castagnoli), over everything from a batch's attributes to its end.

/// CRC-32C of `first` followed by `second`.
pub(crate) fn crc32c(first: &[u8], second: &[u8]) -> u32 {
    if second.is_empty() {
        return crc_fast::crc32_iscsi(first);
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_check_value_of_the_castagnoli_polynomial() {
        assert_eq!(crc32c(b"123456789", b""), 0xe306_9283);
        assert_eq!(crc32c(b"1234", b"56789"), 0xe306_9283);
    }
}
