use std::io::{self, Read, Write};
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::super::failure::HandshakeFailure;
use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Key and certificate as PEM, in the form of a file.
fn issue(authority: &Authority, params: &CertificateParams) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    format!("{}{}", key.serialize_pem(), certificate.pem())
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Later than whatever was written there before.
    fn rewrite(&self, name: &str, text: &str, seconds: u64) {
        let path = self.write(name, text);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
}

fn config(given: &[(&'static str, &str)]) -> SslConfig {
    let all = |key| match key {
        "ssl.keystore.type" | "ssl.truststore.type" => Some("PEM"),
        "ssl.endpoint.identification.algorithm" => Some("https"),
        _ => None,
    };
    SslConfig::read(&|key| given.iter().find(|(name, _)| *name == key).map(|(_, value)| *value).or_else(|| all(key)))
        .unwrap()
}

/// Makes a handshake in memory, and one message each way; gives the name in the client's certificate.
fn handshake(client: &SslConfig, server: &SslConfig, host: &str) -> Result<Option<String>, HandshakeFailure> {
    let client = ClientContext::new(client.clone()).unwrap().current();
    let server = ServerContext::new(server.clone()).unwrap().current();
    meet(client, server, host)
}

fn meet(client: Arc<ClientConfig>, server: Arc<ServerConfig>, host: &str) -> Result<Option<String>, HandshakeFailure> {
    let failed = |error: Error| HandshakeFailure::of(&io::Error::new(io::ErrorKind::InvalidData, error));
    let mut client = ClientConnection::new(client, ServerName::try_from(host.to_owned()).unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    client.writer().write_all(b"ping").unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            // What it refuses it tells the client, which is asked below.
            let _ = server.process_new_packets();
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().map_err(failed)?;
        }
    }
    let mut got = [0; 4];
    server.reader().read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    Ok(server.peer_certificates().and_then(|chain| name::distinguished_name(chain.first()?)))
}

#[test]
fn who_is_signed_by_an_authority_that_is_trusted_is_let_in() {
    let (files, ours, other) = (Files::new(), authority("ours"), authority("other"));
    let trust = files.write("trust.pem", &ours.pem());
    let server_file = files.write("server.pem", &issue(&ours, &params("broker", &["localhost", "127.0.0.1"])));
    let client_file = files.write("client.pem", &issue(&ours, &params("alice", &[])));
    let stranger_file = files.write("stranger.pem", &issue(&other, &params("mallory", &[])));
    let server = |auth: &'static str| {
        config(&[
            ("ssl.keystore.location", &server_file),
            ("ssl.truststore.location", &trust),
            ("ssl.client.auth", auth),
        ])
    };
    let anonymous = config(&[("ssl.truststore.location", &trust)]);
    let with = |file: &str| config(&[("ssl.truststore.location", &trust), ("ssl.keystore.location", file)]);
    let (alice, mallory) = (with(&client_file), with(&stranger_file));
    let name = |name: &str| Ok(Some(format!("CN={name}")));
    let refused = |part: &'static str| {
        move |got: &Result<Option<String>, HandshakeFailure>| match got {
            Err(HandshakeFailure::Refused(why)) => assert!(why.contains(part), "{why}"),
            other => panic!("{other:?}, not {}", part),
        }
    };
    assert_eq!(handshake(&anonymous, &server("none"), "localhost"), Ok(None));
    assert_eq!(handshake(&anonymous, &server("none"), "127.0.0.1"), Ok(None));
    // Asked for nothing, a client shows nothing.
    assert_eq!(handshake(&alice, &server("none"), "localhost"), Ok(None));
    assert_eq!(handshake(&alice, &server("requested"), "localhost"), name("alice"));
    assert_eq!(handshake(&anonymous, &server("requested"), "localhost"), Ok(None));
    assert_eq!(handshake(&alice, &server("required"), "localhost"), name("alice"));
    refused("it wants a certificate")(&handshake(&anonymous, &server("required"), "localhost"));
    refused("does not trust")(&handshake(&mallory, &server("required"), "localhost"));
    refused("does not trust")(&handshake(&mallory, &server("requested"), "localhost"));
    refused("is not for this host")(&handshake(&anonymous, &server("none"), "elsewhere"));
    let careless = config(&[("ssl.truststore.location", &trust), ("ssl.endpoint.identification.algorithm", "")]);
    assert_eq!(handshake(&careless, &server("none"), "elsewhere"), Ok(None));
    let trusts_other = config(&[("ssl.truststore.certificates", &other.pem())]);
    refused("not signed by anybody who is trusted")(&handshake(&trusts_other, &server("none"), "localhost"));
    // Who does not look at the name looks at who has signed it.
    let careless =
        config(&[("ssl.truststore.certificates", &other.pem()), ("ssl.endpoint.identification.algorithm", "")]);
    refused("not signed by anybody who is trusted")(&handshake(&careless, &server("none"), "localhost"));
    let old = config(&[("ssl.truststore.location", &trust), ("ssl.protocol", "TLSv1.2")]);
    let new = config(&[("ssl.keystore.location", &server_file), ("ssl.enabled.protocols", "TLSv1.3")]);
    assert_eq!(handshake(&old, &server("none"), "localhost"), Ok(None));
    refused("versions")(&handshake(&old, &new, "localhost"));
}

#[test]
fn expired_or_of_another_use_is_refused() {
    let (files, ours) = (Files::new(), authority("ours"));
    let client = config(&[("ssl.truststore.certificates", &ours.pem())]);
    let mut expired = params("broker", &["localhost"]);
    expired.not_before = rcgen::date_time_ymd(2000, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut early = params("broker", &["localhost"]);
    early.not_before = rcgen::date_time_ymd(3000, 1, 1);
    early.not_after = rcgen::date_time_ymd(3001, 1, 1);
    let mut of_client = params("broker", &["localhost"]);
    of_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (params, part) in [(expired, "has expired"), (early, "is not valid yet"), (of_client, "cannot be accepted")] {
        let server = config(&[("ssl.keystore.location", &files.write("server.pem", &issue(&ours, &params)))]);
        match handshake(&client, &server, "localhost") {
            Err(HandshakeFailure::Refused(why)) => assert!(why.contains(part), "{why}"),
            other => panic!("{other:?}, not {part}"),
        }
    }
}

/// As the JVM: what lies in a truststore is trusted as it is, and signs nothing unless it is an authority's.
#[test]
fn a_certificate_in_the_truststore_is_trusted_as_it_is() {
    let files = Files::new();
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut own = params("broker", &["localhost"]);
        own.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let (key_pem, certificate) = (key.serialize_pem(), CertifiedIssuer::self_signed(own, key).unwrap());
        let server_file = files.write("server.pem", &format!("{key_pem}{}", certificate.pem()));
        let both = config(&[
            ("ssl.keystore.location", &server_file),
            ("ssl.truststore.certificates", &certificate.pem()),
            ("ssl.client.auth", "required"),
        ]);
        assert_eq!(handshake(&both, &both, "localhost"), Ok(Some("CN=broker".to_owned())), "{is_ca:?}");
        let below = files.write("below.pem", &issue(&certificate, &params("below", &["localhost"])));
        let below = config(&[("ssl.keystore.location", &below)]);
        let is_authority = matches!(is_ca, IsCa::Ca(_));
        assert_eq!(handshake(&both, &below, "localhost").is_ok(), is_authority, "{is_ca:?}");
    }
}

/// As the JVM, where no alternative name is one of a host.
#[test]
fn the_common_name_counts_where_there_is_no_other() {
    let (files, ours) = (Files::new(), authority("ours"));
    let client = config(&[("ssl.truststore.certificates", &ours.pem())]);
    for (hosts, host, expected) in [
        (&[][..], "kafka.example.org", true),
        (&[], "other.example.org", false),
        (&["other.example.org"], "kafka.example.org", false),
        (&["10.0.0.1"], "kafka.example.org", true),
        (&[], "127.0.0.1", false),
    ] {
        let server_file = files.write("server.pem", &issue(&ours, &params("kafka.example.org", hosts)));
        let server = config(&[("ssl.keystore.location", &server_file)]);
        assert_eq!(handshake(&client, &server, host).is_ok(), expected, "{hosts:?} {host}");
    }
}

#[test]
fn a_renewed_file_is_taken_up_and_a_broken_one_is_not() {
    let (files, ours) = (Files::new(), authority("ours"));
    let of = |name: &str, hosts: &[&str]| issue(&ours, &params(name, hosts));
    let path = files.write("server.pem", &of("broker", &["localhost"]));
    let server = ServerContext::new(config(&[("ssl.keystore.location", &path)])).unwrap();
    let first = server.current();
    assert!(Arc::ptr_eq(&first, &server.current()), "nothing has changed");
    files.rewrite("server.pem", &of("broker", &["localhost"]), 1_000);
    let second = server.current();
    assert!(!Arc::ptr_eq(&first, &second));
    for (text, seconds) in [
        ("nothing".to_owned(), 2_000),
        (of("another", &["localhost"]), 3_000),
        (of("broker", &["elsewhere"]), 4_000),
        (ours.pem(), 5_000),
    ] {
        files.rewrite("server.pem", &text, seconds);
        assert!(Arc::ptr_eq(&second, &server.current()), "{seconds}");
    }
    files.rewrite("server.pem", &of("Broker", &["elsewhere", "localhost"]), 6_000);
    assert!(!Arc::ptr_eq(&second, &server.current()), "the same name, and more of the others");

    let free = config(&[
        ("ssl.keystore.location", &path),
        ("ssl.allow.dn.changes", "true"),
        ("ssl.allow.san.changes", "true"),
    ]);
    files.rewrite("server.pem", &of("another", &["elsewhere"]), 7_000);
    assert!(server.replace(config(&[("ssl.keystore.location", &path), ("ssl.protocol", "TLSv1.2")])).is_err());
    server.check(&free).unwrap();
    server.replace(free).unwrap();
    let client = config(&[("ssl.truststore.certificates", &ours.pem())]);
    let client = ClientContext::new(client).unwrap().current();
    assert_eq!(meet(client, server.current(), "elsewhere"), Ok(None));
}

#[test]
fn a_renewed_truststore_is_taken_up() {
    let (files, ours, other) = (Files::new(), authority("ours"), authority("other"));
    let trust = files.write("trust.pem", &other.pem());
    let server =
        config(&[("ssl.keystore.location", &files.write("s.pem", &issue(&ours, &params("b", &["localhost"]))))]);
    let server = ServerContext::new(server).unwrap();
    let client = ClientContext::new(config(&[("ssl.truststore.location", &trust)])).unwrap();
    assert!(meet(client.current(), server.current(), "localhost").is_err());
    files.rewrite("trust.pem", &format!("{}{}", other.pem(), ours.pem()), 1_000);
    assert_eq!(meet(client.current(), server.current(), "localhost"), Ok(None));
}

#[test]
fn a_key_that_the_jvm_has_written_can_be_used() {
    let stores = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ssl/fixtures").join(name);
    let (keys, trust) = (stores("server.p12"), stores("trust.p12"));
    let both = SslConfig::read(&|key| match key {
        "ssl.keystore.location" => keys.to_str(),
        "ssl.truststore.location" => trust.to_str(),
        "ssl.keystore.password" | "ssl.truststore.password" => Some("store-secret"),
        "ssl.client.auth" => Some("required"),
        "ssl.endpoint.identification.algorithm" => Some("https"),
        _ => None,
    });
    let both = both.unwrap();
    assert_eq!(handshake(&both, &both, "localhost"), Ok(Some("CN=broker,OU=Rivers,O=Vltava,C=CZ".to_owned())));
}

#[test]
fn what_a_server_cannot_be_made_of_is_refused() {
    let (files, ours) = (Files::new(), authority("ours"));
    let (one, other) = (issue(&ours, &params("a", &[])), issue(&ours, &params("b", &[])));
    let certificate = other.find("-----BEGIN CERTIFICATE").unwrap();
    let key = one.find("-----BEGIN CERTIFICATE").unwrap();
    let path = files.write("mixed.pem", &format!("{}{}", &one[..key], &other[certificate..]));
    let error = ServerContext::new(config(&[("ssl.keystore.location", &path)])).unwrap_err();
    assert_eq!((error.key, error.problem), (KEYSTORE_LOCATION, StoreProblem::KeyMismatch));
    let fine = files.write("fine.pem", &one);
    let trust = files.write("trust.pem", "nobody");
    let with_trust = config(&[("ssl.keystore.location", &fine), ("ssl.truststore.location", &trust)]);
    let error = ServerContext::new(with_trust).unwrap_err();
    assert_eq!((error.key, error.problem), ("ssl.truststore.location", StoreProblem::NoCertificate));
    let error = ServerContext::new(config(&[])).unwrap_err();
    assert_eq!((error.key, error.problem), (KEYSTORE_LOCATION, StoreProblem::NoKey));
}

#[test]
fn what_is_not_tls_is_told_apart() {
    let (files, ours) = (Files::new(), authority("ours"));
    let path = files.write("server.pem", &issue(&ours, &params("b", &["localhost"])));
    let server = ServerContext::new(config(&[("ssl.keystore.location", &path)])).unwrap();
    // A request of Kafka, and one of HTTP.
    for bytes in [&[0, 0, 0, 30, 0, 18, 0, 4, 0, 0, 0, 1][..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut connection = ServerConnection::new(server.current()).unwrap();
        connection.read_tls(&mut &bytes[..]).unwrap();
        let error = connection.process_new_packets().unwrap_err();
        let failure = HandshakeFailure::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(failure, HandshakeFailure::NotTls);
    }
    assert_eq!(HandshakeFailure::of(&io::ErrorKind::ConnectionReset.into()), HandshakeFailure::Lost);
}
