//! `kafka-consumer-groups --describe`: offsets, members and state of groups, of the classic and of the consumer protocol.

use std::collections::BTreeSet;
use std::io::{self, Write};

use vltava_client::admin::{GroupDescription, MemberDescription, OffsetSpec};
use vltava_client::config::IsolationLevel;
use vltava_client::{Admin, ClientError, TopicPartition};

use super::{failed, failed_within};
use crate::failure::Failure;
use crate::options::Options;

/// What stands in a column that has no value.
const MISSING: &str = "-";

pub(super) async fn describe(
    admin: &Admin,
    groups: Vec<String>,
    options: &Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let described: Result<Vec<GroupDescription>, ClientError> =
        admin.describe_consumer_groups(groups).await.into_values().collect();
    let verbose = options.has("verbose");
    for group in described.map_err(failed)? {
        if options.has("members") {
            let shown = tell_state(&group, group.members.len(), out)?;
            members(&group, shown, verbose, out)?;
        } else if options.has("state") {
            if tell_state(&group, 1, out)? {
                state(&group, verbose, out)?;
            }
        } else {
            let rows = offsets(admin, &group, verbose).await?;
            if tell_state(&group, rows.len(), out)? {
                table(&rows, verbose, out)?;
            }
        }
    }
    Ok(())
}

/// Tells of a group that is not stable; whether there is anything to print of it.
fn tell_state(group: &GroupDescription, rows: usize, out: &mut dyn Write) -> Result<bool, Failure> {
    let id = &group.group_id;
    match group.state.as_str() {
        "Dead" => {
            writeln!(out, "\nError: Consumer group '{id}' does not exist.")?;
            return Ok(false);
        }
        "Empty" => writeln!(io::stderr(), "\nConsumer group '{id}' has no active members.")?,
        "Stable" => {}
        _ => writeln!(io::stderr(), "\nWarning: Consumer group '{id}' is rebalancing.")?,
    }
    Ok(rows > 0)
}

/// The rows of a group's offsets: those of members, the one with most partitions first, then the rest.
async fn offsets(admin: &Admin, group: &GroupDescription, verbose: bool) -> Result<Vec<Vec<String>>, Failure> {
    let committed = admin.list_consumer_group_offsets(&group.group_id, None).await;
    let committed = committed.map_err(failed_within)?;
    let mut members: Vec<_> = group.members.iter().filter(|member| !member.assignment.is_empty()).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let mut wanted: Vec<(TopicPartition, [&str; 3])> = Vec::new();
    for member in members {
        let partitions: BTreeSet<&TopicPartition> = member.assignment.iter().collect();
        let who = [member.member_id.as_str(), &member.host, &member.client_id];
        wanted.extend(partitions.into_iter().map(|partition| (partition.clone(), who)));
    }
    let assigned: BTreeSet<TopicPartition> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
    let free = committed.keys().filter(|partition| !assigned.contains(partition));
    wanted.extend(free.map(|partition| (partition.clone(), [MISSING; 3])));
    let ends = wanted.iter().map(|(partition, _)| (partition.clone(), OffsetSpec::Latest));
    let ends = admin.list_offsets(ends, IsolationLevel::ReadUncommitted).await;
    let text = |value: Option<i64>| value.map_or_else(|| MISSING.to_owned(), |value| value.to_string());
    let row = |(partition, who): (TopicPartition, [&str; 3])| {
        let offset = committed.get(&partition).and_then(Option::as_ref);
        let end = ends.get(&partition).and_then(|end| end.as_ref().ok()).map(|end| end.offset);
        let current = offset.map(|offset| offset.offset);
        let lag = current.zip(end).map(|(current, end)| end - current);
        let mut row = vec![group.group_id.clone(), partition.topic().to_owned(), partition.partition().to_string()];
        if verbose {
            row.push(text(offset.and_then(|offset| offset.leader_epoch).map(i64::from)));
        }
        row.extend([text(current), text(end), text(lag)]);
        row.extend(who.map(str::to_owned));
        row
    };
    Ok(wanted.into_iter().map(row).collect())
}

/// Prints rows under their header, the columns as wide as Kafka's tool makes them.
fn table(rows: &[Vec<String>], verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut header = vec!["GROUP", "TOPIC", "PARTITION"];
    if verbose {
        header.push("LEADER-EPOCH");
    }
    header.extend(["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]);
    let last = header.len() - 1;
    let width = |column: usize| {
        // Numbers have fixed widths, texts grow.
        let grows = column < 2 || column + 3 > last;
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        match column {
            2 => 10,
            _ if grows => longest.unwrap_or(0).max(15),
            _ => 15,
        }
    };
    let mut line = |cells: &mut dyn Iterator<Item = &str>| -> Result<(), Failure> {
        writeln!(out)?;
        for (column, cell) in cells.enumerate() {
            if column == last {
                write!(out, "{cell}")?;
            } else {
                write!(out, "{cell:<width$} ", width = width(column))?;
            }
        }
        Ok(())
    };
    line(&mut header.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(writeln!(out)?)
}

fn state(group: &GroupDescription, verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let node = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", node.host, node.port, node.id);
    let (first, second) = (group.group_id.chars().count().max(15), coordinator.chars().count().max(25));
    let strategy = if group.partition_assignor.is_empty() { MISSING } else { &group.partition_assignor };
    let count = group.members.len().to_string();
    let header = ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"];
    for [id, at, strategy, state, count] in [header, [&group.group_id, &coordinator, strategy, &group.state, &count]] {
        write!(out, "\n{id:<first$} {at:<second$} {strategy:<20} {state:<20} ")?;
        if verbose {
            let header = id == "GROUP" && at == "COORDINATOR (ID)";
            let epochs = [number(group.group_epoch), number(group.target_assignment_epoch)];
            let [epoch, target] = epochs.each_ref().map(String::as_str);
            let [epoch, target] = if header { ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"] } else { [epoch, target] };
            write!(out, "{epoch:<15} {target:<25} ")?;
        }
        write!(out, "{count}")?;
    }
    Ok(writeln!(out)?)
}

fn members(group: &GroupDescription, shown: bool, verbose: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let members = if shown { group.members.as_slice() } else { &[] };
    let with_instance = members.iter().any(|member| member.group_instance_id.is_some());
    // Only while some members speak the classic protocol and some the new one.
    let migrating = [true, false].map(|upgraded| members.iter().any(|member| member.upgraded == Some(upgraded)));
    let migrating = migrating == [true, true];
    let mut rows = vec![
        [
            "GROUP",
            "CONSUMER-ID",
            "GROUP-INSTANCE-ID",
            "HOST",
            "CLIENT-ID",
            "#PARTITIONS",
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT",
            "UPGRADED",
        ]
        .map(str::to_owned),
    ];
    rows.extend(members.iter().map(|member| member_row(group, member)));
    let width = |column: usize, least: usize| {
        let cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).fold(least, usize::max)
    };
    let [group_width, id_width, instance_width] = [width(0, 15), width(1, 15), width(2, 17)];
    let [host_width, client_width, current_width, target_width] =
        [width(3, 15), width(4, 15), width(7, 20), width(9, 20)];
    writeln!(out)?;
    for [id, member, instance, host, client, count, epoch, current, target_epoch, target, upgraded] in &rows {
        write!(out, "{id:<group_width$} {member:<id_width$} ")?;
        if with_instance {
            write!(out, "{instance:<instance_width$} ")?;
        }
        write!(out, "{host:<host_width$} {client:<client_width$} {count:<15} ")?;
        if verbose {
            write!(out, "{epoch:<15} {current:<current_width$} {target_epoch:<15} {target:<target_width$}")?;
            if migrating {
                write!(out, " {upgraded}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The cells of a member, those of `--verbose` too.
fn member_row(group: &GroupDescription, member: &MemberDescription) -> [String; 11] {
    [
        group.group_id.clone(),
        member.member_id.clone(),
        member.group_instance_id.clone().unwrap_or_default(),
        member.host.clone(),
        member.client_id.clone(),
        member.assignment.len().to_string(),
        number(member.member_epoch),
        assignment(&member.assignment),
        number(group.target_assignment_epoch),
        assignment(member.target_assignment.as_deref().unwrap_or_default()),
        member.upgraded.map_or_else(|| MISSING.to_owned(), |upgraded| upgraded.to_string()),
    ]
}

fn number(value: Option<i32>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// Topics with their partitions: `a:0,1;b:2`.
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    let topics = sorted.chunk_by(|one, other| one.topic() == other.topic()).map(|chunk| {
        let numbers: Vec<String> = chunk.iter().map(|partition| partition.partition().to_string()).collect();
        format!("{}:{}", chunk.first().map_or("", |partition| partition.topic()), numbers.join(","))
    });
    let text = topics.collect::<Vec<_>>().join(";");
    if text.is_empty() { MISSING.to_owned() } else { text }
}
