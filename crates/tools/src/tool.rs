//! The command-line tools: their table, and what is common to running one.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;
use crate::logging;
use crate::options::{OptionSpec, Options, usage};
use crate::{
    acls, broker_api_versions, cluster, configs, console_consumer, console_producer, consumer_groups,
    consumer_perf_test, delete_records, dump_log, e2e_latency, features, get_offsets, groups, log_dirs,
    producer_perf_test, streams_groups, streams_reset, topics, transactions, verifiable_consumer, verifiable_producer,
};

/// The version of Apache Kafka whose tools these are, which `--version` prints.
const KAFKA_VERSION: &str = "4.3.1";

/// A command-line tool.
pub(crate) struct Tool {
    /// Its name, such as `kafka-topics`.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Its options.
    pub(crate) options: &'static [OptionSpec],
    /// Whether a word that belongs to no option says what to do.
    pub(crate) has_commands: bool,
    /// Does what the options say; what it prints goes to the writer.
    pub(crate) run: fn(&Options, &mut dyn Write) -> Result<(), Failure>,
}

/// All tools.
pub(crate) const TOOLS: &[Tool] = &[
    acls::TOOL,
    broker_api_versions::TOOL,
    cluster::TOOL,
    configs::TOOL,
    console_consumer::TOOL,
    console_producer::TOOL,
    consumer_groups::TOOL,
    consumer_perf_test::TOOL,
    delete_records::TOOL,
    dump_log::TOOL,
    e2e_latency::TOOL,
    features::TOOL,
    get_offsets::TOOL,
    groups::TOOL,
    log_dirs::TOOL,
    producer_perf_test::TOOL,
    streams_groups::TOOL,
    streams_reset::TOOL,
    topics::TOOL,
    transactions::TOOL,
    verifiable_consumer::TOOL,
    verifiable_producer::TOOL,
];

/// The tool of this name.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// Runs a tool with the arguments after its name.
pub(crate) fn run(tool: &Tool, arguments: &[String]) -> ExitCode {
    logging::init(LevelFilter::WARN);
    let mut out = BufWriter::new(io::stdout().lock());
    let done = options(tool, arguments).and_then(|options| match options {
        Some(options) => (tool.run)(&options, &mut out),
        None => Ok(writeln!(out, "{KAFKA_VERSION}")?),
    });
    let done = out.flush().map_err(Failure::from).and(done);
    let Err(failure) = done else { return ExitCode::SUCCESS };
    // Where standard error is closed, nobody can be told.
    let mut err = io::stderr().lock();
    match failure {
        Failure::Usage(message) => writeln!(err, "{message}\n{}", usage(tool.options)).ok(),
        Failure::Message(message) => writeln!(err, "{message}").ok(),
        Failure::Reported => None,
    };
    ExitCode::FAILURE
}

/// The options given; `None` where the version is asked for. As with Kafka's tools, the usage is a
/// failure, also where it is asked for.
fn options(tool: &Tool, arguments: &[String]) -> Result<Option<Options>, Failure> {
    let options = Options::parse(tool.options, arguments)?;
    if options.count == 0 || options.has("help") {
        return Err(Failure::Usage(tool.about.to_owned()));
    }
    if options.has("version") {
        return Ok(None);
    }
    if !options.rest.is_empty() && !tool.has_commands {
        tracing::warn!("passing over what belongs to no option: {}", options.rest.join(" "));
    }
    Ok(Some(options))
}

/// Waits for `future` on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
