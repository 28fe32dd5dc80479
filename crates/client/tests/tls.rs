//! The clients over TLS, against a broker in the process.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use vltava_broker::embedded;
use vltava_client::admin::{AlterConfigOp, ConfigResource, NewTopic, ResourceType};
use vltava_client::producer::{Producer, ProducerRecord};
use vltava_client::{Admin, AdminConfig, ClientError, Consumer, ConsumerConfig, ProducerConfig, TopicPartition};

const TOPIC: &str = "events";
/// More than anything here takes, and far less than a call's own limit of 60 s.
const SOON: Duration = Duration::from_secs(20);

/// Who signs certificates, and where they are written.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::named("authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn params(name: &str, hosts: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// Key and certificate, as a file.
    fn issue(&self, file: &str, params: &CertificateParams) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(file, &format!("{}{}", key.serialize_pem(), certificate.pem()))
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn server(&self) -> PathBuf {
        self.issue("server.pem", &Self::params("broker", &["localhost", "127.0.0.1"]))
    }

    /// Settings of a client that trusts it.
    fn trusting(&self) -> Settings {
        settings(&[
            ("security.protocol", "SSL"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.certificates", &self.issuer.pem()),
        ])
    }
}

type Settings = Vec<(String, String)>;

fn settings(given: &[(&str, &str)]) -> Settings {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn with_key(settings: &Settings, file: &Path) -> Settings {
    let path = file.to_str().unwrap().to_owned();
    let own = [("ssl.keystore.type".to_owned(), "PEM".to_owned()), ("ssl.keystore.location".to_owned(), path)];
    settings.iter().cloned().chain(own).collect()
}

fn broker(keys: &Path, more: &[(&str, &str)]) -> embedded::Broker {
    embedded::Broker::start(broker_config(keys, more)).unwrap()
}

fn broker_config(keys: &Path, more: &[(&str, &str)]) -> embedded::Config {
    let config = embedded::Config::default()
        .property("listeners", "SSL://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SSL")
        .property("ssl.keystore.type", "PEM")
        .property("ssl.keystore.location", keys.to_str().unwrap());
    more.iter().fold(config, |config, (key, value)| config.property(*key, *value))
}

struct Clients {
    admin: Admin,
    producer: Producer,
    consumer: Consumer,
}

impl Clients {
    fn new(servers: &str, settings: &Settings) -> Self {
        let all = |more: &[(&str, &str)]| {
            let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let servers = ("bootstrap.servers".to_owned(), servers.to_owned());
            settings.iter().cloned().chain([servers]).chain(more).collect::<Settings>()
        };
        Self {
            admin: Admin::new(AdminConfig::from_properties(all(&[])).unwrap()).unwrap(),
            producer: Producer::new(ProducerConfig::from_properties(all(&[])).unwrap()).unwrap(),
            consumer: Consumer::new(
                ConsumerConfig::from_properties(all(&[("auto.offset.reset", "earliest"), ("group.id", "g")])).unwrap(),
            )
            .unwrap(),
        }
    }

    /// Sends values, and reads as many: through a group, so that every kind of connection is made.
    async fn use_all(&self, values: &[Vec<u8>]) {
        for (_, created) in self.admin.create_topics([NewTopic::new(TOPIC)]).await {
            created.unwrap();
        }
        let mut deliveries = Vec::new();
        for value in values {
            deliveries.push(self.producer.send(ProducerRecord::new(TOPIC).value(value)).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        self.consumer.subscribe([TOPIC]).unwrap();
        let mut read: Vec<Vec<u8>> = Vec::new();
        while read.len() < values.len() {
            let polled = self.consumer.poll(SOON).await.unwrap();
            assert!(!polled.is_empty(), "only {} of {} records came", read.len(), values.len());
            for partition in polled.partitions() {
                read.extend(partition.iter().map(|record| record.value().unwrap().to_vec()));
            }
        }
        assert!(read == values);
    }

    /// How each kind of client is told that it cannot go on.
    async fn refusals(&self) -> Vec<ClientError> {
        let began = Instant::now();
        self.consumer.assign([TopicPartition::new(TOPIC, 0)]).unwrap();
        let assigned = self.consumer.poll(SOON * 3).await.unwrap_err();
        self.consumer.unsubscribe().await.unwrap();
        self.consumer.subscribe([TOPIC]).unwrap();
        let subscribed = self.consumer.poll(SOON * 3).await.unwrap_err();
        let refusals = vec![
            self.admin.describe_cluster().await.unwrap_err(),
            self.admin.create_topics([NewTopic::new(TOPIC)]).await.into_iter().next().unwrap().1.unwrap_err(),
            self.producer.send(ProducerRecord::new(TOPIC).value("v")).await.map(drop).unwrap_err(),
            assigned,
            subscribed,
        ];
        assert!(began.elapsed() < SOON, "they tried until their time was over: {refusals:?}");
        refusals
    }

    async fn refused_for(&self, part: &str) {
        for error in self.refusals().await {
            assert!(matches!(error, ClientError::SslAuthentication { .. }), "{error:?}");
            assert!(
                error.is_fatal() && !error.is_retriable() && error.to_string().contains(part),
                "{error}, not {part}"
            );
        }
    }
}

#[tokio::test]
async fn every_client_works_over_tls() {
    let authority = Authority::new();
    let broker = broker(&authority.server(), &[]);
    // Some of them larger than a record of TLS, all of them more than a socket takes.
    let values: Vec<Vec<u8>> = (0..60_usize).map(|i| vec![i as u8; i * 4_000]).collect();
    Clients::new(broker.bootstrap_servers(), &authority.trusting()).use_all(&values).await;
}

#[tokio::test]
async fn either_version_can_be_asked_for() {
    let authority = Authority::new();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let broker = broker(&authority.server(), &[("ssl.enabled.protocols", version)]);
        let servers = broker.bootstrap_servers();
        Clients::new(servers, &authority.trusting()).use_all(&[b"v".to_vec()]).await;
        let other = if version == "TLSv1.2" { "TLSv1.3" } else { "TLSv1.2" };
        let other = [authority.trusting(), settings(&[("ssl.enabled.protocols", other)])].concat();
        Clients::new(servers, &other).refused_for("version").await;
    }
}

#[tokio::test]
async fn who_has_to_show_a_certificate_is_named_by_it() {
    let authority = Authority::new();
    let trust = authority.write("trust.pem", &authority.issuer.pem());
    let auth = |auth: &'static str| {
        let more = [
            ("ssl.client.auth", auth),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", trust.to_str().unwrap()),
            // Nobody but this one has a name.
            ("ssl.principal.mapping.rules", "RULE:^CN=alice$/alice/"),
        ];
        broker(&authority.server(), &more)
    };
    let alice = with_key(&authority.trusting(), &authority.issue("alice.pem", &Authority::params("alice", &[])));
    let bob = with_key(&authority.trusting(), &authority.issue("bob.pem", &Authority::params("bob", &[])));
    let (other, same_name) = (Authority::named("other"), Authority::new());
    let [mallory, trudy] = [&other, &same_name].map(|authority_of_hers| {
        with_key(&authority.trusting(), &authority_of_hers.issue("own.pem", &Authority::params("alice", &[])))
    });
    let required = auth("required");
    let servers = required.bootstrap_servers();
    Clients::new(servers, &alice).use_all(&[b"v".to_vec()]).await;
    Clients::new(servers, &authority.trusting()).refused_for("it wants a certificate, and none was given").await;
    Clients::new(servers, &mallory).refused_for("does not trust who has signed the certificate").await;
    Clients::new(servers, &trudy).refused_for("it cannot verify the certificate that it was given").await;
    Clients::new(servers, &bob).refused_for("it denies access to whom the certificate is of").await;
    let requested = auth("requested");
    Clients::new(requested.bootstrap_servers(), &authority.trusting()).use_all(&[b"v".to_vec()]).await;
}

#[tokio::test]
async fn a_broker_that_is_not_trusted_is_told_at_once_and_to_every_caller() {
    let authority = Authority::new();
    let broker_of = |params: &CertificateParams| broker(&authority.issue("server.pem", params), &[]);
    let hosts = ["localhost", "127.0.0.1"];
    let trusted = broker_of(&Authority::params("broker", &hosts));
    Clients::new(trusted.bootstrap_servers(), &Authority::new().trusting())
        .refused_for("its certificate is not signed by anybody who is trusted")
        .await;
    let misnamed = broker_of(&Authority::params("broker", &["elsewhere"]));
    Clients::new(misnamed.bootstrap_servers(), &authority.trusting()).refused_for("is not for this host").await;
    let careless = [authority.trusting(), settings(&[("ssl.endpoint.identification.algorithm", "")])].concat();
    Clients::new(misnamed.bootstrap_servers(), &careless).use_all(&[b"v".to_vec()]).await;
    let mut expired = Authority::params("broker", &hosts);
    expired.not_before = rcgen::date_time_ymd(2000, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = broker_of(&expired);
    Clients::new(expired.bootstrap_servers(), &authority.trusting()).refused_for("has expired").await;
}

#[tokio::test]
async fn one_end_with_tls_and_one_without_say_so() {
    let authority = Authority::new();
    let secured = broker(&authority.server(), &[]);
    let plain = [("default.api.timeout.ms".to_owned(), "1000".to_owned())].to_vec();
    let error = Clients::new(secured.bootstrap_servers(), &plain).admin.describe_cluster().await.unwrap_err();
    assert!(error.to_string().contains("it speaks TLS, which `security.protocol` SSL asks for"), "{error}");
    let plain = embedded::Broker::start(embedded::Config::default()).unwrap();
    let limited = [authority.trusting(), settings(&[("default.api.timeout.ms", "1000")])].concat();
    let error = Clients::new(plain.bootstrap_servers(), &limited).admin.describe_cluster().await.unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains("in the handshake of TLS, which it may not speak"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_cannot_be_used_refuse_to_start_both_ends() {
    let authority = Authority::new();
    let empty = authority.write("empty.pem", "");
    let with = with_key(&authority.trusting(), &empty);
    let config =
        AdminConfig::from_properties(with.into_iter().chain(settings(&[("bootstrap.servers", "a:1")]))).unwrap();
    let error = Admin::new(config).unwrap_err();
    assert!(matches!(&error, ClientError::Config(_)) && error.is_fatal());
    let expected = format!("invalid `ssl.keystore.location` {}: it has no private key", empty.display());
    assert_eq!(error.to_string(), expected);
    let config = embedded::Config::default()
        .property("listeners", "SSL://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SSL")
        .property("ssl.keystore.type", "PEM")
        .property("ssl.keystore.location", empty.to_str().unwrap());
    assert_eq!(embedded::Broker::start(config).map(drop).unwrap_err().to_string(), expected);
    // A listener's own is named as it was given.
    let config = embedded::Config::default()
        .property("listeners", "SSL://127.0.0.1:0")
        .property("security.inter.broker.protocol", "SSL")
        .property("ssl.keystore.type", "PEM")
        .property("ssl.keystore.location", authority.server().to_str().unwrap())
        .property("listener.name.ssl.ssl.keystore.location", empty.to_str().unwrap());
    let expected = expected.replace("`ssl.", "`listener.name.ssl.ssl.");
    assert_eq!(embedded::Broker::start(config).map(drop).unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_who_is_connected_stays_so() {
    let (old, new) = (Authority::new(), Authority::new());
    let file = old.server();
    let broker = broker(&file, &[]);
    let connected = Clients::new(broker.bootstrap_servers(), &old.trusting());
    connected.use_all(&[b"1".to_vec()]).await;
    let renewed = std::fs::read(new.server()).unwrap();
    std::fs::write(&file, renewed).unwrap();
    // Files of one length that are written within one tick of the clock would look the same.
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(UNIX_EPOCH).unwrap();
    Clients::new(broker.bootstrap_servers(), &old.trusting()).refused_for("not signed by anybody who is trusted").await;
    assert!(Clients::new(broker.bootstrap_servers(), &new.trusting()).admin.describe_cluster().await.is_ok());
    assert!(connected.admin.list_topics().await.is_ok());
    let delivery = connected.producer.send(ProducerRecord::new(TOPIC).value("2")).await.unwrap();
    assert_eq!(delivery.await.unwrap().offset, Some(1));
}

#[tokio::test]
async fn a_keystore_can_be_altered_while_the_broker_runs() {
    const LOCATION: &str = "listener.name.ssl.ssl.keystore.location";
    let (old, new) = (Authority::new(), Authority::new());
    const PASSWORD: &str = "listener.name.ssl.ssl.truststore.password";
    let trust = Path::new(env!("CARGO_MANIFEST_DIR")).join("../security/src/ssl/fixtures/trust.jks");
    let trust = [("ssl.truststore.location", trust.to_str().unwrap()), (PASSWORD, "store-secret")];
    let broker = broker(&old.server(), &trust);
    let admin = Clients::new(broker.bootstrap_servers(), &old.trusting()).admin;
    let alter = async |value: &Path| {
        let change = (LOCATION.to_owned(), AlterConfigOp::Set(value.to_str().unwrap().to_owned()));
        let broker = ConfigResource::new(ResourceType::Broker, "1");
        admin.incremental_alter_configs([(broker, [change].into())]).await.into_iter().next().unwrap().1
    };
    let another = new.issue("another.pem", &Authority::params("another", &["127.0.0.1"]));
    for (wrong, part) in [
        (new.folder.path().join("missing.pem"), "cannot be read"),
        (another, "of another distinguished name"),
        (new.write("trust.pem", &new.issuer.pem()), "has no private key"),
    ] {
        let error = alter(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let file = new.server();
    alter(&file).await.unwrap();
    let resource = ConfigResource::new(ResourceType::Broker, "1");
    let described = admin.describe_configs([resource]).await.into_iter().next().unwrap().1.unwrap();
    let told = |name: &str| described.iter().find(|entry| entry.name == name).unwrap();
    assert_eq!((told(LOCATION).value.as_deref(), told(LOCATION).is_sensitive), (file.to_str(), false));
    assert_eq!((told(PASSWORD).value.as_deref(), told(PASSWORD).is_sensitive), (None, true));
    assert!(Clients::new(broker.bootstrap_servers(), &new.trusting()).admin.describe_cluster().await.is_ok());
    Clients::new(broker.bootstrap_servers(), &old.trusting()).refused_for("not signed by anybody who is trusted").await;
}

/// The file of settings may name what is not there as it was any more.
#[tokio::test]
async fn an_altered_keystore_holds_after_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let first = old.issue("first.pem", &Authority::params("first", &["127.0.0.1"]));
    let second = new.issue("second.pem", &Authority::params("second", &["127.0.0.1"]));
    let folder = tempfile::tempdir().unwrap();
    let allow = [("listener.name.ssl.ssl.allow.dn.changes", "true")];
    let broker = embedded::Broker::start(broker_config(&first, &allow).dir(folder.path())).unwrap();
    let admin = Clients::new(broker.bootstrap_servers(), &old.trusting()).admin;
    let location = "listener.name.ssl.ssl.keystore.location".to_owned();
    let change = (location, AlterConfigOp::Set(second.to_str().unwrap().to_owned()));
    let resource = ConfigResource::new(ResourceType::Broker, "1");
    let altered = admin.incremental_alter_configs([(resource, [change].into())]).await;
    altered.into_iter().next().unwrap().1.unwrap();
    broker.shutdown().await;
    let config = broker_config(&first, &[]).dir(folder.path());
    let broker = embedded::Broker::start(config).unwrap();
    assert!(Clients::new(broker.bootstrap_servers(), &new.trusting()).admin.describe_cluster().await.is_ok());
}
