//! Keys of elliptic curves as the JVM writes them: without the public half, which ring wants to be there.

use super::der::{BIT_STRING, Der, INTEGER, OCTET_STRING, OID, SEQUENCE, context};
use super::error::StoreProblem;
use super::name;

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The same key in PKCS#8 with the public half of this certificate; none if it is not of an elliptic curve, or has one.
pub(super) fn with_public_half(key: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    complete(key, certificate).ok().flatten()
}

fn complete(key: &[u8], certificate: &[u8]) -> Result<Option<Vec<u8>>, StoreProblem> {
    let mut info = Der::new(key).sequence()?;
    info.take(INTEGER)?;
    let algorithm = info.next()?;
    let mut private = Der::new(info.take(OCTET_STRING)?).sequence()?;
    private.take(INTEGER)?;
    let secret = private.take(OCTET_STRING)?;
    private.take_if(context(0))?;
    let is_of_curve = Der::new(algorithm.content).take(OID)? == EC_PUBLIC_KEY;
    if !is_of_curve || private.peek_tag() == Some(context(1)) {
        return Ok(None);
    }
    let mut public = Der::new(name::public_key(certificate)?);
    public.take(SEQUENCE)?;
    let public = public.next()?;
    if public.tag != BIT_STRING {
        return Ok(None);
    }
    let private = [value(INTEGER, &[1]), value(OCTET_STRING, secret), value(context(1), public.whole)].concat();
    let private = value(OCTET_STRING, &value(SEQUENCE, &private));
    Ok(Some(value(SEQUENCE, &[value(INTEGER, &[0]), algorithm.whole.to_vec(), private].concat())))
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length.to_be_bytes() {
        [.., short] if length < 0x80 => out.push(short),
        [.., long] if length <= 0xff => out.extend([0x81, long]),
        // No key of a curve is as long as 64 KiB.
        [.., high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}
