use std::fs;

use rustls::crypto::ring::sign::any_supported_type;

use super::super::name::distinguished_name;
use super::*;

/// Of fixtures/README.
const STORE_SECRET: &str = "store-secret";
const KEY_SECRET: &str = "key-secret";

const SERVER_PEM: &str = include_str!("../fixtures/server.pem");
const KEY_PEM: &str = include_str!("../fixtures/key8.pem");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ssl/fixtures").join(name)
}

fn stored(name: &str, key_password: Option<&str>) -> KeySource {
    stored_with(name, STORE_SECRET, key_password)
}

fn stored_with(name: &str, password: &str, key_password: Option<&str>) -> KeySource {
    KeySource::Store {
        path: fixture(name),
        password: Secret::from(password),
        key_password: key_password.map(Secret::from),
    }
}

fn trusted(name: &str, password: Option<&str>) -> TrustSource {
    TrustSource::Store { path: fixture(name), password: password.map(Secret::from) }
}

/// Key and name, in a form to be compared.
fn opened(source: &KeySource) -> Result<(String, Vec<u8>), SslError> {
    let Identity { key, chain } = source.load()?;
    let public = any_supported_type(&key).unwrap().public_key().unwrap().to_vec();
    Ok((distinguished_name(&chain[0]).unwrap(), public))
}

#[test]
fn a_key_is_read_from_every_form_that_keytool_and_openssl_write() {
    let pem = KeySource::Inline { chain: Secret::from(SERVER_PEM), key: Secret::from(KEY_PEM), password: None };
    let expected = opened(&pem).unwrap();
    assert_eq!(expected.0, "CN=broker,OU=Rivers,O=Vltava,C=CZ");
    for name in ["server.p12", "openssl.p12", "openssl-legacy.p12"] {
        assert_eq!(opened(&stored(name, None)), Ok(expected.clone()), "{name}");
    }
    for name in ["encrypted-aes.pem", "encrypted-3des.pem", "encrypted-pbe1.pem"] {
        let key = fs::read_to_string(fixture(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("both.pem");
        fs::write(&path, format!("{key}{SERVER_PEM}")).unwrap();
        let file = KeySource::PemFile { path, password: Some(Secret::from(KEY_SECRET)) };
        assert_eq!(opened(&file), Ok(expected.clone()), "{name}");
    }
    // Another key of the same name.
    assert_eq!(opened(&stored("server.jks", Some(KEY_SECRET))).unwrap().0, expected.0);
}

#[test]
fn certificates_are_read_from_every_form() {
    let expected = certificates(SERVER_PEM);
    for (name, password) in [
        ("trust.jks", Some(STORE_SECRET)),
        ("trust.jks", None),
        ("trust.p12", Some(STORE_SECRET)),
        ("openssl-trust.p12", Some(STORE_SECRET)),
        // As the JVM trusts the certificate of a key.
        ("server.p12", Some(STORE_SECRET)),
    ] {
        assert_eq!(trusted(name, password).load().map_err(|error| error.problem), expected, "{name}");
    }
    assert_eq!(TrustSource::PemFile(fixture("server.pem")).load().map_err(|error| error.problem), expected);
}

#[test]
fn what_is_wrong_is_told_with_setting_and_file_and_without_a_secret() {
    let wrong_type = |found, key| StoreProblem::WrongType { found, key };
    let pem_file = |name: &str, password: Option<&str>| KeySource::PemFile {
        path: fixture(name),
        password: password.map(Secret::from),
    };
    for (source, key, problem) in [
        (stored_with("server.jks", "tell-nobody", Some(KEY_SECRET)), KEYSTORE_PASSWORD, StoreProblem::WrongPassword),
        (stored_with("server.p12", "tell-nobody", None), KEYSTORE_PASSWORD, StoreProblem::WrongPassword),
        (stored_with("openssl-legacy.p12", "tell-nobody", None), KEYSTORE_PASSWORD, StoreProblem::WrongPassword),
        (stored("server.jks", Some("tell-nobody")), KEY_PASSWORD, StoreProblem::WrongPassword),
        (stored("server.jks", None), KEYSTORE_PASSWORD, StoreProblem::WrongPassword),
        (stored("server.p12", Some("tell-nobody")), KEY_PASSWORD, StoreProblem::WrongPassword),
        (stored("trust.p12", None), KEYSTORE_LOCATION, StoreProblem::NoKey),
        (stored("trust.jks", None), KEYSTORE_LOCATION, StoreProblem::NoKey),
        (stored("server.pem", None), KEYSTORE_LOCATION, wrong_type("PEM", KEYSTORE_TYPE)),
        (pem_file("server.jks", None), KEYSTORE_LOCATION, wrong_type("JKS", KEYSTORE_TYPE)),
        (pem_file("server.p12", None), KEYSTORE_LOCATION, wrong_type("PKCS12, or DER", KEYSTORE_TYPE)),
        (pem_file("server.pem", None), KEYSTORE_LOCATION, StoreProblem::NoKey),
        (pem_file("key8.pem", None), KEYSTORE_LOCATION, StoreProblem::NoCertificate),
        (pem_file("key8.pem", Some("tell-nobody")), KEY_PASSWORD, StoreProblem::NotEncrypted),
        (pem_file("encrypted-aes.pem", None), KEY_PASSWORD, StoreProblem::NeedsPassword),
        (pem_file("encrypted-aes.pem", Some("tell-nobody")), KEY_PASSWORD, StoreProblem::WrongPassword),
        (pem_file("encrypted-pbe1.pem", Some("tell-nobody")), KEY_PASSWORD, StoreProblem::WrongPassword),
    ] {
        let error = source.load().err().unwrap();
        assert_eq!((error.key, &error.problem), (key, &problem), "{error}");
        let text = format!("{error} {error:?} {source:?} {}", vltava_config::ConfigError::from(error.clone()));
        assert!(
            text.contains("src/ssl/fixtures/") && !text.contains("tell-nobody") && !text.contains("secret"),
            "{text}"
        );
    }
    let missing = trusted("missing.jks", None).load().unwrap_err();
    assert!(matches!(missing.problem, StoreProblem::Unreadable(_)) && missing.key == TRUSTSTORE_LOCATION, "{missing}");
    let wrong = trusted("trust.p12", Some("tell-nobody")).load().unwrap_err();
    assert_eq!((wrong.key, wrong.problem), (TRUSTSTORE_PASSWORD, StoreProblem::WrongPassword));
    let without = trusted("openssl-trust.p12", None).load().unwrap_err();
    assert_eq!((without.key, without.problem), (TRUSTSTORE_PASSWORD, StoreProblem::NeedsPassword));
}

/// Whatever a file is cut to or changed to, it is an error or a store, and never a panic.
#[test]
fn damaged_stores_are_errors() {
    for name in
        ["server.jks", "trust.jks", "server.p12", "openssl.p12", "openssl-legacy.p12", "trust.p12", "server.pem"]
    {
        let bytes = fs::read(fixture(name)).unwrap();
        for end in 0..bytes.len() {
            let cut = open(&bytes[..end], Some(STORE_SECRET), None, KEYSTORE_TYPE);
            assert!(cut.is_err(), "{name} cut to {end}");
        }
        // Without a password, or the digest would find it all.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x85;
            let _ = open(&changed, None, None, KEYSTORE_TYPE);
            let _ = distinguished_name(&changed);
        }
    }
}

/// A digest that is right says nothing of what is within: who knows the password may write anything.
#[test]
fn a_jks_of_a_right_digest_may_lie_about_its_lengths() {
    let body =
        |entries: u32, rest: &[u8]| [&jks::MAGIC[..], &2_u32.to_be_bytes(), &entries.to_be_bytes(), rest].concat();
    let endless = [0, 0, 0, 2, 0xff, 0xff];
    for (entries, rest) in [(u32::MAX, &[][..]), (1, &endless), (1, &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])] {
        let bytes = jks::with_digest(&body(entries, rest), STORE_SECRET);
        let error = open(&bytes, Some(STORE_SECRET), None, KEYSTORE_TYPE).err().unwrap();
        assert!(matches!(error, StoreProblem::Malformed(_)), "{error}");
    }
}

/// By the JVM: `X500Principal.getName()` of the same file.
#[test]
fn a_name_is_the_jvms() {
    let certificate = certificates(include_str!("../fixtures/names.pem")).unwrap().remove(0);
    assert_eq!(
        distinguished_name(&certificate).unwrap(),
        "STREET=Main,2.5.4.5=#13023432,1.2.840.113549.1.9.1=#16056140622e63,UID=u1+CN=\\ spaced é\\ ,\
         OU=x\\=y\\;\\<z\\>\\\\\\#1,O=A\\, B \\+ \\\"C\\\",DC=org,C=CZ"
    );
}
