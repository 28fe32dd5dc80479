//! `/api/groups/ID/reset`: what a reset of a group's offsets would do. Nothing is changed.

use serde_json::{Value, json};
use vltava_client::admin::OffsetSpec;
use vltava_client::config::IsolationLevel;
use vltava_client::{ClientError, TopicPartition};

use super::Problem;
use super::group::describe;
use crate::console::Shared;
use crate::query::Query;

pub(super) const PARAMETERS: &[&str] = &["to", "at"];

/// Where offsets go.
#[derive(Debug, Clone, Copy)]
enum To {
    Earliest,
    Latest,
    Datetime,
}

pub(super) async fn reset(shared: &Shared, id: &str, query: &Query) -> Result<Value, Problem> {
    let to = query.one_of("to", &[("earliest", To::Earliest), ("latest", To::Latest), ("datetime", To::Datetime)])?;
    let at = query.number("at", 0..=i64::MAX)?;
    let spec = match (to, at) {
        (To::Earliest, None) => OffsetSpec::Earliest,
        (To::Latest, None) => OffsetSpec::Latest,
        (To::Datetime, Some(at)) => OffsetSpec::Timestamp(at),
        (To::Datetime, None) => {
            return Err(Problem::asked("`to` is datetime: `at` has to say when, in ms since the epoch"));
        }
        (_, Some(_)) => return Err(Problem::asked("`at` goes with `to=datetime` alone")),
    };
    let described = describe(shared, id).await?;
    let committed = shared.admin.list_consumer_group_offsets(id, None).await?;
    let wanted = |spec| committed.keys().map(move |it| (it.clone(), spec)).collect::<Vec<_>>();
    let mut found = shared.admin.list_offsets(wanted(spec), IsolationLevel::ReadUncommitted).await;
    // As `kafka-consumer-groups` does: where no record is as late, the end.
    let beyond: Vec<TopicPartition> = found
        .iter()
        .filter(|(_, answer)| answer.as_ref().is_ok_and(|answer| answer.offset < 0))
        .map(|(partition, _)| partition.clone())
        .collect();
    let ends: Vec<_> = beyond.into_iter().map(|partition| (partition, OffsetSpec::Latest)).collect();
    found.extend(shared.admin.list_offsets(ends, IsolationLevel::ReadUncommitted).await);

    let row =
        |(partition, answer): (&TopicPartition, &Result<vltava_client::admin::ListOffsetsResult, ClientError>)| {
            let now = committed.get(partition).and_then(Option::as_ref).map(|it| it.offset);
            let then = answer.as_ref().ok().map(|answer| answer.offset);
            json!({
                "topic": partition.topic(),
                "partition": partition.partition(),
                "committed": now,
                "reset": then,
                "change": now.zip(then).map(|(now, then)| then - now),
                "problem": answer.as_ref().err().map(|error| Problem::from(error).inner()),
            })
        };
    // Kafka refuses a reset while there are members.
    let is_possible = matches!(described.state.as_str(), "Empty" | "Dead");
    Ok(json!({
        "id": id,
        "state": described.state,
        "is_possible": is_possible,
        "offsets": found.iter().map(row).collect::<Vec<_>>(),
    }))
}
