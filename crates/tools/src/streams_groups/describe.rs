//! `kafka-streams-groups --describe`: offsets, members and state of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use vltava_client::admin::{
    ListOffsetsResult, OffsetSpec, StreamsGroupDescription, StreamsGroupMemberAssignment, StreamsGroupMemberDescription,
};
use vltava_client::config::IsolationLevel;
use vltava_client::{Admin, TopicPartition};

use super::{failed, failed_within};
use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;

pub(super) async fn describe(
    admin: &Admin,
    groups: Vec<String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let verbose = options.has("verbose");
    for group in groups {
        let described = admin.describe_streams_groups([group]).await.into_values().next();
        let Some(described) = described.transpose().map_err(failed)? else { continue };
        if options.has("members") {
            members(&described, verbose, out)?;
        } else if options.has("state") {
            state(&described, verbose, out)?;
        } else {
            let rows = rows(admin, &described).await?;
            offsets(&described, &rows, verbose, out)?;
        }
    }
    Ok(())
}

/// Tells of a group that has no members.
fn tell_empty(group: &StreamsGroupDescription, out: &mut dyn Write) -> Result<(), Failure> {
    let id = &group.group_id;
    match group.state.as_str() {
        "Dead" => writeln!(out, "\nError: Streams group '{id}' does not exist.")?,
        "Empty" => writeln!(out, "\nError: Streams group '{id}' has no active members.")?,
        _ => {}
    }
    Ok(())
}

/// Whether there is anything to print of a group.
fn has_rows(group: &StreamsGroupDescription) -> bool {
    group.state != "Dead" && !group.members.is_empty()
}

fn members(group: &StreamsGroupDescription, verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if !has_rows(group) {
        return Ok(());
    }
    tell_empty(group, out)?;
    let longest =
        |text: &dyn Fn(&StreamsGroupMemberDescription) -> usize| group.members.iter().map(text).fold(15, usize::max);
    let group_width = group.group_id.chars().count().max(15);
    let id_width = longest(&|member| member.member_id.chars().count());
    let process_width = longest(&|member| member.process_id.chars().count());
    let client_width = longest(&|member| member.client_id.chars().count());
    if !verbose {
        let mut row = |[group, id, process, client, tasks]: [&str; 5]| {
            writeln!(
                out,
                "{group:<group_width$} {id:<id_width$} {process:<process_width$} {client:<client_width$} {tasks}"
            )
        };
        row(["GROUP", "MEMBER", "PROCESS", "CLIENT-ID", "ASSIGNMENTS"])?;
        for member in &group.members {
            let tasks = tasks("", &member.assignment);
            row([&group.group_id, &member.member_id, &member.process_id, &member.client_id, &tasks])?;
        }
        return Ok(());
    }
    let mut row = |[group, target, topology, id, protocol, epoch, process, client, tasks]: [&str; 9]| {
        // Kafka's has no space after the topology's epoch.
        writeln!(
            out,
            "{group:<group_width$} {target:<25} {topology:<15}{id:<id_width$} {protocol:<15} {epoch:<15} \
             {process:<process_width$} {client:<client_width$} {tasks}"
        )
    };
    row([
        "GROUP",
        "TARGET-ASSIGNMENT-EPOCH",
        "TOPOLOGY-EPOCH",
        "MEMBER",
        "MEMBER-PROTOCOL",
        "MEMBER-EPOCH",
        "PROCESS",
        "CLIENT-ID",
        "ASSIGNMENTS",
    ])?;
    for member in &group.members {
        row([
            &group.group_id,
            &group.target_assignment_epoch.to_string(),
            &group.topology_epoch.to_string(),
            &member.member_id,
            if member.is_classic { "classic" } else { "streams" },
            &member.member_epoch.to_string(),
            &member.process_id,
            &member.client_id,
            &(tasks("", &member.assignment) + &tasks("TARGET-", &member.target_assignment)),
        ])?;
    }
    Ok(())
}

/// Tasks by their roles: `ACTIVE: 0:[0,1]; STANDBY: 1:[2]; `.
fn tasks(prefix: &str, assignment: &StreamsGroupMemberAssignment) -> String {
    let roles = [
        ("ACTIVE", &assignment.active_tasks),
        ("STANDBY", &assignment.standby_tasks),
        ("WARMUP", &assignment.warmup_tasks),
    ];
    let mut text = String::new();
    for (role, tasks) in roles.into_iter().filter(|(_, tasks)| !tasks.is_empty()) {
        text += &format!("{prefix}{role}: ");
        for (subtopology, partitions) in tasks {
            let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
            text += &format!("{subtopology}:[{}]; ", partitions.join(","));
        }
    }
    text
}

fn state(group: &StreamsGroupDescription, verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    tell_empty(group, out)?;
    let node = &group.coordinator;
    let coordinator = format!("{}:{} ({})", node.host, node.port, node.id);
    let (group_width, width) = (group.group_id.chars().count().max(15), coordinator.chars().count().max(25));
    let epochs = [group.group_epoch, group.target_assignment_epoch].map(|epoch| epoch.to_string());
    let [epoch, target] = epochs.each_ref().map(String::as_str);
    let count = group.members.len().to_string();
    let header = ["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"];
    for [id, at, state, epoch, target, count] in
        [header, [&group.group_id, &coordinator, &group.state, epoch, target, &count]]
    {
        write!(out, "{id:<group_width$} {at:<width$} {state:<25} ")?;
        if verbose {
            write!(out, "{epoch:<15} {target:<25} ")?;
        }
        writeln!(out, "{count}")?;
    }
    Ok(())
}

/// What is told of a partition that a member reads.
struct Row {
    partition: TopicPartition,
    current: Option<i64>,
    leader_epoch: Option<i32>,
    end: i64,
    lag: i64,
}

/// The rows of what members read, in the order of Kafka's tool.
async fn rows(admin: &Admin, group: &StreamsGroupDescription) -> Result<Vec<Row>, Failure> {
    let mut partitions = BTreeSet::new();
    for member in &group.members {
        for (id, numbers) in &member.assignment.active_tasks {
            let found = group.subtopologies.iter().find(|subtopology| subtopology.subtopology_id == *id);
            let Some(subtopology) = found else {
                return Err(Failure::Usage(format!("Subtopology {id} not found in group description!")));
            };
            for topic in subtopology.source_topics.iter().chain(subtopology.repartition_source_topics.keys()) {
                partitions.extend(numbers.iter().map(|number| TopicPartition::new(topic.as_str(), *number)));
            }
        }
    }
    let begins = ends_of(admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = ends_of(admin, &partitions, OffsetSpec::Latest).await?;
    let committed = admin.list_streams_group_offsets(&group.group_id, None).await.map_err(failed_within)?;
    let row = |partition: TopicPartition| {
        let committed = committed.get(&partition).and_then(Option::as_ref);
        let current = committed.map(|committed| committed.offset);
        let (begin, end) = (*begins.get(&partition)?, *ends.get(&partition)?);
        let leader_epoch = committed.and_then(|committed| committed.leader_epoch);
        Some(Row { partition, current, leader_epoch, end, lag: end - current.unwrap_or(begin) })
    };
    let mut rows: Vec<Row> = partitions.into_iter().filter_map(row).collect();
    hash_map_order(&mut rows, 16, |row| &row.partition);
    Ok(rows)
}

async fn ends_of(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec));
    let offset = |(partition, found): (TopicPartition, Result<ListOffsetsResult, _>)| {
        found.map(|found| (partition, found.offset)).map_err(failed)
    };
    admin.list_offsets(wanted, IsolationLevel::ReadUncommitted).await.into_iter().map(offset).collect()
}

fn offsets(group: &StreamsGroupDescription, rows: &[Row], verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if !has_rows(group) {
        return Ok(());
    }
    tell_empty(group, out)?;
    let group_width = group.group_id.chars().count().max(15);
    let topic_width = rows.iter().map(|row| row.partition.topic().chars().count()).fold(15, usize::max);
    let text = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    write!(out, "{:<group_width$} {:<topic_width$} {:<10} ", "GROUP", "TOPIC", "PARTITION")?;
    match verbose {
        true => writeln!(
            out,
            "{:<15} {:<15} {:<15} {:<15}",
            "CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG"
        )?,
        false => writeln!(out, "OFFSET-LAG")?,
    }
    for Row { partition, current, leader_epoch, end, lag } in rows {
        let (topic, number) = (partition.topic(), partition.partition());
        write!(out, "{:<group_width$} {topic:<topic_width$} {number:<10} ", group.group_id)?;
        match verbose {
            true => {
                let (current, epoch) = (text(*current), text(leader_epoch.map(i64::from)));
                writeln!(out, "{current:<15} {epoch:<15} {end:<15} {lag:<15}")?;
            }
            false => writeln!(out, "{lag}")?,
        }
    }
    Ok(())
}
