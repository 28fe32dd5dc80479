//! Listeners that take tokens: Apache's tools and ours get them by the client's credentials, and Apache Kafka's broker and
//! ours look at the provider's keys.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::{
    AloneCheck,
    brokers::{Apache, EVERYBODY, Ours, free_port, program, script},
};
use crate::shell::{output, output_with_input};

pub(super) const CHECKS: &[AloneCheck] =
    &[("oauthbearer: apache's tools and ours, on both brokers, with tokens of one provider", each_with_each)];

const MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
const HANDLERS: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearer";
/// Who asks as this one gets tokens that are for somebody else.
const MALLORY: &str = "mallory";
/// How long a token is good, in s: less than one run of a tool takes.
const LIFETIME: u64 = 6;

/// A set of tools, by how one of them is called.
type Tools = (&'static str, fn(&str, &Provider) -> Command);

const TOOLS: [Tools; 2] = [("apache's", apaches), ("ours", ours)];

fn apaches(tool: &str, provider: &Provider) -> Command {
    let mut command = Command::new(script("kafka/tool"));
    command.env("TOOL_OPTS", provider.allowed()).arg(tool);
    command
}

fn ours(tool: &str, _: &Provider) -> Command {
    let mut command = Command::new(program());
    command.arg(tool);
    command
}

fn each_with_each() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("vltava-interop-oauthbearer-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = matrix(&folder);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn matrix(folder: &Path) -> Result<()> {
    let provider = Provider::start(folder)?;
    let of_tokens = [
        format!("sasl.oauthbearer.jwks.endpoint.url={}", provider.url("keys")),
        "sasl.oauthbearer.expected.audience=kafka".to_owned(),
        "sasl.oauthbearer.expected.issuer=https://idp".to_owned(),
    ];
    let of_listener = |name: &str| {
        [
            format!("listener.name.{name}.oauthbearer.sasl.jaas.config={MODULE};"),
            format!(
                "listener.name.{name}.oauthbearer.sasl.server.callback.handler.class={HANDLERS}ValidatorCallbackHandler"
            ),
        ]
    };
    let texts = |more: &[&str], name: &str| -> Vec<String> {
        let more = more.iter().map(|text| (*text).to_owned());
        of_tokens.iter().cloned().chain(of_listener(name)).chain(more).collect()
    };
    fn borrowed(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    let address = format!("127.0.0.1:{}", free_port()?);
    let listener = format!("SASL_PLAINTEXT://{address}");
    let settings = texts(
        &[
            &format!("listeners={listener}"),
            &format!("advertised.listeners={listener}"),
            "security.inter.broker.protocol=SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=OAUTHBEARER",
            EVERYBODY,
        ],
        "sasl_plaintext",
    );
    let vltava = Ours::start_at(&program(), &address, &borrowed(&settings))?;
    let plain =
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"b\" password=\"b\" user_b=\"b\";";
    let settings = texts(
        &[
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=PLAIN,OAUTHBEARER",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            &format!("listener.name.plaintext.plain.sasl.jaas.config={plain}"),
        ],
        "plaintext",
    );
    let apache = Apache::start_with_java(&borrowed(&settings), &provider.allowed())?;
    for (broker, bootstrap) in [("vltava", &vltava.bootstrap), ("apache kafka", &apache.bootstrap)] {
        for (whose, tools) in TOOLS {
            talk(folder, bootstrap, whose, tools, &provider).with_context(|| format!("{whose} tools on {broker}"))?;
        }
    }
    Ok(())
}

/// Settings of a client, in a file.
fn client(folder: &Path, whose: &str, id: &str, provider: &Provider) -> Result<PathBuf> {
    let path = folder.join(format!("{id}-{}.properties", whose.replace('\'', "")));
    let mut text = format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.jaas.config={MODULE} clientId=\"{id}\" clientSecret=\"{id}-secret\" scope=\"kafka\";\n\
         sasl.login.callback.handler.class={HANDLERS}LoginCallbackHandler\n\
         sasl.oauthbearer.token.endpoint.url={}\n",
        provider.url("token")
    );
    if whose != "ours" {
        // At their defaults Java gets the next token when this one is over.
        text.push_str("sasl.login.refresh.buffer.seconds=0\nsasl.login.refresh.min.period.seconds=1\n");
    }
    fs::write(&path, text)?;
    Ok(path)
}

fn talk(
    folder: &Path,
    bootstrap: &str,
    whose: &str,
    tools: fn(&str, &Provider) -> Command,
    provider: &Provider,
) -> Result<()> {
    let run = |tool: &str, config: &Path, arguments: &[&str], input: &str| {
        let mut command = tools(tool, provider);
        command.args(["--bootstrap-server", bootstrap, "--command-config"]).arg(config).args(arguments);
        output_with_input(&mut command, input)
    };
    let topic = format!("oauthbearer-{}", whose.replace('\'', ""));
    let app = client(folder, whose, "app", provider)?;
    run("kafka-topics", &app, &["--create", "--topic", &topic, "--partitions", "1"], "")?;
    run("kafka-console-producer", &app, &["--topic", &topic], "with a token\n")?;
    let read = ["--topic", &topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "20000"];
    let got = run("kafka-console-consumer", &app, &read, "")?;
    ensure!(got == "with a token\n", "read back {got:?}");
    // Longer than a token is good.
    let before = provider.given();
    let perf = ["--topic", &topic, "--num-records", "1000", "--record-size", "10", "--throughput", "100"];
    let told = run("kafka-producer-perf-test", &app, &perf, "")?;
    ensure!(told.contains("1000 records sent"), "kafka-producer-perf-test printed {told:?}");
    ensure!(provider.given() >= before + 2, "no token was got while the first one ended");
    let mallory = client(folder, whose, MALLORY, provider)?;
    let refused = run("kafka-topics", &mallory, &["--list"], "");
    let told = format!("{:#}", refused.err().context("a token for others was taken")?);
    ensure!(told.contains(r#"{"status":"invalid_token"}"#), "told {told:?}");
    Ok(())
}

/// A provider of tokens: `/keys` and `/token`.
struct Provider {
    address: String,
    given: Arc<AtomicUsize>,
}

impl Provider {
    fn start(folder: &Path) -> Result<Self> {
        let key = folder.join("provider.pem");
        let path = key.to_str().context("a path of text")?.to_owned();
        let rsa = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &path];
        output(Command::new("openssl").args(rsa))?;
        let modulus = output(Command::new("openssl").args(["rsa", "-in", &path, "-noout", "-modulus"]))?;
        let hex = modulus.trim().strip_prefix("Modulus=").context("openssl tells a modulus")?;
        let modulus = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
            .collect::<Result<Vec<u8>>>()?;
        let keys = format!(
            r#"{{"keys":[{{"kty":"RSA","kid":"one","use":"sig","alg":"RS256","n":"{}","e":"AQAB"}}]}}"#,
            base64_url(&modulus)
        );
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let given = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&given);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Err(error) = answer(stream, &keys, &key, &counted) {
                    eprintln!("the provider of tokens: {error:#}");
                }
            }
        });
        Ok(Self { address, given })
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/{what}", self.address)
    }

    /// The property without which the JVM asks nobody.
    fn allowed(&self) -> String {
        format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={},{}", self.url("keys"), self.url("token"))
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, keys: &str, key: &Path, given: &AtomicUsize) -> Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().filter_map(|line| line.split_once(':'));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.filter_map(|(_, value)| value.trim().parse::<usize>().ok()).next();
        body.len() >= length.unwrap_or(0)
    };
    while !is_whole(&request) {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => request.extend(piece.iter().take(count)),
        }
    }
    let body = match request.starts_with(b"POST /token") {
        true => {
            given.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8_lossy(&request).into_owned();
            let is_mallory = text.contains(&base64(format!("{MALLORY}:{MALLORY}-secret").as_bytes()));
            let token = token(key, if is_mallory { "others" } else { "kafka" })?;
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{LIFETIME}}}"#)
        }
        false => keys.to_owned(),
    };
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())?;
    Ok(())
}

/// A token for an audience, signed now.
fn token(key: &Path, audience: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = r#"{"alg":"RS256","typ":"JWT","kid":"one"}"#;
    let end = now + LIFETIME;
    let claims =
        format!(r#"{{"sub":"app","iss":"https://idp","aud":"{audience}","scope":"kafka","iat":{now},"exp":{end}}}"#);
    let message = format!("{}.{}", base64_url(header.as_bytes()), base64_url(claims.as_bytes()));
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut signing = openssl.spawn()?;
    signing.stdin.take().context("openssl reads")?.write_all(message.as_bytes())?;
    let signed = signing.wait_with_output()?;
    ensure!(signed.status.success(), "openssl does not sign");
    Ok(format!("{message}.{}", base64_url(&signed.stdout)))
}

fn base64_url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_usize, |number, at| number << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = ALPHABET.get(number >> (18 - 6 * at) & 63).copied().unwrap_or(b'=');
            text.push(char::from(if at > chunk.len() { b'=' } else { digit }));
        }
    }
    text
}
