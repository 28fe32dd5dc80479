//! The definitions of `ssl.*`, for both ends. Kafka's `SslConfigs` and `BrokerSecurityConfigs`.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low, Medium};
use vltava_config::Kind::{Boolean, Class, List, Password, String};
use vltava_config::Range::{Any, OneOf};
use vltava_config::Update::PerBroker;

/// Why a build without TLS refuses its keys.
pub const NO_TLS: &str = "this program was built without TLS: build it with the feature `tls`";

const JVM: &str = "it is one of the JVM's, TLS is rustls here";

const fn acts(definition: Definition) -> Definition {
    if cfg!(feature = "tls") { definition } else { definition.refused(NO_TLS) }
}

const CIPHER_SUITES: Definition =
    acts(Definition::new("ssl.cipher.suites", List, Some(""), Any, "TLS: the cipher suites that may be used, by their IANA names; empty for all that there are. Those of TLSv1.2 without forward secrecy or authenticated encryption do not exist here, and are refused.").importance(Low));
const ENABLED_PROTOCOLS: Definition = acts(Definition::new(
    "ssl.enabled.protocols",
    List,
    Some("TLSv1.2,TLSv1.3"),
    Any,
    "TLS: the versions that may be used, of TLSv1.2 and TLSv1.3; empty for both.",
));
const ENDPOINT_IDENTIFICATION: Definition = acts(
    Definition::new(
        "ssl.endpoint.identification.algorithm",
        String,
        Some("https"),
        Any,
        "TLS: `https` checks that a server's certificate is for the host that was connected to, empty does not.",
    )
    .importance(Low),
);
const ENGINE_FACTORY: Definition =
    Definition::new("ssl.engine.factory.class", Class, None, Any, "TLS: class that makes connections.")
        .importance(Low)
        .refused(JVM);
const KEY_PASSWORD: Definition = acts(Definition::new(
    "ssl.key.password",
    Password,
    None,
    Any,
    "TLS: the password of the private key, in PEM or where it differs from that of its store.",
));
const KEYMANAGER: Definition = Definition::new(
    "ssl.keymanager.algorithm",
    String,
    Some("SunX509"),
    Any,
    "TLS: the algorithm of the JVM's key manager.",
)
.importance(Low)
.refused(JVM);
const CERTIFICATE_CHAIN: Definition = acts(Definition::new(
    "ssl.keystore.certificate.chain",
    Password,
    None,
    Any,
    "TLS: the certificate and those above it, as PEM.",
));
const KEYSTORE_KEY: Definition = acts(Definition::new(
    "ssl.keystore.key",
    Password,
    None,
    Any,
    "TLS: the private key, as PEM in PKCS#8, PKCS#1 or SEC1; encrypted in PKCS#8, with ssl.key.password.",
));
const KEYSTORE_LOCATION: Definition = acts(Definition::new(
    "ssl.keystore.location",
    String,
    None,
    Any,
    "TLS: the file with private key and certificates. It is read again when it has changed, at the next connection.",
));
const KEYSTORE_PASSWORD: Definition = acts(Definition::new(
    "ssl.keystore.password",
    Password,
    None,
    Any,
    "TLS: the password of that file, if it is JKS or PKCS12.",
));
const KEYSTORE_TYPE: Definition = acts(Definition::new(
    "ssl.keystore.type",
    String,
    Some("JKS"),
    Any,
    "TLS: the format of that file: PEM, PKCS12 or JKS; as in the JVM the last two are told apart by the file itself.",
));
const PROTOCOL: Definition = acts(Definition::new(
    "ssl.protocol",
    String,
    Some("TLSv1.3"),
    Any,
    "TLS: the highest version that may be used, TLSv1.3 (also as TLS) or TLSv1.2.",
));
const PROVIDER: Definition =
    Definition::new("ssl.provider", String, None, Any, "TLS: the JVM's security provider.").refused(JVM);
const SECURE_RANDOM: Definition =
    Definition::new("ssl.secure.random.implementation", String, None, Any, "TLS: the JVM's source of randomness.")
        .importance(Low)
        .refused(JVM);
const TRUSTMANAGER: Definition = Definition::new(
    "ssl.trustmanager.algorithm",
    String,
    Some("PKIX"),
    Any,
    "TLS: the algorithm of the JVM's trust manager.",
)
.importance(Low)
.refused(JVM);
const TRUSTSTORE_CERTIFICATES: Definition = acts(Definition::new(
    "ssl.truststore.certificates",
    Password,
    None,
    Any,
    "TLS: the certificates that are trusted, as PEM.",
));
const TRUSTSTORE_LOCATION: Definition = acts(Definition::new(
    "ssl.truststore.location",
    String,
    None,
    Any,
    "TLS: the file with the certificates that are trusted; without it and without ssl.truststore.certificates those of the operating system are. It is read again when it has changed, at the next connection.",
));
const TRUSTSTORE_PASSWORD: Definition = acts(Definition::new(
    "ssl.truststore.password",
    Password,
    None,
    Any,
    "TLS: the password of that file, if it is JKS or PKCS12. A JKS file can be read without, unchecked.",
));
const TRUSTSTORE_TYPE: Definition = acts(Definition::new(
    "ssl.truststore.type",
    String,
    Some("JKS"),
    Any,
    "TLS: the format of that file: PEM, PKCS12 or JKS.",
));

/// Whether a value is what holds without it. Empty and missing are the same.
#[must_use]
pub fn is_default(row: &Definition, value: Option<&str>) -> bool {
    value.unwrap_or("") == row.default.unwrap_or("")
}

/// Those of a client.
#[rustfmt::skip]
pub const CLIENT: &[Definition] = &[
    CIPHER_SUITES,
    ENABLED_PROTOCOLS,
    ENDPOINT_IDENTIFICATION,
    ENGINE_FACTORY,
    KEY_PASSWORD.importance(High),
    KEYMANAGER,
    CERTIFICATE_CHAIN.importance(High),
    KEYSTORE_KEY.importance(High),
    KEYSTORE_LOCATION.importance(High),
    KEYSTORE_PASSWORD.importance(High),
    KEYSTORE_TYPE,
    PROTOCOL,
    PROVIDER,
    SECURE_RANDOM,
    TRUSTMANAGER,
    TRUSTSTORE_CERTIFICATES.importance(High),
    TRUSTSTORE_LOCATION.importance(High),
    TRUSTSTORE_PASSWORD.importance(High),
    TRUSTSTORE_TYPE,
];

/// Those of a broker.
#[rustfmt::skip]
pub const BROKER: &[Definition] = &[
    acts(Definition::new("ssl.allow.dn.changes", Boolean, Some("false"), Any, "TLS: whether a renewed certificate may be of another distinguished name.").importance(Low)),
    acts(Definition::new("ssl.allow.san.changes", Boolean, Some("false"), Any, "TLS: whether a renewed certificate may lack alternative names that the one before had.").importance(Low)),
    CIPHER_SUITES.importance(Medium).update(PerBroker),
    acts(Definition::new("ssl.client.auth", String, Some("none"), OneOf(&["required", "requested", "none"]), "TLS: whether clients are asked for a certificate, and whether they must have one.").update(PerBroker)),
    ENABLED_PROTOCOLS.update(PerBroker),
    ENDPOINT_IDENTIFICATION.update(PerBroker),
    ENGINE_FACTORY.update(PerBroker),
    KEY_PASSWORD.update(PerBroker),
    KEYMANAGER.importance(Medium).update(PerBroker),
    CERTIFICATE_CHAIN.update(PerBroker),
    KEYSTORE_KEY.update(PerBroker),
    KEYSTORE_LOCATION.update(PerBroker),
    KEYSTORE_PASSWORD.update(PerBroker),
    KEYSTORE_TYPE.update(PerBroker),
    acts(Definition::new("ssl.principal.mapping.rules", String, Some("DEFAULT"), Any, "TLS: rules from the distinguished name of a client's certificate to a principal, in Kafka's grammar; Java's expressions that look around or refer to themselves are refused.").importance(Low)),
    PROTOCOL.update(PerBroker),
    PROVIDER.update(PerBroker),
    SECURE_RANDOM.update(PerBroker),
    TRUSTMANAGER.importance(Medium).update(PerBroker),
    TRUSTSTORE_CERTIFICATES.update(PerBroker),
    TRUSTSTORE_LOCATION.update(PerBroker),
    TRUSTSTORE_PASSWORD.update(PerBroker),
    TRUSTSTORE_TYPE.update(PerBroker),
];
