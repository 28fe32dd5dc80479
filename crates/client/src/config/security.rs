//! The keys of SASL. Those without an effect are refused: who asks for protection gets it or is told.

use vltava_config::Definition;
use vltava_config::Importance::{High, Low};
use vltava_config::Kind::{Boolean, Class, Double, Int, List, Long, Password, Short, String};
use vltava_config::Range::{Any, Between, Fraction, OneOfAnyCase};

const BY_HTTP: &str = "of a login by HTTP there are the client's credentials and no more";
const CLASSES: &str = "classes of the JVM cannot be loaded";
const KERBEROS: &str = "Kerberos is not supported";

/// SASL, the same for all clients.
#[rustfmt::skip]
pub(super) const SECURITY: &[Definition] = &[
    Definition::new("sasl.client.callback.handler.class", Class, None, Any, "Class that answers the questions of a SASL mechanism on the client's side.").refused(CLASSES),
    Definition::new("sasl.jaas.config", Password, None, Any, "Login module and its options for SASL, in the form of a JAAS file."),
    Definition::new("sasl.kerberos.kinit.cmd", String, Some("/usr/bin/kinit"), Any, "The program that gets a Kerberos ticket.").importance(Low).refused(KERBEROS),
    Definition::new("sasl.kerberos.min.time.before.relogin", Long, Some("60000"), Any, "The least time between two logins to Kerberos, in ms.").importance(Low).refused(KERBEROS),
    Definition::new("sasl.kerberos.service.name", String, None, Any, "The name of the brokers in Kerberos.").refused(KERBEROS),
    Definition::new("sasl.kerberos.ticket.renew.jitter", Double, Some("0.05"), Any, "By how much the time of renewal of a Kerberos ticket varies.").importance(Low).refused(KERBEROS),
    Definition::new("sasl.kerberos.ticket.renew.window.factor", Double, Some("0.8"), Any, "The part of a Kerberos ticket's life after which it is renewed.").importance(Low).refused(KERBEROS),
    Definition::new("sasl.login.callback.handler.class", Class, None, Any, "Class that answers the questions of a login."),
    Definition::new("sasl.login.class", Class, None, Any, "Class that logs in.").refused(CLASSES),
    Definition::new("sasl.login.connect.timeout.ms", Int, None, Any, "How long connecting to a provider of tokens may take, in ms.").importance(Low),
    Definition::new("sasl.login.read.timeout.ms", Int, None, Any, "How long an answer of a provider of tokens may take, in ms.").importance(Low),
    Definition::new("sasl.login.refresh.buffer.seconds", Short, Some("300"), Between(0, 3600), "The least time before a token's end at which it is refreshed, in s.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.login.refresh.min.period.seconds", Short, Some("60"), Between(0, 900), "The least time between two refreshes of a token, in s.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.login.refresh.window.factor", Double, Some("0.8"), Fraction(0.5, 1.0), "The part of a token's life after which it is refreshed.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.login.refresh.window.jitter", Double, Some("0.05"), Fraction(0.0, 0.25), "By how much the time of a token's refresh varies.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.login.retry.backoff.max.ms", Long, Some("10000"), Any, "The longest pause between attempts to log in, in ms.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.login.retry.backoff.ms", Long, Some("100"), Any, "The first pause between attempts to log in, in ms.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.mechanism", String, Some("GSSAPI"), Any, "SASL mechanism of the connections."),
    Definition::new("sasl.oauthbearer.assertion.algorithm", String, Some("RS256"), OneOfAnyCase(&["ES256", "RS256"]), "The algorithm that signs an assertion.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.aud", String, None, Any, "The claim `aud` of an assertion: for whom it is.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.exp.seconds", Int, Some("300"), Between(0, 86400), "How long an assertion is valid, in s.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.iss", String, None, Any, "The claim `iss` of an assertion: who made it.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.jti.include", Boolean, Some("false"), Any, "Whether an assertion has a number of its own.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, Some("60"), Between(0, 3600), "How long before now an assertion begins to be valid, in s.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.claim.sub", String, None, Any, "The claim `sub` of an assertion: about whom it is.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.file", String, None, Any, "The file with a finished assertion.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.private.key.file", String, None, Any, "The file with the key that signs an assertion.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.private.key.passphrase", Password, None, Any, "The passphrase of that key.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.assertion.template.file", String, None, Any, "The file with the fixed parts of an assertion.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.client.credentials.client.id", String, None, Any, "The client's name at the provider of tokens."),
    Definition::new("sasl.oauthbearer.client.credentials.client.secret", Password, None, Any, "The client's secret at the provider of tokens."),
    Definition::new("sasl.oauthbearer.clock.skew.seconds", Int, Some("30"), Any, "By how much clocks may differ, in s.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.expected.audience", List, Some(""), Any, "Audiences of which a token must name one.").importance(High).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.expected.issuer", String, None, Any, "The issuer that a token must name.").importance(High).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.header.urlencode", Boolean, Some("false"), Any, "Whether name and secret are URL-encoded in the header.").importance(Low),
    Definition::new("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Some("3600000"), Any, "Time between readings of the provider's keys, in ms.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Some("10000"), Any, "The longest pause between attempts to read the provider's keys, in ms.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Some("100"), Any, "The first pause between attempts to read the provider's keys, in ms.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.jwks.endpoint.url", String, None, Any, "Where the provider's keys are.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.jwt.retriever.class", Class, Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"), Any, "Class that gets tokens.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.jwt.validator.class", Class, Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"), Any, "Class that checks tokens.").refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.scope", String, None, Any, "The scope that is asked for."),
    Definition::new("sasl.oauthbearer.scope.claim.name", String, Some("scope"), Any, "The claim of a token that holds the scope.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.sub.claim.name", String, Some("sub"), Any, "The claim of a token that holds the subject.").importance(Low).refused(BY_HTTP),
    Definition::new("sasl.oauthbearer.token.endpoint.url", String, None, Any, "Where tokens are got."),
    Definition::new("security.providers", String, None, Any, "Classes that provide security algorithms.").importance(Low).refused(CLASSES),
];
