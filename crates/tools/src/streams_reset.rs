//! `kafka-streams-application-reset`: lets an application of Kafka Streams begin again. Where it reads its input topics on is set,
//! and its internal topics are deleted; its stores are deleted by its own `clean_up`.

mod offsets;

use std::io::{self, Write};

use vltava_client::admin::MemberDescription;
use vltava_client::{Admin, AdminConfig, OffsetAndMetadata, TopicPartition};
use vltava_protocol::ErrorCode;

use crate::failure::{Failure, exception};
use crate::java::hash_map_order;
use crate::options::{OptionSpec, Options, flag, value};
use crate::properties::{self, Properties};
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-streams-application-reset",
    about: "This tool lets an application of Kafka Streams process its data again from the beginning: it sets the offsets of \
        input topics and deletes internal topics. Stop all instances first, look at what it does with --dry-run, and delete \
        the local stores of every instance with clean_up() before it starts again, or its results will be wrong.",
    options: OPTIONS,
    has_commands: false,
    run,
};

const OPTIONS: &[OptionSpec] = &[
    value("application-id", "id", "REQUIRED: The application.id of the application."),
    value("bootstrap-server", "server to connect to", "Kafka brokers to connect to; localhost:9092 unless given."),
    value(
        "input-topics",
        "list",
        "Topics that the application reads, with commas between them. Their offsets are reset.",
    )
    .repeatable(),
    value(
        "intermediate-topics",
        "list",
        "[deprecated] Topics that it reads and writes. They are passed over to their end.",
    )
    .repeatable(),
    value("internal-topics", "list", "The internal topics to delete; all of the application's unless given.")
        .repeatable(),
    value("to-offset", "Long", "Resets to this offset.").long(),
    value("to-datetime", "String", "Resets to the first record of this time or later, YYYY-MM-DDThh:mm:ss.sss."),
    value("by-duration", "String", "Resets to the first record that is not older than this, PnDTnHnMnS."),
    flag("to-earliest", "Resets to the earliest offset, as without any of these options."),
    flag("to-latest", "Resets to the latest offset."),
    value("from-file", "String", "Resets to the offsets of a CSV file with lines TOPIC,PARTITION,OFFSET."),
    value("shift-by", "number-of-offsets", "Resets to so many offsets behind the current one, or before it.").long(),
    value("config-file", "file name", "(DEPRECATED) The old name of --command-config."),
    value("command-config", "file name", "Settings for the clients, a properties file."),
    flag("force", "Removes what members the group still has. Stop all instances first."),
    flag("dry-run", "Says what would be done, and does nothing."),
];

/// The ways to say where to reset to.
const SCENARIOS: [&str; 7] =
    ["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by"];

/// How often members are removed again of which some have gone meanwhile.
const REMOVALS: usize = 3;

/// What the options ask for.
struct Wanted<'a> {
    options: &'a Options,
    application: &'a str,
    inputs: Vec<String>,
    intermediates: Vec<String>,
    is_dry_run: bool,
}

impl<'a> Wanted<'a> {
    fn of(options: &'a Options) -> Self {
        Wanted {
            options,
            application: options.text("application-id"),
            inputs: list(options, "input-topics"),
            intermediates: list(options, "intermediate-topics"),
            is_dry_run: options.has("dry-run"),
        }
    }

    fn is_internal(&self, topic: &String) -> bool {
        let is_own = topic.strip_prefix(self.application).is_some_and(|rest| rest.starts_with('-'));
        // Topics of the user may have such a name by chance.
        is_own && has_internal_form(topic) && !self.inputs.contains(topic) && !self.intermediates.contains(topic)
    }
}

/// Whether an internal topic of Kafka Streams has such a name.
fn has_internal_form(topic: &str) -> bool {
    let of_foreign_key_join = |kind: &str| {
        let Some((before, rest)) = topic.rsplit_once(kind) else { return false };
        let number = rest.strip_suffix("-topic").unwrap_or_default();
        !before.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let ends = ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    ends.iter().any(|end| topic.ends_with(end))
        || of_foreign_key_join("-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-")
        || of_foreign_key_join("-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-")
}

/// The values of an option, each of which may be a list.
fn list(options: &Options, name: &str) -> Vec<String> {
    options.values(name).iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}

/// As Java prints a list.
fn listed(topics: &[String]) -> String {
    format!("[{}]", topics.join(", "))
}

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    options.require(&["application-id"])?;
    for scenario in SCENARIOS {
        let others: Vec<&str> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
        options.exclude(scenario, &others)?;
    }
    options.exclude("config-file", &["command-config"])?;
    let config = AdminConfig::from_properties(settings(options, out)?)?;
    let done = block_on(async {
        let admin = Admin::new(config)?;
        reset(&admin, &Wanted::of(options), out).await
    });
    match done {
        // In the words of Kafka's tool.
        Err(Failure::Message(why)) => Err(Failure::Message(format!("ERROR: {why}"))),
        other => other,
    }
}

fn settings(options: &Options, out: &mut dyn Write) -> Result<Properties, Failure> {
    if options.has("config-file") {
        let text = "has been deprecated and will be removed in a future version. Use --command-config instead.";
        writeln!(out, "Option --config-file {text}")?;
    }
    let mut settings = properties::load(options.value("config-file").or(options.value("command-config")))?;
    let servers = options.value("bootstrap-server").unwrap_or("localhost:9092");
    properties::put(&mut settings, "bootstrap.servers", servers);
    Ok(settings)
}

async fn reset(admin: &Admin, wanted: &Wanted<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    remove_members(admin, wanted, out).await?;
    let topics = admin.list_topics().await.map_err(|error| Failure::Message(exception(&error)))?;
    let mut topics: Vec<String> =
        topics.into_values().filter(|topic| !topic.is_internal).map(|topic| topic.name).collect();
    hash_map_order(&mut topics, 16, |topic| topic);
    if wanted.is_dry_run {
        writeln!(out, "----Dry run displays the actions which will be performed when running Streams Reset Tool----")?;
    }
    let all_found = reset_offsets(admin, wanted, &topics, out).await?;
    delete_internal_topics(admin, wanted, &topics, out).await?;
    if all_found { Ok(()) } else { Err(Failure::Reported) }
}

/// Refuses a group that has members, or removes them.
async fn remove_members(admin: &Admin, wanted: &Wanted<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let group = wanted.application;
    let mut attempts = 0;
    loop {
        let described = admin.describe_consumer_groups([group]).await.into_values().next();
        let members = match described {
            Some(Ok(described)) => described.members,
            Some(Err(error)) if error.code() != Some(ErrorCode::GroupIdNotFound) => {
                return Err(Failure::Message(format!(
                    "java.util.concurrent.ExecutionException: {}",
                    exception(&error)
                )));
            }
            Some(Err(_)) | None => return Ok(()),
        };
        if members.is_empty() {
            return Ok(());
        }
        if !wanted.options.has("force") {
            let members: Vec<String> = members.iter().map(described_as).collect();
            return Err(Failure::Message(format!(
                "java.lang.IllegalStateException: Consumer group '{group}' is still active and has following members: \
                 {}. Make sure to stop all running application instances before running the reset tool. You can use option \
                 '--force' to remove active members from the group.",
                listed(&members)
            )));
        }
        writeln!(out, "Force deleting all active members in the group: {group}")?;
        let removed = admin.remove_members_from_group(group, &[], None).await?;
        match removed.into_values().find_map(Result::err) {
            None => return Ok(()),
            Some(error) if error.code() == Some(ErrorCode::UnknownMemberId) && attempts < REMOVALS => attempts += 1,
            Some(error) => return Err(Failure::Message(exception(&error))),
        }
    }
}

/// A member as Kafka's tool tells of it.
fn described_as(member: &MemberDescription) -> String {
    let partitions: Vec<String> = member.assignment.iter().map(TopicPartition::to_string).collect();
    format!(
        "(memberId={}, groupInstanceId={}, clientId={}, host={}, assignment=(topicPartitions={}))",
        member.member_id,
        member.group_instance_id.as_deref().unwrap_or("null"),
        member.client_id,
        member.host,
        partitions.join(",")
    )
}

/// Whether all topics were found that were named.
async fn reset_offsets(
    admin: &Admin,
    wanted: &Wanted<'_>,
    topics: &[String],
    out: &mut dyn Write,
) -> Result<bool, Failure> {
    if wanted.options.has("intermediate-topics") {
        writeln!(out, "WARN: `--intermediate-topics` is deprecated and will be removed in a future release")?;
    }
    if wanted.inputs.is_empty() && wanted.intermediates.is_empty() {
        writeln!(out, "No input or intermediate topics specified. Skipping seek.")?;
        return Ok(true);
    }
    if !wanted.inputs.is_empty() {
        writeln!(out, "Reset-offsets for input topics {}", listed(&wanted.inputs))?;
    }
    if !wanted.intermediates.is_empty() {
        writeln!(out, "Seek-to-end for intermediate topics {}", listed(&wanted.intermediates))?;
    }
    let mut found: Vec<String> = Vec::new();
    let mut all_found = true;
    for (named, kind, line) in [(&wanted.inputs, "input", "Topic: "), (&wanted.intermediates, "intermediate", "Topic:")]
    {
        let (known, unknown): (Vec<_>, Vec<_>) = named.iter().partition(|topic| topics.contains(topic));
        found.extend(known.into_iter().cloned());
        if !unknown.is_empty() {
            all_found = false;
            writeln!(out, "Following {kind} topics are not found, skipping them")?;
            for topic in unknown {
                writeln!(out, "{line}{topic}")?;
            }
        }
    }
    if found.is_empty() {
        return Ok(all_found);
    }
    let new = new_offsets(admin, wanted, found, out).await?;
    if !wanted.is_dry_run {
        let new = new.into_iter().map(|(partition, offset)| (partition, OffsetAndMetadata::new(offset)));
        let committed = admin.alter_consumer_group_offsets(wanted.application, new).await;
        if let Some(error) = committed.into_values().find_map(Result::err) {
            return Err(Failure::Message(exception(&error)));
        }
    }
    writeln!(out, "Done.")?;
    Ok(all_found)
}

/// Where the partitions of these topics are to be read on, told.
async fn new_offsets(
    admin: &Admin,
    wanted: &Wanted<'_>,
    topics: Vec<String>,
    out: &mut dyn Write,
) -> Result<offsets::Offsets, Failure> {
    let mut partitions = Vec::new();
    for described in admin.describe_topics(topics).await.into_values() {
        let topic = described?;
        partitions.extend(topic.partitions.iter().map(|one| TopicPartition::new(topic.name.as_str(), one.partition)));
    }
    let is_input = |partition: &TopicPartition| wanted.inputs.iter().any(|topic| topic == partition.topic());
    let (mut inputs, intermediates): (Vec<_>, Vec<_>) = partitions.into_iter().partition(is_input);
    hash_map_order(&mut inputs, 16, |partition| partition);
    let mut new = offsets::Offsets::new();
    if !inputs.is_empty() {
        let group = wanted.application;
        writeln!(out, "Following input topics offsets will be reset to (for consumer group {group})")?;
        new = offsets::of_inputs(admin, group, &inputs, wanted.options, out).await?;
        for (partition, offset) in &new {
            let (topic, number) = (partition.topic(), partition.partition());
            writeln!(out, "Topic: {topic} Partition: {number} Offset: {offset}")?;
        }
    }
    if !intermediates.is_empty() {
        let group = wanted.application;
        writeln!(out, "Following intermediate topics offsets will be reset to end (for consumer group {group})")?;
        let mut in_turn = intermediates.clone();
        hash_map_order(&mut in_turn, 16, |partition| partition);
        for partition in &in_turn {
            writeln!(out, "Topic: {}", partition.topic())?;
        }
        new.extend(offsets::ends(admin, &intermediates).await?);
    }
    Ok(new)
}

async fn delete_internal_topics(
    admin: &Admin,
    wanted: &Wanted<'_>,
    topics: &[String],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let inferred: Vec<String> = topics.iter().filter(|topic| wanted.is_internal(topic)).cloned().collect();
    let named = list(wanted.options, "internal-topics");
    let to_delete = if named.is_empty() {
        writeln!(out, "Deleting inferred internal topics {}", listed(&inferred))?;
        inferred
    } else if named.iter().all(|topic| inferred.contains(topic)) {
        writeln!(out, "Deleting specified internal topics {}", listed(&named))?;
        named
    } else {
        return Err(Failure::Message(
            "java.lang.IllegalArgumentException: Invalid topic specified in the --internal-topics option. Ensure that the \
             topics specified are all internal topics. Do a dry run without the --internal-topics option to see the list of \
             all internal topics that can be deleted."
                .to_owned(),
        ));
    };
    if !wanted.is_dry_run && !to_delete.is_empty() {
        let mut failed = false;
        for (topic, deleted) in admin.delete_topics(to_delete).await {
            if let Err(error) = deleted {
                failed = true;
                writeln!(io::stderr(), "ERROR: deleting topic {topic}\n{}", exception(&error))?;
            }
        }
        if failed {
            let text = "java.lang.RuntimeException: Encountered an error deleting one or more topics";
            return Err(Failure::Message(text.to_owned()));
        }
    }
    Ok(writeln!(out, "Done.")?)
}

#[cfg(test)]
mod tests {
    use super::has_internal_form;

    #[test]
    fn internal_topics_are_known_by_the_ends_of_their_names() {
        for internal in [
            "a-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog",
            "a-by-repartition",
            "a-x-subscription-registration-topic",
            "a-x-subscription-response-topic",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic",
        ] {
            assert!(has_internal_form(internal), "{internal}");
        }
        for other in [
            "a-changelogs",
            "a-topic",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-x-topic",
            "a-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE--topic",
            "-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-1-topic",
        ] {
            assert!(!has_internal_form(other), "{other}");
        }
    }
}
