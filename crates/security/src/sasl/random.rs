//! What is drawn by chance for an exchange: from the operating system, which nobody can foresee.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Bytes of a nonce or a salt: 24, which base64 writes without an end that is not full.
const SIZE: usize = 24;

/// A nonce for one exchange, of characters that SCRAM allows.
///
/// # Errors
/// Where the operating system has no randomness to give.
pub fn nonce() -> std::io::Result<String> {
    Ok(STANDARD_NO_PAD.encode(salt()?))
}

/// A salt for one password.
///
/// # Errors
/// As [`nonce`].
pub fn salt() -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; SIZE];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_new_each_time_and_has_no_comma() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
    }
}
