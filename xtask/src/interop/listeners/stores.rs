//! Keys and certificates as users have them: made by keytool, and as PEM for who takes no stores of Java's.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{interop::brokers::free_port, shell::output};

pub(super) const SECRET: &str = "store-secret";

/// An authority, and what it has signed for a broker and a client.
pub(super) struct Stores {
    folder: PathBuf,
}

impl Stores {
    pub(super) fn make() -> Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("vltava-interop-stores-{}-{}", std::process::id(), free_port()?));
        fs::create_dir_all(folder.join("pem"))?;
        let stores = Self { folder };
        stores.keytool("ca", &["-genkeypair", "-keyalg", "EC", "-dname", "CN=ca", "-ext", "bc:c"])?;
        stores.keytool("ca", &["-exportcert", "-rfc", "-file", &stores.path("ca.pem")])?;
        stores.keytool("trust", &["-importcert", "-noprompt", "-file", &stores.path("ca.pem")])?;
        stores.issue("broker", "RSA")?;
        stores.issue("client", "EC")?;
        let mut export = Command::new("openssl");
        export.args(["pkcs12", "-nodes", "-in", &stores.path("client.store"), "-out", &stores.path("client.pem")]);
        output(export.args(["-passin", &format!("pass:{SECRET}")]))?;
        Ok(stores)
    }

    /// A key of this name, and its certificate with the one above it.
    fn issue(&self, name: &str, algorithm: &str) -> Result<()> {
        let subject = format!("CN={name}, OU=Interop, O=Vltava");
        self.keytool(name, &["-genkeypair", "-keyalg", algorithm, "-dname", &subject])?;
        self.keytool(name, &["-certreq", "-file", &self.path(&format!("{name}.csr"))])?;
        output(self.command(name).args(["-importcert", "-noprompt", "-alias", "ca", "-file", &self.path("ca.pem")]))?;
        self.renew(name)
    }

    /// Another certificate for the same key, in the same file.
    pub(super) fn renew(&self, name: &str) -> Result<()> {
        let (request, signed) = (self.path(&format!("{name}.csr")), self.path(&format!("{name}.crt")));
        let extension = "san=dns:localhost,ip:127.0.0.1";
        self.keytool("ca", &["-gencert", "-rfc", "-infile", &request, "-outfile", &signed, "-ext", extension])?;
        self.keytool(name, &["-importcert", "-noprompt", "-file", &signed])
    }

    /// The certificate that was issued last, as PEM.
    pub(super) fn certificate(&self, name: &str) -> Result<String> {
        const END: &str = "-----END CERTIFICATE-----";
        let signed = fs::read_to_string(self.path(&format!("{name}.crt")))?;
        let (certificate, _) = signed.split_once(END).context("no certificate")?;
        Ok(format!("{certificate}{END}"))
    }

    fn keytool(&self, store: &str, arguments: &[&str]) -> Result<()> {
        output(self.command(store).args(arguments).args(["-alias", store])).map(drop)
    }

    fn command(&self, store: &str) -> Command {
        let mut command = Command::new("keytool");
        command.args(["-J-XX:TieredStopAtLevel=1", "-keystore", &self.path(&format!("{store}.store"))]);
        command.args(["-storetype", kind(store), "-storepass", SECRET]);
        command
    }

    /// Settings of who trusts the authority, by a file with this ending.
    pub(super) fn truststore(&self, ending: &str) -> Vec<String> {
        match ending {
            "pem" => self.location("truststore", "ca.pem", "PEM"),
            _ => self.with_password("truststore", "trust"),
        }
    }

    /// Settings of who has a key of this name, in a file with this ending.
    pub(super) fn keystore(&self, name: &str, ending: &str) -> Vec<String> {
        match ending {
            "pem" => self.location("keystore", &format!("{name}.pem"), "PEM"),
            _ => [self.with_password("keystore", name), vec![format!("ssl.key.password={SECRET}")]].concat(),
        }
    }

    fn with_password(&self, what: &str, store: &str) -> Vec<String> {
        let mut settings = self.location(what, &format!("{store}.store"), kind(store));
        settings.push(format!("ssl.{what}.password={SECRET}"));
        settings
    }

    fn location(&self, what: &str, file: &str, kind: &str) -> Vec<String> {
        vec![format!("ssl.{what}.location={}", self.path(file)), format!("ssl.{what}.type={kind}")]
    }

    /// Writes a file of settings; its path.
    pub(super) fn write(&self, file: &str, settings: &[String]) -> Result<String> {
        let path = self.path(file);
        fs::write(&path, settings.join("\n") + "\n")?;
        Ok(path)
    }

    pub(super) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }
}

/// The broker's are of the older format of Java, the client's of the newer one.
fn kind(store: &str) -> &'static str {
    if matches!(store, "broker" | "trust") { "JKS" } else { "PKCS12" }
}

impl Drop for Stores {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
