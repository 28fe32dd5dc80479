//! What is encrypted by a password: the schemes of PKCS#5 (RFC 8018) and of PKCS#12 (RFC 7292) that keytool and openssl use.

use std::num::NonZeroU32;

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use rc2::Rc2;
use ring::{digest, hmac, pbkdf2};

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE, number};
use super::error::StoreProblem;

/// Nobody asks for more, and a damaged file must not take the processor for hours.
const MOST_ITERATIONS: u32 = 10_000_000;

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// `hmacWithSHA1` to `hmacWithSHA512` differ in what follows.
const HMAC_WITH: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// `aes128-CBC` to `aes256-CBC` differ in what follows.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
/// The schemes of PKCS#12 differ in what follows.
const PKCS12_PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// `sha256` to `sha512` differ in what follows.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// Decrypts `data`. `algorithm` is what is within the identifier of the algorithm.
pub(super) fn decrypt(mut algorithm: Der<'_>, data: &[u8], password: &str) -> Result<Vec<u8>, StoreProblem> {
    let oid = algorithm.take(OID)?;
    if oid == PBES2 {
        return pbes2(algorithm.sequence()?, data, password);
    }
    let Some(scheme) = oid.strip_prefix(PKCS12_PBE) else { return Err(unsupported("the encryption", oid)) };
    let mut parameters = algorithm.sequence()?;
    let salt = parameters.take(OCTET_STRING)?;
    let iterations = iterations(parameters.take(INTEGER)?)?;
    let password = bmp_string(password);
    let derive = |id, size| derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, id, &password, salt, iterations, size);
    let iv = derive(IV, 8);
    match scheme {
        [3] => cbc::<TdesEde3>(&derive(KEY, 24), &iv, data),
        [5] => cbc::<Rc2>(&derive(KEY, 16), &iv, data),
        [6] => cbc::<Rc2>(&derive(KEY, 5), &iv, data),
        _ => Err(unsupported("the encryption", oid)),
    }
}

fn pbes2(mut parameters: Der<'_>, data: &[u8], password: &str) -> Result<Vec<u8>, StoreProblem> {
    let mut derivation = parameters.sequence()?;
    let function = derivation.take(OID)?;
    if function != PBKDF2 {
        return Err(unsupported("the derivation of keys", function));
    }
    let mut derivation = derivation.sequence()?;
    let salt = derivation.take(OCTET_STRING)?;
    let iterations = iterations(derivation.take(INTEGER)?)?;
    derivation.take_if(INTEGER)?;
    let algorithm = match derivation.take_if(SEQUENCE)? {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(function) => {
            let oid = Der::new(function).take(OID)?;
            match oid.strip_prefix(HMAC_WITH) {
                Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(unsupported("the derivation of keys", oid)),
            }
        }
    };
    let mut encryption = parameters.sequence()?;
    let cipher = encryption.take(OID)?;
    let iv = encryption.take(OCTET_STRING)?;
    let key = |size| {
        let mut key = vec![0; size];
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut key);
        key
    };
    match cipher.strip_prefix(AES) {
        Some([2]) => cbc::<Aes128>(&key(16), iv, data),
        Some([22]) => cbc::<Aes192>(&key(24), iv, data),
        Some([42]) => cbc::<Aes256>(&key(32), iv, data),
        _ if cipher == DES_EDE3_CBC => cbc::<TdesEde3>(&key(24), iv, data),
        _ => Err(unsupported("the encryption", cipher)),
    }
}

fn cbc<C: KeyInit + BlockCipherDecrypt>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, StoreProblem> {
    let cipher = Decryptor::<C>::new_from_slices(key, iv);
    let cipher = cipher.map_err(|_| StoreProblem::Malformed("the parameters of its encryption"))?;
    // By the padding: whatever a wrong key makes of the data has a right one in one of 256 cases, and no meaning then.
    cipher.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| StoreProblem::WrongPassword)
}

/// Checks the code that authenticates a file of PKCS#12. `digest` is what is within `DigestInfo`.
pub(super) fn verify_mac(
    mut digest: Der<'_>,
    salt: &[u8],
    iteration_count: &[u8],
    data: &[u8],
    password: &str,
) -> Result<(), StoreProblem> {
    let oid = digest.sequence()?.take(OID)?;
    let expected = digest.take(OCTET_STRING)?;
    let (hash, algorithm) = match oid.strip_prefix(SHA2) {
        Some([1]) => (&digest::SHA256, hmac::HMAC_SHA256),
        Some([2]) => (&digest::SHA384, hmac::HMAC_SHA384),
        Some([3]) => (&digest::SHA512, hmac::HMAC_SHA512),
        _ if oid == SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        _ => return Err(unsupported("the authentication", oid)),
    };
    let key = derive(hash, MAC, &bmp_string(password), salt, iterations(iteration_count)?, hash.output_len());
    let key = hmac::Key::new(algorithm, &key);
    hmac::verify(&key, data, expected).map_err(|_| StoreProblem::WrongPassword)
}

/// What a derived key is for (RFC 7292, appendix B.3).
const KEY: u8 = 1;
const IV: u8 = 2;
const MAC: u8 = 3;

/// The derivation of RFC 7292, appendix B.2.
fn derive(
    hash: &'static digest::Algorithm,
    id: u8,
    password: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
    size: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let filled = |bytes: &[u8]| -> Vec<u8> {
        let size = bytes.len().div_ceil(block) * block;
        bytes.iter().copied().cycle().take(size).collect()
    };
    let mut input = filled(salt);
    input.extend(filled(password));
    let mut derived = Vec::new();
    while derived.len() < size {
        let mut context = digest::Context::new(hash);
        context.update(&vec![id; block]);
        context.update(&input);
        let mut round = context.finish();
        for _ in 1..iterations.get() {
            round = digest::digest(hash, round.as_ref());
        }
        derived.extend_from_slice(round.as_ref());
        let addend: Vec<u8> = round.as_ref().iter().copied().cycle().take(block).collect();
        for part in input.chunks_mut(block) {
            let mut carry = 1_u16;
            for (byte, more) in part.iter_mut().zip(&addend).rev() {
                carry += u16::from(*byte) + u16::from(*more);
                let [high, low] = carry.to_be_bytes();
                *byte = low;
                carry = u16::from(high);
            }
        }
    }
    derived.truncate(size);
    derived
}

/// A password as PKCS#12 has it: UTF-16, and a zero at its end.
fn bmp_string(password: &str) -> Vec<u8> {
    password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

fn iterations(content: &[u8]) -> Result<NonZeroU32, StoreProblem> {
    let count = number(content)?;
    NonZeroU32::new(count)
        .filter(|count| count.get() <= MOST_ITERATIONS)
        .ok_or(StoreProblem::Malformed("a number of iterations is out of range"))
}

fn unsupported(what: &str, oid: &[u8]) -> StoreProblem {
    StoreProblem::Unsupported(format!("{what} {}", super::name::dotted(oid)))
}
