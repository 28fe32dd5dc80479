//! `vltava console`: a page for operators, until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tracing::error;
use tracing_subscriber::filter::LevelFilter;
use vltava_console::{Console, ConsoleConfig, Login};

use crate::logging;
use crate::properties::{Properties, put};
use crate::signals::unless_signalled;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Brokers to begin with.
    #[arg(long, value_name = "host:port,…")]
    bootstrap_server: String,
    /// Settings of Kafka's clients, such as those of TLS and SASL.
    #[arg(long, value_name = "file")]
    command_config: Option<PathBuf>,
    /// Where the page is served. An address that other machines reach needs --user, or --no-authentication.
    #[arg(long, value_name = "ip:port", default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// The user that may see it, by basic authentication.
    #[arg(long, value_name = "name", requires = "password_file")]
    user: Option<String>,
    /// The file that the user's password is in.
    #[arg(long, value_name = "file", requires = "user")]
    password_file: Option<PathBuf>,
    /// Shows the page to everyone who reaches the address.
    #[arg(long, conflicts_with = "user")]
    no_authentication: bool,
    /// A name under which browsers may ask for the page; may be given many times. Addresses and localhost always may.
    #[arg(long = "host", value_name = "name")]
    hosts: Vec<String>,
    /// A program of Kafka Streams that serves its metrics there; may be given many times.
    #[arg(long = "application", value_name = "name=http://host:port")]
    applications: Vec<String>,
}

/// Serves the page until a signal ends it.
pub(crate) fn run(args: &Args) -> ExitCode {
    logging::init(LevelFilter::WARN);
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("the console cannot run: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<()> {
    let config = configuration(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let console = Console::bind(config).await?;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "The console of {} is at http://{}/", args.bootstrap_server, console.local_addr())?;
        stdout.flush()?;
        let serving = async { Ok(console.serve().await.map_err(anyhow::Error::from)) };
        match unless_signalled(serving, |_| Ok(())).await {
            Ok(served) => served,
            Err(failure) => bail!("{failure}"),
        }
    })
}

fn configuration(args: &Args) -> Result<ConsoleConfig> {
    let mut settings = Properties::new();
    if let Some(path) = &args.command_config {
        settings = vltava_broker::parse_properties(&read(path)?);
    }
    put(&mut settings, "bootstrap.servers", args.bootstrap_server.as_str());
    let mut config = ConsoleConfig::new(settings).address(args.address);
    if let (Some(user), Some(path)) = (&args.user, &args.password_file) {
        let password = read(path)?;
        config = config.login(Login::new(user, password.trim_end_matches(['\r', '\n']))?);
    }
    if args.no_authentication {
        config = config.without_authentication();
    }
    for application in &args.applications {
        let Some((name, address)) = application.split_once('=') else {
            bail!("--application {application}: needs the form name=http://host:port");
        };
        config = config.application(name, address)?;
    }
    Ok(args.hosts.iter().fold(config, ConsoleConfig::host))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}
