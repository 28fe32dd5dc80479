//! `kafka-dump-log`: what is in the files of a partition's log, and whether its indexes fit.

mod decoder;
mod file_name;
mod findings;
mod index;
mod producers;
mod segment;

use std::io::{self, Write};
use std::path::Path;

use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, optional_value, value};
use crate::tool::Tool;
use decoder::Decoder;
use file_name::Kind;
use findings::Findings;

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-dump-log",
    about: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly \
        corrupt log segment.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    flag("print-data-log", "Print what records hold; the decoders ask for it too."),
    flag("verify-index-only", "Check indexes without printing them."),
    flag("index-sanity-check", "Check indexes only as a broker does when it starts."),
    value("files", "file1, file2, ...", "REQUIRED: Segments, snapshots and indexes to dump, between commas."),
    value("max-message-size", "size", "Size of the largest message.").int().default("5242880"),
    value("max-bytes", "size", "Read batches of this many bytes in all.").int().default("2147483647"),
    flag("deep-iteration", "Print records, and not batches alone."),
    optional_value(
        "value-decoder-class",
        "class",
        "What decodes values: Kafka's decoder of strings, integers or longs.",
    )
    .default(decoder::STRING_DECODER),
    optional_value("key-decoder-class", "class", "The same for keys.").default(decoder::STRING_DECODER),
    flag("offsets-decoder", "Records are those of __consumer_offsets."),
    flag("transaction-log-decoder", "Records are those of __transaction_state."),
    flag("cluster-metadata-decoder", "Records are those of __cluster_metadata."),
    flag("remote-log-metadata-decoder", "Records are those of __remote_log_metadata.").not_yet(),
    flag("share-group-state-decoder", "Records are those of __share_group_state."),
    flag(
        "skip-record-metadata",
        "Print what records hold without offset, timestamp and sizes, and no control records.",
    ),
];

/// What the command line asks for.
struct Settings {
    /// Prints what records hold, by this.
    contents: Option<Decoder>,
    deep_iteration: bool,
    skip_record_metadata: bool,
    verify_only: bool,
    sanity_only: bool,
    max_message_size: u64,
    max_bytes: u64,
}

impl Settings {
    /// What stands for no limit of bytes.
    const ALL_BYTES: u64 = i32::MAX as u64;

    fn new(options: &Options) -> Result<Self, Failure> {
        let decoder = Decoder::new(options)?;
        let asked = ["print-data-log", "offsets-decoder", "transaction-log-decoder", "cluster-metadata-decoder"];
        let asked = [&asked[..], &["value-decoder-class", "key-decoder-class", "share-group-state-decoder"]].concat();
        let contents = asked.iter().any(|name| options.has(name)).then_some(decoder);
        let size = |name| u64::try_from(options.int(name).unwrap_or(i32::MAX)).unwrap_or(0);
        Ok(Self {
            deep_iteration: options.has("deep-iteration") || contents.is_some(),
            contents,
            skip_record_metadata: options.has("skip-record-metadata"),
            verify_only: options.has("verify-index-only"),
            sanity_only: options.has("index-sanity-check"),
            max_message_size: size("max-message-size"),
            max_bytes: size("max-bytes"),
        })
    }
}

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["files"])?;
    let settings = Settings::new(options)?;
    let mut findings = Findings::default();
    for name in options.text("files").split(',') {
        writeln!(out, "Dumping {name}")?;
        let dumped = dump_file(Path::new(name), &settings, &mut findings, out);
        dumped.map_err(|failure| Failure::Message(format!("{name}: {failure}")))?;
    }
    out.flush()?;
    Ok(findings.print(&mut io::stderr())?)
}

fn dump_file(file: &Path, settings: &Settings, findings: &mut Findings, out: &mut dyn Write) -> Result<(), Failure> {
    match Kind::of(file) {
        Kind::Segment | Kind::Snapshot => segment::dump(file, settings, findings, out),
        Kind::OffsetIndex => index::dump_offset_index(file, settings, findings, out),
        Kind::TimeIndex => index::dump_time_index(file, settings, findings, out),
        Kind::ProducerSnapshot => producers::dump_snapshot(file, out),
        Kind::TransactionIndex => producers::dump_transaction_index(file, out),
        Kind::Unknown => Ok(writeln!(io::stderr(), "Ignoring unknown file {}", file.display())?),
    }
}

#[cfg(test)]
mod tests;
