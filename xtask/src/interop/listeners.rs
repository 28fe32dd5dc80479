//! Clients of every make over every kind of listener: who could exchange records with whom, as a table; then all of them at
//! once while sessions end and certificates are renewed.
#![allow(clippy::print_stderr, reason = "a chore tells on stderr what it does")]

use std::{fmt::Write, net::TcpListener, thread};

use anyhow::{Context, Result, bail, ensure};

use super::{
    AloneCheck,
    brokers::{Apache, EVERYBODY, Ours, free_port_for_kafka, program},
};
use crate::shell::output;
use clients::{Client, Tools};
use stores::Stores;

mod clients;
mod long_run;
mod stores;

pub(super) const CHECKS: &[AloneCheck] =
    &[("listeners: clients of every make on ours", on_ours), ("listeners: our clients on apache kafka's", on_apache)];

/// One way to be let in: a listener, and a mechanism where it asks for one.
struct Way {
    name: &'static str,
    listener: &'static str,
    mechanism: Option<&'static str>,
}

const fn way(name: &'static str, listener: &'static str, mechanism: Option<&'static str>) -> Way {
    Way { name, listener, mechanism }
}

const MUTUAL: Way = way("mutual-ssl", "MUTUAL", None);
/// What everything else is asked of, and what has all that may change meanwhile.
const LONG: Way = way("sasl-ssl-sha-256", "SASL_SSL", Some("SCRAM-SHA-256"));
const WAYS: [Way; 9] = [
    way("plaintext", "PLAINTEXT", None),
    way("ssl", "SSL", None),
    MUTUAL,
    way("sasl-plain", "SASL_PLAINTEXT", Some("PLAIN")),
    way("sasl-sha-256", "SASL_PLAINTEXT", Some("SCRAM-SHA-256")),
    way("sasl-sha-512", "SASL_PLAINTEXT", Some("SCRAM-SHA-512")),
    way("sasl-ssl-plain", "SASL_SSL", Some("PLAIN")),
    LONG,
    way("sasl-ssl-sha-512", "SASL_SSL", Some("SCRAM-SHA-512")),
];
const LISTENERS: [&str; 5] = ["PLAINTEXT", "SSL", "MUTUAL", "SASL_PLAINTEXT", "SASL_SSL"];

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required";
const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";

/// A broker's listeners, and the files of those who may come in.
struct Listeners {
    stores: Stores,
    ports: [u16; LISTENERS.len()],
}

impl Listeners {
    /// With the first one at a given port.
    fn new(first: u16) -> Result<Self> {
        let sockets = [(); LISTENERS.len() - 1].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = [first; LISTENERS.len()];
        for (port, socket) in ports.iter_mut().skip(1).zip(sockets) {
            *port = socket?.local_addr()?.port();
        }
        let listeners = Self { stores: Stores::make()?, ports };
        for way in &WAYS {
            listeners.stores.write(&format!("{}.properties", way.name), &listeners.client(way, "store", PASSWORD))?;
            listeners.stores.write(&format!("pem/{}.properties", way.name), &listeners.client(way, "pem", PASSWORD))?;
        }
        Ok(listeners)
    }

    fn address(&self, listener: &str) -> String {
        let port = LISTENERS.iter().zip(self.ports).find(|(name, _)| **name == listener).map(|(_, port)| port);
        format!("127.0.0.1:{}", port.unwrap_or_default())
    }

    /// Settings of a client whose stores are of the kind with this ending.
    fn client(&self, way: &Way, stores: &str, password: &str) -> Vec<String> {
        let mut settings = vec![
            format!("bootstrap.servers={}", self.address(way.listener)),
            format!("security.protocol={}", if way.listener == "MUTUAL" { "SSL" } else { way.listener }),
        ];
        if !way.listener.ends_with("PLAINTEXT") {
            settings.extend(self.stores.truststore(stores));
        }
        if way.listener == "MUTUAL" {
            settings.extend(self.stores.keystore("client", stores));
        }
        if let Some(mechanism) = way.mechanism {
            let module = if mechanism == "PLAIN" { PLAIN } else { SCRAM };
            settings.push(format!("sasl.mechanism={mechanism}"));
            settings.push(format!("sasl.jaas.config={module} username=\"{USER}\" password=\"{password}\";"));
        }
        settings
    }

    /// Settings of a broker; `more` are listeners beside these.
    fn broker(&self, more: &str) -> Vec<String> {
        let all: Vec<_> = LISTENERS.iter().map(|name| format!("{name}://{}", self.address(name))).collect();
        let mut settings = self.stores.keystore("broker", "store");
        settings.extend(self.stores.truststore("store"));
        settings.extend([
            format!("listeners={}{more}", all.join(",")),
            format!("advertised.listeners={}", all.join(",")),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,MUTUAL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,\
             SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
                .to_owned(),
            "listener.name.mutual.ssl.client.auth=required".to_owned(),
            "ssl.principal.mapping.rules=RULE:^CN=(.*?),OU=Interop.*$/$1/".to_owned(),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
            "connections.max.reauth.ms=2000".to_owned(),
            "auto.create.topics.enable=true".to_owned(),
            EVERYBODY.to_owned(),
        ]);
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let key = |mechanism| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
            settings.push(format!("{}={PLAIN} user_{USER}=\"{PASSWORD}\";", key("plain")));
            settings.extend(["scram-sha-256", "scram-sha-512"].map(|mechanism| format!("{}={SCRAM};", key(mechanism))));
        }
        settings
    }

    /// Makes the user of the mechanisms whose users a broker keeps itself, with these tools.
    fn add_user(&self, tools: Tools) -> Result<()> {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut configs = tools("kafka-configs");
            configs.args(["--bootstrap-server", &self.address("PLAINTEXT"), "--alter"]);
            configs.args(["--add-config", &format!("{mechanism}=[password={PASSWORD}]")]);
            let told = output(configs.args(["--entity-type", "users", "--entity-name", USER]))?;
            ensure!(told.contains("Completed updating config for user alice."), "kafka-configs printed {told:?}");
        }
        Ok(())
    }

    /// Who has no certificate, or another password, is told so.
    fn refuse(&self, tools: Tools) -> Result<()> {
        for way in WAYS.iter().filter(|way| way.mechanism.is_some() || way.listener == "MUTUAL") {
            let mut settings = self.client(way, "store", "wrong");
            settings.retain(|setting| !setting.starts_with("ssl.key"));
            let path = self.stores.write("refused.properties", &settings)?;
            let mut list = tools("kafka-topics");
            list.args(["--bootstrap-server", &self.address(way.listener), "--list", "--command-config"]).arg(path);
            let refusal = output(&mut list).err().with_context(|| format!("anybody gets in by {}", way.name))?;
            let refusal = format!("{refusal:#}");
            let expected = match way.mechanism {
                Some(_) => ["Authentication failed", "Authentication failed"],
                None => ["SslAuthenticationException", "TLS with"],
            };
            ensure!(expected.iter().any(|text| refusal.contains(text)), "{} refused with {refusal}", way.name);
        }
        Ok(())
    }
}

fn on_ours() -> Result<()> {
    let listeners = Listeners::new(super::brokers::free_port()?)?;
    let settings = listeners.broker("");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let _ours = Ours::start_at(&program(), &listeners.address("PLAINTEXT"), &settings)?;
    listeners.add_user(clients::apaches)?;
    let clients = [clients::of_other_makes()?, clients::ours()].concat();
    table("vltava", &listeners, &clients)?;
    listeners.refuse(clients::apaches)?;
    listeners.refuse(clients::vltavas)?;
    long_run::run(&listeners, &clients, || Ok(()))
}

fn on_apache() -> Result<()> {
    let port = free_port_for_kafka()?;
    let listeners = Listeners::new(port)?;
    let settings = listeners.broker(&format!(",CONTROLLER://127.0.0.1:{}", port + 10));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let _apache = Apache::start_at(port, &settings)?;
    listeners.add_user(clients::vltavas)?;
    let clients = clients::ours();
    table("apache kafka", &listeners, &clients)?;
    listeners.refuse(clients::vltavas)?;
    // It looks at its files when it is told to.
    long_run::run(&listeners, &clients, || {
        let mut alter = clients::vltavas("kafka-configs");
        alter.args(["--bootstrap-server", &listeners.address("PLAINTEXT"), "--alter", "--entity-type", "brokers"]);
        let store = listeners.stores.keystore("broker", "store");
        let of =
            |name: &str| store.iter().map(|one| format!("listener.name.{name}.{one}")).collect::<Vec<_>>().join(",");
        output(alter.args(["--entity-name", "1", "--add-config", &format!("{},{}", of("ssl"), of("sasl_ssl"))]))
            .map(drop)
    })
}

/// All clients over all listeners, printed and held against a table without gaps.
fn table(broker: &str, listeners: &Listeners, clients: &[Client]) -> Result<()> {
    let outcomes: Vec<Vec<Result<&'static str>>> = thread::scope(|scope| {
        let running: Vec<_> = clients.iter().map(|client| scope.spawn(|| client.over_all(listeners))).collect();
        running.into_iter().map(|row| row.join().unwrap_or_default()).collect()
    });
    eprintln!(
        "   {:<16}{}",
        format!("on {broker}"),
        WAYS.iter().map(|way| format!("  {}", way.name)).collect::<String>()
    );
    let mut failures = Vec::new();
    for (client, row) in clients.iter().zip(outcomes) {
        ensure!(row.len() == WAYS.len(), "{} ended too early", client.name);
        let mut line = String::new();
        for (way, outcome) in WAYS.iter().zip(row) {
            let _ = write!(line, "  {:<width$}", outcome.as_ref().unwrap_or(&"FAILED"), width = way.name.len());
            failures.extend(outcome.err().map(|error| format!("{} by {}: {error:#}", client.name, way.name)));
        }
        eprintln!("   {:<16}{line}", client.name);
    }
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}
