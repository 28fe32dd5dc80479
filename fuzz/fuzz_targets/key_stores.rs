//! Keys and certificates as users have them: the first byte chooses the type and whether they are the own or those of others,
//! the rest is the file.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vltava_security::ssl::{ClientContext, SslConfig, distinguished_name, trusted_certificates};

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("vltava-fuzz-key-store-{}", std::process::id())));

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let _ = distinguished_name(data);
    std::fs::write(&*FILE, data).expect("there is room");
    let path = FILE.to_str().expect("a name");
    let kind = ["PEM", "PKCS12", "JKS"][usize::from(*choice) % 3];
    let is_own = *choice >= 128;
    let place = if is_own { "keystore" } else { "truststore" };
    let text = |key: &'static str| match key.strip_prefix("ssl.")?.strip_prefix(place)?.strip_prefix('.')? {
        "type" => Some(kind),
        "location" => Some(path),
        "password" if kind != "PEM" => Some("changeit"),
        _ => None,
    };
    let _ = trusted_certificates(&text);
    if is_own {
        let config = SslConfig::read(&text).expect("the settings are those of a user");
        let _ = ClientContext::new(config);
    }
});
