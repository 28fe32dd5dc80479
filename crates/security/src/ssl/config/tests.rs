use super::*;

fn read(given: &[(&'static str, &'static str)]) -> Result<SslConfig, ConfigError> {
    let default = |key: &str| super::super::keys::BROKER.iter().find(|row| row.key == key).and_then(|row| row.default);
    SslConfig::read(&|key| {
        given.iter().find(|(name, _)| *name == key).map(|(_, value)| *value).or_else(|| default(key))
    })
}

#[test]
fn nothing_given_is_both_versions_and_the_name_checked() {
    let config = read(&[]).unwrap();
    assert_eq!(config.versions(), [&TLS12, &TLS13]);
    assert!(config.checks_host && !config.has_keys() && config.client_auth() == ClientAuth::None);
    assert_eq!(config.provider().cipher_suites.len(), default_provider().cipher_suites.len());
}

#[test]
fn versions_are_those_enabled_up_to_the_highest() {
    for (given, expected) in [
        (&[("ssl.protocol", "TLSv1.2")][..], &[&TLS12][..]),
        (&[("ssl.enabled.protocols", "TLSv1.3")], &[&TLS13]),
        (&[("ssl.enabled.protocols", "")], &[&TLS12, &TLS13]),
        (&[("ssl.protocol", "TLS"), ("ssl.enabled.protocols", "TLSv1.2")], &[&TLS12]),
        // A version without a suite of its own is none.
        (&[("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256")], &[&TLS13]),
    ] {
        assert_eq!(read(given).unwrap().versions(), expected, "{given:?}");
    }
    let suites =
        read(&[("ssl.cipher.suites", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_256_GCM_SHA384")]).unwrap();
    assert_eq!(suites.provider().cipher_suites.len(), 2);
}

#[test]
fn what_cannot_be_honoured_names_the_key_and_no_secret() {
    let secret = "tell-nobody";
    for (given, key) in [
        (&[("ssl.protocol", "TLSv1.1")][..], "ssl.protocol"),
        (&[("ssl.enabled.protocols", "TLSv1.1,TLSv1.2")], "ssl.enabled.protocols"),
        (&[("ssl.enabled.protocols", "TLSv1.3"), ("ssl.protocol", "TLSv1.2")], "ssl.enabled.protocols"),
        (&[("ssl.cipher.suites", "TLS_RSA_WITH_AES_128_CBC_SHA")], "ssl.cipher.suites"),
        (&[("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384"), ("ssl.protocol", "TLSv1.2")], "ssl.cipher.suites"),
        (&[("ssl.endpoint.identification.algorithm", "ldaps")], "ssl.endpoint.identification.algorithm"),
        (&[("ssl.client.auth", "perhaps")], "ssl.client.auth"),
        (&[("ssl.keystore.type", "BCFKS")], "ssl.keystore.type"),
        (&[("ssl.truststore.type", "JCEKS")], "ssl.truststore.type"),
        (&[("ssl.keystore.location", "/k")], "ssl.keystore.location"),
        (&[("ssl.keystore.password", secret)], "ssl.keystore.password"),
        (&[("ssl.key.password", secret)], "ssl.key.password"),
        (&[("ssl.truststore.password", secret)], "ssl.truststore.password"),
        (&[("ssl.keystore.key", secret)], "ssl.keystore.key"),
        (&[("ssl.keystore.type", "PEM"), ("ssl.keystore.key", secret)], "ssl.keystore.key"),
        (&[("ssl.keystore.type", "PEM"), ("ssl.keystore.certificate.chain", secret)], "ssl.keystore.certificate.chain"),
        (
            &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", "/k"), ("ssl.keystore.password", secret)],
            "ssl.keystore.password",
        ),
        (&[("ssl.truststore.certificates", secret)], "ssl.truststore.certificates"),
        (
            &[
                ("ssl.truststore.type", "PEM"),
                ("ssl.truststore.certificates", secret),
                ("ssl.truststore.location", "/t"),
            ],
            "ssl.truststore.certificates",
        ),
    ] {
        let error = read(given).unwrap_err();
        assert_eq!(error.key, key, "{given:?}");
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = read(&[
        ("ssl.keystore.location", "/k"),
        ("ssl.keystore.password", "tell-nobody"),
        ("ssl.truststore.location", "/t"),
        ("ssl.truststore.password", "tell-nobody"),
    ])
    .unwrap();
    let text = format!("{config:?}");
    assert!(text.contains("/k") && text.contains("/t") && !text.contains("tell-nobody"), "{text}");
}
