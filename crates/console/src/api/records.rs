//! `/api/topics/NAME/records`: records of a topic, some at a time.
//!
//! A request reads until it has as many as were asked for, until it has read to where the partitions ended when it began,
//! or until it has looked at enough: then it says where to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{Consumer, ConsumerConfig, ConsumerRecord, TopicPartition};

use super::Problem;
use super::lag_time::reader;
use super::topic::described;
use crate::console::Shared;
use crate::decode::{FORMATS, Format, show};
use crate::query::Query;

pub(super) const PARAMETERS: &[&str] = &["partition", "from", "at", "limit", "filter", "key_format", "value_format"];

/// Records in an answer unless it is said, and at most.
const LIMIT: usize = 50;
const MOST: usize = 500;

/// Records that one request looks at.
const LOOKED_AT: usize = 20_000;

/// How long one request reads.
const WITHIN: Duration = Duration::from_secs(8);

/// Characters of a key, a value or a header's value that are told.
const LONGEST: usize = 64 * 1024;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Beginning,
    End,
    Offset,
    Timestamp,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    limit: usize,
    filter: Option<String>,
    key: Format,
    value: Format,
}

/// Why no more was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// All that was there was read.
    End,
    /// There are as many as were asked for.
    Limit,
    /// Enough was looked at.
    LookedAt,
    /// It took too long.
    Time,
}

impl Stopped {
    fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Limit => "limit",
            Self::LookedAt => "looked_at",
            Self::Time => "time",
        }
    }
}

pub(super) async fn records(shared: &Shared, topic: &str, query: &Query) -> Result<Value, Problem> {
    let asked = Asked {
        limit: query.number("limit", 1..=MOST)?.unwrap_or(LIMIT),
        filter: query.text("filter").map(str::to_owned),
        key: query.one_of("key_format", &FORMATS)?,
        value: query.one_of("value_format", &FORMATS)?,
    };
    let words =
        [("end", From::End), ("beginning", From::Beginning), ("offset", From::Offset), ("timestamp", From::Timestamp)];
    let from = query.one_of("from", &words)?;
    let partition = query.number("partition", 0..=i32::MAX)?;

    let view = shared.sampler.view().await?;
    let described = described(&view.newest, topic)?;
    let mut partitions: Vec<TopicPartition> =
        described.partitions.iter().map(|it| TopicPartition::new(topic, it.partition)).collect();
    if let Some(wanted) = partition {
        let count = partitions.len();
        partitions.retain(|it| it.partition() == wanted);
        if partitions.is_empty() {
            return Err(Problem::missing(format!(
                "topic `{topic}` has {count} partitions, there is no partition {wanted}"
            )));
        }
    }
    // Who looks for something looks further back than he wants to see.
    let back = if asked.filter.is_some() { LOOKED_AT / partitions.len().max(1) } else { asked.limit };
    let (ranges, problems) = ranges(shared, &partitions, from, query, back).await?;
    if let (true, Some(problem)) = (ranges.is_empty(), problems.first()) {
        return Err(problem.clone());
    }
    let place = shared.readers.acquire().await.map_err(|_| Problem::busy("the console is closing"))?;
    // From the end, all of each partition's range is read before the newest are chosen.
    let most = if from == From::End { usize::MAX } else { asked.limit };
    let read = read(shared, &ranges, &asked, most).await?;
    drop(place);
    let mut shown = read.shown;
    if from == From::End {
        // The newest first, of all partitions; of one time, those with the higher offset.
        shown.reverse();
        shown.sort_by_key(|(timestamp, _)| std::cmp::Reverse(*timestamp));
        shown.truncate(asked.limit);
    }
    let next: BTreeMap<i32, i64> = read.next.iter().map(|(it, offset)| (it.partition(), *offset)).collect();
    Ok(json!({
        "topic": topic,
        "records": shown.into_iter().map(|(_, record)| record).collect::<Vec<_>>(),
        "looked_at": read.looked_at,
        "stopped": read.stopped.name(),
        "next": next.iter().map(|(it, offset)| format!("{it}:{offset}")).collect::<Vec<_>>().join(","),
        "problems": problems.iter().map(Problem::inner).collect::<Vec<_>>(),
    }))
}

/// What is to be read of each partition: from where, and to where.
async fn ranges(
    shared: &Shared,
    partitions: &[TopicPartition],
    from: From,
    query: &Query,
    back: usize,
) -> Result<(BTreeMap<TopicPartition, (i64, i64)>, Vec<Problem>), Problem> {
    let at = match from {
        From::Timestamp => {
            let at = query.number("at", 0..=i64::MAX)?;
            Some(at.ok_or_else(|| Problem::asked("`from` is timestamp: `at` has to say which, in ms since the epoch"))?)
        }
        From::Beginning | From::End if query.text("at").is_some() => {
            return Err(Problem::asked("`at` goes with `from=offset` or `from=timestamp` alone"));
        }
        _ => None,
    };
    let given = if from == From::Offset { offsets(query.text("at"))? } else { Given::All(0) };
    let ask = |spec: OffsetSpec| {
        let wanted: Vec<_> = partitions.iter().map(|it| (it.clone(), spec)).collect();
        shared.admin.list_offsets(wanted, IsolationLevel::ReadUncommitted)
    };
    let by_time = async {
        match at {
            Some(at) => Some(ask(OffsetSpec::Timestamp(at)).await),
            None => None,
        }
    };
    let (starts, ends, by_time) = tokio::join!(ask(OffsetSpec::Earliest), ask(OffsetSpec::Latest), by_time);
    let (mut ranges, mut problems) = (BTreeMap::new(), Vec::new());
    for partition in partitions {
        let answers = [starts.get(partition), ends.get(partition), by_time.as_ref().and_then(|all| all.get(partition))];
        if let Some(error) = answers.into_iter().flatten().find_map(|answer| answer.as_ref().err()) {
            problems.push(Problem::from(error).saying(format!("partition {}: {error}", partition.partition())));
            continue;
        }
        let offset = |index: usize| {
            answers.get(index).copied().flatten().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.offset)
        };
        let (Some(start), Some(end)) = (offset(0), offset(1)) else { continue };
        let begin = match from {
            From::Beginning => Some(start),
            From::End => Some(end.saturating_sub_unsigned(back as u64)),
            From::Offset => given.of(partition.partition()),
            // -1 where no record is as late.
            From::Timestamp => offset(2).map(|offset| if offset < 0 { end } else { offset }),
        };
        if let Some(begin) = begin {
            ranges.insert(partition.clone(), (begin.max(start), end));
        }
    }
    Ok((ranges, problems))
}

/// Offsets as they are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Given {
    All(i64),
    Each(BTreeMap<i32, i64>),
}

impl Given {
    fn of(&self, partition: i32) -> Option<i64> {
        match self {
            Self::All(offset) => Some(*offset),
            Self::Each(offsets) => offsets.get(&partition).copied(),
        }
    }
}

/// `17`, or `0:17,3:5` for some partitions, which is what an answer's `next` says.
fn offsets(text: Option<&str>) -> Result<Given, Problem> {
    let wrong =
        || Problem::asked("`from` is offset: `at` has to be an offset, or partition:offset with commas between");
    let text = text.ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|offset: &i64| *offset >= 0).ok_or_else(wrong);
    if !text.contains(':') {
        return number(text).map(Given::All);
    }
    let pair = |pair: &str| {
        let (partition, offset) = pair.split_once(':').ok_or_else(wrong)?;
        Ok((partition.parse().map_err(|_| wrong())?, number(offset)?))
    };
    text.split(',').map(pair).collect::<Result<_, _>>().map(Given::Each)
}

/// What was read.
struct Read {
    /// Records with their timestamps.
    shown: Vec<(i64, Value)>,
    looked_at: usize,
    stopped: Stopped,
    /// Where to go on, for the partitions in which there is more.
    next: BTreeMap<TopicPartition, i64>,
}

async fn read(
    shared: &Shared,
    ranges: &BTreeMap<TopicPartition, (i64, i64)>,
    asked: &Asked,
    most: usize,
) -> Result<Read, Problem> {
    let left = ranges.iter().filter(|(_, (begin, end))| begin < end);
    let mut next: BTreeMap<TopicPartition, i64> = left.map(|(it, (begin, _))| (it.clone(), *begin)).collect();
    let mut read = Read { shown: Vec::new(), looked_at: 0, stopped: Stopped::End, next: BTreeMap::new() };
    if next.is_empty() {
        return Ok(read);
    }
    let settings = reader(&[("max.poll.records", "500")]);
    let consumer = Consumer::new(ConsumerConfig::from_properties_quietly(shared.config.properties(&settings))?)?;
    consumer.assign(next.keys().cloned())?;
    for (partition, offset) in &next {
        consumer.seek(partition, *offset)?;
    }
    let until = Instant::now() + WITHIN;
    'reading: while !next.is_empty() {
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            read.stopped = Stopped::Time;
            break;
        }
        for records in consumer.poll(wait).await?.into_partitions() {
            let partition = records.topic_partition().clone();
            let Some((_, end)) = ranges.get(&partition) else { continue };
            let behind = records.next_offset().offset;
            for record in records.into_owned_records().take_while(|record| record.offset() < *end) {
                read.looked_at += 1;
                next.insert(partition.clone(), record.offset() + 1);
                if let Some(shown) = shown(&record, asked) {
                    read.shown.push((record.timestamp(), shown));
                }
                let is_enough = read.shown.len() >= most;
                if is_enough || read.looked_at >= LOOKED_AT {
                    read.stopped = if is_enough { Stopped::Limit } else { Stopped::LookedAt };
                    break 'reading;
                }
            }
            next.insert(partition.clone(), behind);
            if behind >= *end {
                next.remove(&partition);
                consumer.pause(std::slice::from_ref(&partition))?;
            }
        }
    }
    consumer.close(Duration::ZERO).await?;
    next.retain(|partition, offset| ranges.get(partition).is_some_and(|(_, end)| *offset < *end));
    read.next = next;
    Ok(read)
}

/// A record as it is told, if it has what is looked for.
fn shown(record: &ConsumerRecord, asked: &Asked) -> Option<Value> {
    let key = record.key().map(|bytes| show(bytes, asked.key));
    let value = record.value().map(|bytes| show(bytes, asked.value));
    if let Some(filter) = &asked.filter {
        let in_bytes = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| has(bytes, filter.as_bytes()));
        let in_text =
            |shown: &Option<crate::decode::Shown>| shown.as_ref().is_some_and(|it| it.text.contains(filter.as_str()));
        let is_there = in_bytes(record.key()) || in_bytes(record.value()) || in_text(&key) || in_text(&value);
        is_there.then_some(())?;
    }
    let told = |shown: Option<crate::decode::Shown>, bytes: Option<&[u8]>| {
        let (shown, bytes) = (shown?, bytes?);
        let text: String = shown.text.chars().take(LONGEST).collect();
        let is_cut = text.len() < shown.text.len();
        Some(
            json!({"format": shown.format, "text": text, "bytes": bytes.len(), "is_cut": is_cut, "problem": shown.problem}),
        )
    };
    let headers = record.headers().map(|header| {
        let value = header.value().map(|bytes| show(bytes, Format::Auto));
        json!({"key": header.key(), "value": told(value, header.value())})
    });
    Some(json!({
        "partition": record.partition(),
        "offset": record.offset(),
        "timestamp": record.timestamp(),
        "timestamp_type": format!("{:?}", record.timestamp_type()),
        "headers": headers.collect::<Vec<_>>(),
        "key": told(key, record.key()),
        "value": told(value, record.value()),
    }))
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_for_all_partitions_or_for_some() {
        assert_eq!(offsets(Some("17")).unwrap(), Given::All(17));
        assert_eq!(offsets(Some("0:17,3:5")).unwrap(), Given::Each(BTreeMap::from([(0, 17), (3, 5)])));
        for wrong in [None, Some("-1"), Some("x"), Some("0:-2"), Some("0:1,"), Some("1,2")] {
            offsets(wrong).unwrap_err();
        }
    }
}
