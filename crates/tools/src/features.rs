//! `kafka-features`: the features of a cluster and their levels, told and changed.

mod updates;
mod versions;

use std::io::Write;

use vltava_client::admin::{DescribeFeaturesOptions, FeatureMetadata, UpdateFeaturesOptions, UpgradeType};
use vltava_client::{Admin, AdminConfig};

use crate::failure::{Failure, message};
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties;
use crate::tool::{Tool, block_on};
use updates::Updates;
use versions::{FEATURES, METADATA_VERSION, MetadataVersion};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-features",
    about: "This tool manages feature flags in Kafka: describe, upgrade, downgrade, disable, version-mapping or \
        feature-dependencies, then options.",
    options: OPTIONS,
    has_commands: true,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "BOOTSTRAP_SERVER", "Kafka brokers to connect to, host:port,host:port."),
    value("bootstrap-controller", "BOOTSTRAP_CONTROLLER", "Controllers to connect to.").not_yet(),
    value("command-config", "COMMAND_CONFIG", "Settings for the admin client, a properties file."),
    value("node-id", "NODE_ID", "describe: the broker to ask; any without it.").int(),
    value("metadata", "METADATA", "upgrade, downgrade: deprecated, the level of metadata.version, such as 3.3-IV3."),
    value(
        "release-version",
        "RELEASE_VERSION",
        "upgrade, downgrade, version-mapping: the release whose levels all features are to have.",
    ),
    value("feature", "FEATURE", "The feature and its level, feature=level; disable: the feature.").repeatable(),
    flag("unsafe", "downgrade, disable: also if metadata may be lost."),
    flag("dry-run", "upgrade, downgrade, disable: check it and change nothing."),
];

/// A command and the options that are its own.
type Command = (&'static str, &'static [&'static str]);

const COMMANDS: [Command; 6] = [
    ("describe", &["node-id"]),
    ("upgrade", &["metadata", "release-version", "feature", "dry-run"]),
    ("downgrade", &["metadata", "release-version", "feature", "unsafe", "dry-run"]),
    ("disable", &["feature", "unsafe", "dry-run"]),
    ("version-mapping", &["release-version"]),
    ("feature-dependencies", &["feature"]),
];

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let command = command(options)?;
    match command {
        "version-mapping" => return version_mapping(options.value("release-version"), out),
        "feature-dependencies" => return dependencies(options.values("feature"), out),
        _ => {}
    }
    let settings = properties::of_admin(options)?;
    if !options.has("bootstrap-server") {
        return refuse("You must specify either --bootstrap-controller or --bootstrap-server.");
    }
    let config = AdminConfig::from_properties(settings)?;
    block_on(async {
        let admin = Admin::new(config)?;
        match command {
            "describe" => describe(&admin, options.int("node-id"), out).await,
            _ => change(&admin, command, options, out).await,
        }
    })
}

/// The command, with options that it has.
fn command(options: &Options) -> Result<&'static str, Failure> {
    let Some(given) = options.rest.first() else { return refuse("too few arguments") };
    let Some((command, own)) = COMMANDS.into_iter().find(|(name, _)| name == given) else {
        let names: Vec<String> = COMMANDS.iter().map(|(name, _)| format!("'{name}'")).collect();
        return refuse(&format!("invalid choice: '{given}' (choose from {})", names.join(", ")));
    };
    if let Some(word) = options.rest.get(1) {
        return refuse(&format!("unrecognized arguments: '{word}'"));
    }
    let all = COMMANDS.iter().flat_map(|(_, own)| *own);
    if let Some(other) = all.into_iter().find(|name| options.has(name) && !own.contains(name)) {
        return refuse(&format!("unrecognized arguments: '--{other}'"));
    }
    if command == "feature-dependencies" && !options.has("feature") {
        return refuse("argument --feature is required");
    }
    Ok(command)
}

/// A command line that is wrong, in the words of Kafka's tool.
fn refuse<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::Message(format!("Command line error: {why}. Type --help for help.")))
}

async fn describe(admin: &Admin, node_id: Option<i32>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut asked = DescribeFeaturesOptions::default();
    if let Some(node) = node_id {
        if node < 0 {
            return Err(Failure::Message(format!("Invalid node id {node}: must be non-negative.")));
        }
        asked = asked.node_id(node);
    }
    for line in described(&admin.describe_features(asked).await?) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A line for each feature that is supported.
fn described(features: &FeatureMetadata) -> impl Iterator<Item = String> {
    let epoch = features.finalized_features_epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    features.supported_features.iter().map(move |(name, supported)| {
        let finalized = features.finalized_features.get(name).map_or(0, |range| range.max_version_level);
        let [lowest, highest, finalized] =
            [supported.min_version, supported.max_version, finalized].map(|level| level_text(name, level));
        format!(
            "Feature: {name:<40}  SupportedMinVersion: {lowest:<15}  SupportedMaxVersion: {highest:<15}  \
             FinalizedVersionLevel: {finalized:<15}  Epoch: {epoch}"
        )
    })
}

/// A level; one of `metadata.version` by its name.
fn level_text(feature: &str, level: i16) -> String {
    match MetadataVersion::of_level(level) {
        _ if feature != METADATA_VERSION => level.to_string(),
        Some(version) => version.name,
        None => format!("UNKNOWN {level}"),
    }
}

async fn change(admin: &Admin, command: &str, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let upgrade_type = match command {
        "upgrade" => UpgradeType::Upgrade,
        _ if options.has("unsafe") => UpgradeType::UnsafeDowngrade,
        _ => UpgradeType::SafeDowngrade,
    };
    if options.has("metadata") && !options.has("release-version") {
        writeln!(out, " `metadata` flag is deprecated and may be removed in a future release.")?;
    }
    let updates = match command {
        "disable" => updates::to_zero(options, upgrade_type)?,
        _ => updates::of_levels(options, upgrade_type)?,
    };
    if updates.is_empty() {
        return Err(Failure::Message(format!("You must specify at least one feature to {command}")));
    }
    update(admin, command, &updates, options.has("dry-run"), out).await
}

async fn update(
    admin: &Admin,
    command: &str,
    updates: &Updates,
    dry_run: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let asked = updates.iter().map(|(name, update)| (name.as_str(), *update));
    let results = admin.update_features(asked, UpdateFeaturesOptions::default().validate_only(dry_run)).await?;
    let mut failed = 0;
    for (feature, result) in &results {
        let level = updates.get(feature).map_or(0, |update| update.max_version_level());
        let why = result.as_ref().err().map(message);
        failed += usize::from(why.is_some());
        writeln!(out, "{}", outcome(command, feature, level, dry_run, why.as_deref()))?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Message(format!("{failed} out of {} operation(s) failed.", updates.len()))),
    }
}

/// What became of a feature; `why` it failed, if it did.
fn outcome(command: &str, feature: &str, level: i16, dry_run: bool, why: Option<&str>) -> String {
    let is_disable = command == "disable";
    match why {
        Some(why) => {
            let helper = if dry_run { "Can not" } else { "Could not" };
            let to = if is_disable { String::new() } else { format!(" to {level}") };
            format!("{helper} {command} {feature}{to}. {why}")
        }
        None => {
            let verb = if dry_run { "can be" } else { "was" };
            let to = if is_disable { String::new() } else { format!(" to {level}") };
            format!("{feature} {verb} {command}d{to}.")
        }
    }
}

fn version_mapping(release: Option<&str>, out: &mut dyn Write) -> Result<(), Failure> {
    let version = match release {
        Some(text) => MetadataVersion::parse(text).map_err(Failure::Message)?,
        None => MetadataVersion::latest_production(),
    };
    writeln!(out, "{METADATA_VERSION}={} ({})", version.level, release.unwrap_or(&version.name))?;
    for feature in &FEATURES {
        writeln!(out, "{}={}", feature.name, feature.default_level(&version))?;
    }
    Ok(())
}

fn dependencies(features: &[String], out: &mut dyn Write) -> Result<(), Failure> {
    for feature in features {
        let (name, level) = updates::name_and_level(feature)?;
        if name == METADATA_VERSION {
            let version = MetadataVersion::of_level(level)
                .ok_or_else(|| Failure::Message(format!("Unknown metadata.version {level}")))?;
            writeln!(out, "{name}={level} ({}) has no dependencies.", version.name)?;
            continue;
        }
        let feature = FEATURES
            .iter()
            .find(|feature| feature.name == name)
            .ok_or_else(|| Failure::Message(format!("Unknown feature: {name}")))?;
        match feature.dependencies(level).map_err(Failure::Message)? {
            None => writeln!(out, "{name}={level} has no dependencies.")?,
            Some((needed, at)) => {
                let text = level_text(needed, at);
                writeln!(out, "{name}={level} requires:\n    {needed}={at} ({text})")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
