//! TLS with certificates of both ends, in the files that Java's users have: Apache's tools and kcat on our listener, our
//! tools on Apache Kafka's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};

use super::{
    AloneCheck,
    brokers::{Apache, EVERYBODY, Ours, free_port, free_port_for_kafka, program, script},
};
use crate::{
    programs,
    shell::{self, output, output_with_input},
};

pub(super) const CHECKS: &[AloneCheck] = &[
    ("tls: apache's tools and kcat on our listener", on_ours),
    ("tls: our tools on apache kafka's listener", on_apache),
];

const SECRET: &str = "store-secret";

/// Stores made by keytool: an authority, and what it has signed.
struct Stores {
    folder: PathBuf,
}

impl Stores {
    fn make() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("vltava-interop-tls-{}-{}", std::process::id(), free_port()?));
        fs::create_dir_all(&folder)?;
        let stores = Self { folder };
        stores.keytool("ca", "PKCS12", &["-genkeypair", "-keyalg", "EC", "-dname", "CN=ca", "-ext", "bc:c"])?;
        stores.keytool("ca", "PKCS12", &["-exportcert", "-rfc", "-file", &stores.path("ca.pem")])?;
        let trusted = ["-importcert", "-noprompt", "-file", &stores.path("ca.pem")];
        stores.keytool("trust", "JKS", &trusted)?;
        stores.issue("broker", "JKS", "RSA", "san=dns:localhost,ip:127.0.0.1")?;
        stores.issue("client", "PKCS12", "EC", "ku=digitalSignature")?;
        Ok(stores)
    }

    /// A key of this name, and its certificate with those above it.
    fn issue(&self, name: &str, kind: &str, algorithm: &str, extension: &str) -> Result<()> {
        let subject = format!("CN={name}, OU=Interop, O=Vltava");
        self.keytool(name, kind, &["-genkeypair", "-keyalg", algorithm, "-dname", &subject])?;
        let (request, signed) = (self.path(&format!("{name}.csr")), self.path(&format!("{name}.pem")));
        self.keytool(name, kind, &["-certreq", "-file", &request])?;
        let sign = ["-gencert", "-rfc", "-infile", &request, "-outfile", &signed, "-ext", extension];
        self.keytool("ca", "PKCS12", &sign)?;
        let mut import = self.command(name, kind);
        output(import.args(["-importcert", "-noprompt", "-alias", "ca", "-file", &self.path("ca.pem")]))?;
        self.keytool(name, kind, &["-importcert", "-noprompt", "-file", &signed])
    }

    fn keytool(&self, store: &str, kind: &str, arguments: &[&str]) -> Result<()> {
        output(self.command(store, kind).args(arguments).args(["-alias", store])).map(drop)
    }

    fn command(&self, store: &str, kind: &str) -> Command {
        let mut command = Command::new("keytool");
        command.args(["-keystore", &self.store(store), "-storetype", kind, "-storepass", SECRET]);
        command
    }

    fn store(&self, name: &str) -> String {
        self.path(&format!("{name}.store"))
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Settings that hold at either end.
    fn settings(&self, own: &str, kind: &str) -> Vec<String> {
        vec![
            format!("ssl.keystore.location={}", self.store(own)),
            format!("ssl.keystore.type={kind}"),
            format!("ssl.keystore.password={SECRET}"),
            format!("ssl.key.password={SECRET}"),
            format!("ssl.truststore.location={}", self.store("trust")),
            format!("ssl.truststore.password={SECRET}"),
        ]
    }

    /// The file of a client that has a certificate, or of one that has none.
    fn client(&self, has_key: bool) -> Result<PathBuf> {
        let path = self.folder.join(if has_key { "client.properties" } else { "nobody.properties" });
        let mut settings = self.settings("client", "PKCS12");
        settings.retain(|setting| has_key || setting.starts_with("ssl.truststore"));
        settings.push("security.protocol=SSL".to_owned());
        fs::write(&path, settings.join("\n"))?;
        Ok(path)
    }

    /// Settings of a broker that wants certificates, at this address; `more` are listeners beside its own.
    fn broker(&self, address: &str, more: &str) -> Vec<String> {
        let mut settings = self.settings("broker", "JKS");
        settings.extend([
            format!("listeners=SSL://{address}{more}"),
            format!("advertised.listeners=SSL://{address}"),
            "listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT".to_owned(),
            "inter.broker.listener.name=SSL".to_owned(),
            "ssl.client.auth=required".to_owned(),
            "ssl.principal.mapping.rules=RULE:^CN=(.*?),OU=Interop.*$/$1/".to_owned(),
        ]);
        settings
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn on_ours() -> Result<()> {
    programs::build()?;
    let stores = Stores::make()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let settings = stores.broker(&address, "");
    let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    settings.push(EVERYBODY);
    let ours = Ours::start_at(&program(), &address, &settings)?;
    let apache = |name: &str| {
        let mut command = Command::new(script("kafka/tool"));
        command.arg(name);
        command
    };
    exchange(&ours.bootstrap, &stores.client(true)?, &apache)?;
    let mut refused = apache("kafka-topics");
    refused.args(["--bootstrap-server", &ours.bootstrap, "--list", "--command-config"]).arg(stores.client(false)?);
    ensure!(output(&mut refused).is_err(), "a client without a certificate was let in");
    if !shell::exists("kcat") {
        return shell::skip_or_fail("kcat", "it is not installed");
    }
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &ours.bootstrap, "-C", "-t", TOPIC, "-e", "-q", "-X", "security.protocol=ssl"]);
    kcat.args(["-X", &format!("ssl.ca.location={}", stores.path("ca.pem"))]);
    kcat.args(["-X", &format!("ssl.keystore.location={}", stores.store("client"))]);
    kcat.args(["-X", &format!("ssl.keystore.password={SECRET}")]);
    let read = output(&mut kcat)?;
    ensure!(read == LINES, "kcat read {read:?}");
    Ok(())
}

fn on_apache() -> Result<()> {
    programs::build()?;
    let stores = Stores::make()?;
    let port = free_port_for_kafka()?;
    let address = format!("127.0.0.1:{port}");
    let settings = stores.broker(&address, &format!(",CONTROLLER://127.0.0.1:{}", port + 10));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let apache = Apache::start_at(port, &settings)?;
    let ours = |name: &str| {
        let mut command = Command::new(program());
        command.arg(name);
        command
    };
    exchange(&apache.bootstrap, &stores.client(true)?, &ours)?;
    let mut refused = ours("kafka-topics");
    refused.args(["--bootstrap-server", &apache.bootstrap, "--list", "--command-config"]).arg(stores.client(false)?);
    match output(&mut refused) {
        Ok(_) => bail!("a client without a certificate was let in"),
        Err(error) => ensure!(error.to_string().contains("TLS with"), "the refusal says {error}"),
    }
    Ok(())
}

const TOPIC: &str = "secured";
const LINES: &str = "one\ntwo\nthree\n";

/// Creates a topic, writes to it and reads from it in a group.
fn exchange(bootstrap: &str, config: &Path, tool: &dyn Fn(&str) -> Command) -> Result<()> {
    let run = |name: &str, option: &str, arguments: &[&str], input: &str| {
        let mut command = tool(name);
        command.args(["--bootstrap-server", bootstrap, option]).arg(config).args(arguments);
        output_with_input(&mut command, input)
    };
    run("kafka-topics", "--command-config", &["--create", "--topic", TOPIC], "")?;
    run("kafka-console-producer", "--command-config", &["--topic", TOPIC], LINES)?;
    let read = ["--topic", TOPIC, "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000", "--group", "g"];
    let read = run("kafka-console-consumer", "--command-config", &read, "")?;
    ensure!(read == LINES, "the consumer read {read:?}");
    Ok(())
}
