use vltava_security::KafkaPrincipal;

use super::*;

#[test]
fn the_defaults_of_every_key_pass_its_own_check() {
    for key in broker_keys() {
        if let Some(default) = key.default {
            assert_eq!(key.parse(default).as_deref(), Ok(default), "{}", key.key);
        }
    }
    // Three of them Kafka has at run time only.
    assert_eq!(broker_keys().filter(|key| !key.is_ours).count(), 360 + 3);
}

#[test]
fn every_synonym_is_a_key_of_the_broker() {
    for topic in topic_keys() {
        for (synonym, _) in broker_synonyms(topic.key) {
            assert!(broker_key(synonym).is_some(), "{synonym}");
        }
    }
}

/// A key without a field would be one without effect: the compiler tells of fields that nobody uses.
#[test]
fn every_key_that_acts_is_read_into_a_field() {
    let settings = Settings::parse(keys::BROKER, [("", ""); 0]).unwrap();
    let reader = settings.reader();
    BrokerConfig::read(&reader, settings.clone()).unwrap();
    assert_eq!(reader.unread(), [""; 0]);
    let passed_on = |key: &&str| !gives_a_topic_default(key);
    let without: Vec<&str> = reader.read_without_support().into_iter().filter(passed_on).collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn a_wrong_value_names_key_value_and_range() {
    let error = BrokerConfig::from_properties([("num.partitions", "0")]).unwrap_err();
    assert_eq!(error.to_string(), "invalid `num.partitions` 0: must be >= 1");
}

#[test]
fn kafkas_example_server_properties_is_accepted() {
    let text = "process.roles=broker,controller\nnode.id=7\n\
        controller.quorum.bootstrap.servers=localhost:9093\n\
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
        controller.listener.names=CONTROLLER\n\
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
        num.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
        socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\n\
        log.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=2\n\
        offsets.topic.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\n\
        share.coordinator.state.topic.min.isr=1\ntransaction.state.log.replication.factor=1\n\
        transaction.state.log.min.isr=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n\
        log.retention.check.interval.ms=300000\n";
    let config = BrokerConfig::from_properties_text(text).unwrap();
    assert_eq!(config.node_id, 7);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.advertised_listeners[0].host, "localhost");
    let is_unknown = |warning: &&ConfigWarning| matches!(warning, ConfigWarning::UnknownKey { .. });
    let unknown: Vec<&ConfigWarning> = config.warnings().iter().filter(is_unknown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn unknown_keys_warn_with_the_nearest_one() {
    let config = BrokerConfig::from_properties([("num.partition", "3"), ("num.replica.fetchers", "2")]).unwrap();
    let warnings: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "unknown setting `num.partition`: did you mean `num.partitions`?",
            "`num.replica.fetchers` has no effect: this broker is the only one of its cluster",
        ]
    );
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    BrokerConfig::from_properties(pairs.iter().copied()).unwrap_err().to_string()
}

#[test]
fn a_setting_that_secures_and_has_no_effect_refuses_to_start() {
    let without = vltava_security::ssl::NO_TLS;
    let has_tls = cfg!(feature = "tls");
    let no_tls = if has_tls { "has no effect: no listener has TLS" } else { without };
    let not_there = if has_tls { "there is no listener of this name, in small letters, with TLS" } else { without };
    let cases = [
        ("ssl.keystore.location", "/etc/keys", "/etc/keys", no_tls),
        ("ssl.keystore.password", "tell-nobody", "***", no_tls),
        ("ssl.client.auth", "required", "required", no_tls),
        ("ssl.provider", "SunJSSE", "SunJSSE", "it is one of the JVM's, TLS is rustls here"),
        ("listener.name.external.ssl.provider", "SunJSSE", "***", "it is one of the JVM's, TLS is rustls here"),
        ("sasl.enabled.mechanisms", "PLAIN", "PLAIN", "no listener asks for SASL"),
        ("sasl.kerberos.service.name", "kafka", "kafka", "Kerberos is not supported"),
        ("sasl.login.class", "com.example.Own", "com.example.Own", "classes of the JVM cannot be loaded"),
        (
            "security.inter.broker.protocol",
            "SSL",
            "SSL",
            "must be an advertised listener, of which there are PLAINTEXT",
        ),
        ("listener.name.external.ssl.keystore.password", "tell-nobody", "***", not_there),
        ("listener.name.PLAINTEXT.ssl.keystore.password", "tell-nobody", "***", not_there),
        ("listener.name.external.plain.sasl.jaas.config", "tell-nobody", "***", "no listener external asks for SASL"),
        (
            "authorizer.class.name",
            "com.example.Authorizer",
            "com.example.Authorizer",
            "must be org.apache.kafka.metadata.authorizer.StandardAuthorizer or empty",
        ),
    ];
    for (key, value, shown, why) in cases {
        assert_eq!(refusal(&[(key, value)]), format!("invalid `{key}` {shown}: {why}"));
    }
    let map = ("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT");
    assert!(refusal(&[map]).contains("listener PLAINTEXT asks for SASL"));
}

#[cfg(feature = "tls")]
#[test]
fn a_listener_has_tls_of_its_own_before_that_of_all() {
    let base = [
        ("listeners", "PLAINTEXT://:0,SSL://:0,EXT://:0"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SSL:SSL,EXT:SSL"),
        ("ssl.keystore.location", "/all"),
        ("ssl.keystore.password", "tell-nobody"),
        ("listener.name.ext.ssl.keystore.location", "/ext"),
        ("listener.name.ext.ssl.client.auth", "required"),
        ("listener.name.ext.ssl.principal.mapping.rules", "RULE:^CN=(.*?),.*$/$1/"),
    ];
    let config = BrokerConfig::from_properties(base).unwrap();
    assert_eq!(config.security_protocol("PLAINTEXT"), SecurityProtocol::Plaintext);
    assert_eq!(config.security_protocol("EXT"), SecurityProtocol::Ssl);
    assert_eq!(config.ssl.keys().collect::<Vec<_>>(), ["EXT", "SSL"]);
    let (ext, ssl) = (&config.ssl["EXT"], &config.ssl["SSL"]);
    let shown = (format!("{ext:?}"), format!("{ssl:?}"));
    assert!(shown.0.contains("/ext") && shown.1.contains("/all"), "{shown:?}");
    assert!(!format!("{config:?}").contains("tell-nobody"));
    assert_eq!(ext.principals().name("CN=a,OU=b").as_deref(), Some("a"));
    assert_eq!(ssl.principals().name("CN=a,OU=b").as_deref(), Some("CN=a,OU=b"));
    let refused = |key, value| refusal(&[&base[..], &[(key, value)]].concat());
    for (key, value, part) in [
        ("listener.name.ext.ssl.client.auth", "perhaps", "`listener.name.ext.ssl.client.auth` perhaps: must be none"),
        ("listener.name.ext.ssl.protocol", "SSLv3", "`listener.name.ext.ssl.protocol` SSLv3: must be TLSv1.3"),
        ("listener.name.ext.ssl.keystore.password", "", "`listener.name.ext.ssl.keystore.location` /ext: needs"),
        ("ssl.protocol", "SSLv3", "`ssl.protocol` SSLv3"),
        ("ssl.principal.mapping.rules", "anything", "`ssl.principal.mapping.rules`"),
        ("listener.name.plaintext.ssl.client.auth", "required", "there is no listener of this name"),
    ] {
        assert!(refused(key, value).contains(part), "{}", refused(key, value));
    }
    assert!(refusal(&[("listeners", "PLAINTEXT://:0,SSL://:0")]).contains("`ssl.keystore.location`"));
    assert!(refusal(&[("listeners", "SSL://:0")]).contains("`security.inter.broker.protocol` PLAINTEXT: must be"));
}

const STANDARD: (&str, &str) = ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");

#[test]
fn the_standard_authorizer_has_super_users_and_a_default() {
    let authorizer = |pairs: &[(&str, &str)]| {
        let config = BrokerConfig::from_properties(pairs.iter().copied()).unwrap();
        (config.authorizer.as_deref().cloned(), config.warnings().len())
    };
    let strict = Authorizer::default();
    assert_eq!(authorizer(&[]), (None, 0));
    assert_eq!(authorizer(&[STANDARD]), (Some(strict.clone()), 0));
    let super_users = [KafkaPrincipal::user("root"), KafkaPrincipal::user("CN=a")];
    let open = Authorizer { super_users: super_users.into(), allow_everyone_if_no_acl_found: true };
    let users = ("super.users", " User:root ;User:CN=a; ");
    assert_eq!(authorizer(&[STANDARD, users, ("allow.everyone.if.no.acl.found", "True")]), (Some(open), 0));
    assert_eq!(authorizer(&[STANDARD, ("allow.everyone.if.no.acl.found", "yes")]), (Some(strict), 0));
    // Without an authorizer nobody reads them.
    assert_eq!(authorizer(&[users, ("allow.everyone.if.no.acl.found", "true")]), (None, 2));
    assert!(refusal(&[STANDARD, ("super.users", "root")]).contains("principalType:principalName but got root"));
}

/// Who protects nothing keeps starting: files of an unprotected Kafka name these keys with their defaults.
#[test]
fn defaults_of_security_are_accepted() {
    let pairs =
        [("ssl.client.auth", "none"), ("security.inter.broker.protocol", "PLAINTEXT"), ("ssl.protocol", "TLSv1.3")];
    assert!(BrokerConfig::from_properties(pairs).unwrap().warnings().is_empty());
}

#[test]
fn a_listener_has_limits_of_connections_of_its_own() {
    for key in ["max.connections", "max.connection.creation.rate"] {
        let key = format!("listener.name.external.{key}");
        assert!(BrokerConfig::from_properties([(key.as_str(), "5")]).unwrap().warnings().is_empty());
        assert!(refusal(&[(key.as_str(), "-1")]).contains(&key));
    }
    let other = BrokerConfig::from_properties([("listener.name.external.num.network.threads", "5")]).unwrap();
    assert_eq!(other.warnings().len(), 1);
}

#[test]
fn a_cluster_of_more_than_this_node_is_refused() {
    assert!(refusal(&[("process.roles", "controller")]).contains("this node is both at once"));
    assert!(refusal(&[("process.roles", "broker")]).contains("this node is both at once"));
    assert!(refusal(&[("controller.quorum.voters", "1@a:9093,2@b:9093")]).contains("must name node 1 alone"));
    assert!(refusal(&[("controller.quorum.voters", "2@b:9093")]).contains("must name node 1 alone"));
    assert!(refusal(&[("controller.quorum.bootstrap.servers", "a:9093,b:9093")]).contains("must name node 1 alone"));
    let unknown = refusal(&[("inter.broker.listener.name", "INTERNAL")]);
    assert!(unknown.contains("is not in `listener.security.protocol.map`"), "{unknown}");
    let unused = refusal(&[("inter.broker.listener.name", "SSL")]);
    assert!(unused.contains("must be an advertised listener, of which there are PLAINTEXT"), "{unused}");
    let both = [("inter.broker.listener.name", "PLAINTEXT"), ("security.inter.broker.protocol", "PLAINTEXT")];
    assert!(refusal(&both).contains("only one of it and `security.inter.broker.protocol` may be given"));
    let fine = [("process.roles", "controller,broker"), ("controller.quorum.voters", "1@a:9093")];
    assert!(BrokerConfig::from_properties(fine).unwrap().warnings().is_empty());
}

#[test]
fn every_key_without_effect_says_why() {
    for key in broker_keys() {
        assert!(key.support.acts() || key.support.why().is_some_and(|why| !why.is_empty()), "{}", key.key);
        assert!(key.doc.ends_with('.') && !key.doc.contains("  "), "{}: {}", key.key, key.doc);
    }
}
