//! What a certificate says of names: whose it is, who has signed it, and for which hosts it is (RFC 5280).

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, context, context_simple};
use super::error::StoreProblem;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const BOOLEAN: u8 = 0x01;
const DNS_NAME: u8 = context_simple(2);

/// Types of which RFC 2253 has a short form.
const KEYWORDS: [(&[u8], &str); 9] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
];

/// The parts of a certificate that are looked at here.
struct Parts<'a> {
    is_version_1: bool,
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
    extensions: Der<'a>,
}

fn parts(certificate: &[u8]) -> Result<Parts<'_>, StoreProblem> {
    let mut signed = Der::new(certificate).sequence()?.sequence()?;
    let version = signed.take_if(context(0))?;
    signed.take(INTEGER)?;
    signed.take(SEQUENCE)?;
    let issuer = signed.take(SEQUENCE)?;
    signed.take(SEQUENCE)?;
    let subject = signed.take(SEQUENCE)?;
    let public_key = signed.take(SEQUENCE)?;
    signed.take_if(context_simple(1))?;
    signed.take_if(context_simple(2))?;
    let extensions = match signed.take_if(context(3))? {
        Some(extensions) => Der::new(extensions).sequence()?,
        None => Der::new(&[]),
    };
    Ok(Parts { is_version_1: version.is_none(), issuer, subject, public_key, extensions })
}

/// Who has signed it: what is within the name.
pub(super) fn issuer(certificate: &[u8]) -> Result<&[u8], StoreProblem> {
    Ok(parts(certificate)?.issuer)
}

/// Whose it is: what is within the name.
pub(super) fn subject(certificate: &[u8]) -> Result<&[u8], StoreProblem> {
    Ok(parts(certificate)?.subject)
}

/// The public key: what is within its description.
pub(super) fn public_key(certificate: &[u8]) -> Result<&[u8], StoreProblem> {
    Ok(parts(certificate)?.public_key)
}

/// Whether others may be signed by it, as the JVM sees it: those of the first version do not say.
pub(super) fn is_authority(certificate: &[u8]) -> Result<bool, StoreProblem> {
    let parts = parts(certificate)?;
    match extension(parts.extensions, BASIC_CONSTRAINTS)? {
        Some(constraints) => {
            let is_authority = Der::new(constraints).sequence()?.take_if(BOOLEAN)?;
            Ok(is_authority.is_some_and(|value| value != [0]))
        }
        None => Ok(parts.is_version_1),
    }
}

/// The alternative names, each with its type.
pub(super) fn alternative_names(certificate: &[u8]) -> Result<Vec<&[u8]>, StoreProblem> {
    let mut names = Vec::new();
    if let Some(value) = extension(parts(certificate)?.extensions, SUBJECT_ALTERNATIVE_NAMES)? {
        let mut all = Der::new(value).sequence()?;
        while !all.is_empty() {
            names.push(all.next()?.whole);
        }
    }
    Ok(names)
}

fn extension<'a>(mut extensions: Der<'a>, wanted: &[u8]) -> Result<Option<&'a [u8]>, StoreProblem> {
    while !extensions.is_empty() {
        let mut extension = extensions.sequence()?;
        let oid = extension.take(OID)?;
        extension.take_if(BOOLEAN)?;
        if oid == wanted {
            return extension.take(OCTET_STRING).map(Some);
        }
    }
    Ok(None)
}

/// Whether a certificate that names no host among its alternative names is for this host by its common name. Web browsers
/// have given that up, the JVM has not.
pub(super) fn is_for_host_by_common_name(certificate: &[u8], host: &str) -> bool {
    let names_hosts = |names: Vec<&[u8]>| names.iter().any(|name| name.first() == Some(&DNS_NAME));
    if alternative_names(certificate).map_or(true, names_hosts) {
        return false;
    }
    let common_name = subject(certificate).ok().and_then(|subject| attributes(subject).ok()).and_then(|attributes| {
        let named = |(_, oid, value): &(usize, &[u8], super::der::Value<'_>)| {
            (*oid == COMMON_NAME).then(|| String::from_utf8_lossy(value.content).into_owned())
        };
        attributes.iter().rev().find_map(named)
    });
    common_name.is_some_and(|pattern| matches_host(&pattern, host))
}

/// A star stands for the first label, whole.
fn matches_host(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((label, of_host))) => {
            !label.is_empty() && domain.contains('.') && domain.eq_ignore_ascii_case(of_host)
        }
        _ => !pattern.contains('*') && pattern.eq_ignore_ascii_case(host),
    }
}

type Attribute<'a> = (usize, &'a [u8], super::der::Value<'a>);

/// The attributes of a name, in its order, with the number of the relative name that each belongs to.
fn attributes(name: &[u8]) -> Result<Vec<Attribute<'_>>, StoreProblem> {
    let mut attributes = Vec::new();
    let mut relative_names = Der::new(name);
    let mut number = 0;
    while !relative_names.is_empty() {
        let mut relative = Der::new(relative_names.take(SET)?);
        while !relative.is_empty() {
            let mut attribute = relative.sequence()?;
            attributes.push((number, attribute.take(OID)?, attribute.next()?));
        }
        number += 1;
    }
    Ok(attributes)
}

/// The name of whose certificate it is, in the form of RFC 2253 as the JVM's `X500Principal.getName()` gives it: what Kafka
/// makes principals of. None if the certificate cannot be read.
#[must_use]
pub fn distinguished_name(certificate: &[u8]) -> Option<String> {
    let attributes = attributes(subject(certificate).ok()?).ok()?;
    let mut text = String::new();
    let mut last = None;
    // The most specific first; within one relative name in its own order.
    let mut groups: Vec<Vec<&Attribute<'_>>> = Vec::new();
    for attribute in &attributes {
        if last != Some(attribute.0) {
            groups.push(Vec::new());
            last = Some(attribute.0);
        }
        if let Some(group) = groups.last_mut() {
            group.push(attribute);
        }
    }
    for group in groups.iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        let parts: Vec<String> = group.iter().map(|(_, oid, value)| shown(oid, *value)).collect();
        text.push_str(&parts.join("+"));
    }
    Some(text)
}

fn shown(oid: &[u8], value: super::der::Value<'_>) -> String {
    // Of all the types of strings: UTF8String, PrintableString, T61String, IA5String, GeneralString, UniversalString, BMPString.
    const STRINGS: [u8; 7] = [0x0c, 0x13, 0x14, 0x16, 0x1b, 0x1c, 0x1e];
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| *keyword);
    match keyword {
        Some(keyword) if STRINGS.contains(&value.tag) => {
            format!("{keyword}={}", escaped(&String::from_utf8_lossy(value.content)))
        }
        _ => {
            let kind = keyword.map_or_else(|| dotted(oid), str::to_owned);
            let hex: String = value.whole.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{kind}=#{hex}")
        }
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => text.extend(['\\', character]),
            '\0' => text.push_str("\\00"),
            other => text.push(other),
        }
    }
    let is_space = |character: char| matches!(character, ' ' | '\r');
    let lead = text.chars().take_while(|c| is_space(*c)).count();
    let count = text.chars().count();
    let trail = if lead == count { 0 } else { text.chars().rev().take_while(|c| is_space(*c)).count() };
    let mut whole = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        if index < lead || index >= count - trail {
            whole.push('\\');
        }
        whole.push(character);
    }
    whole
}

/// An identifier of ASN.1 in its form with dots.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            match numbers.is_empty() {
                true => {
                    let first = (number / 40).min(2);
                    numbers.extend([first, number - first * 40]);
                }
                false => numbers.push(number),
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_dots() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01]), "1.2.840.113549.1.9.1");
        assert_eq!(dotted(&[0x55, 4, 3]), "2.5.4.3");
    }

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, expected) in [
            ("localhost", "LOCALHOST", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("a*.example.com", "ab.example.com", false),
            ("*", "localhost", false),
            ("broker", "broker.", true),
        ] {
            assert_eq!(matches_host(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn a_value_is_escaped_as_the_jvm_does() {
        for (value, expected) in [
            ("a b", "a b"),
            (" a ", "\\ a\\ "),
            ("a,b+c=d\"e\\f<g>h;i#", "a\\,b\\+c\\=d\\\"e\\\\f\\<g\\>h\\;i\\#"),
            ("  ", "\\ \\ "),
            ("é\0", "é\\00"),
            ("", ""),
        ] {
            assert_eq!(escaped(value), expected, "{value:?}");
        }
    }
}
