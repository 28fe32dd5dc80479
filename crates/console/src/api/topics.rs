//! `/api/topics`: all topics, in pages.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use vltava_client::ClientError;
use vltava_client::admin::TopicDescription;

use super::Problem;
use super::brokers::sizes;
use super::overview::{is_offline, is_under_replicated};
use crate::console::Shared;
use crate::query::Query;
use crate::sampler::View;

pub(super) const PARAMETERS: &[&str] = &["filter", "internal", "sort", "order", "page", "size"];

/// A page has so many unless it is said, and at most.
const SIZE: usize = 100;
const LARGEST: usize = 1000;

/// What they are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Partitions,
    Rate,
    Size,
}

/// A topic in the list.
struct Row<'a> {
    name: &'a str,
    topic: &'a Result<TopicDescription, ClientError>,
    rate: Option<f64>,
    size: Option<i64>,
}

impl Row<'_> {
    fn partitions(&self) -> usize {
        self.topic.as_ref().map_or(0, |topic| topic.partitions.len())
    }

    fn to_json(&self) -> Value {
        let problem = self.topic.as_ref().err().map(|error| Problem::from(error).inner());
        let count = |wanted: fn(&vltava_client::admin::TopicPartitionInfo) -> bool| {
            self.topic.as_ref().map_or(0, |topic| topic.partitions.iter().filter(|it| wanted(it)).count())
        };
        let replicas =
            self.topic.as_ref().ok().and_then(|topic| topic.partitions.iter().map(|it| it.replicas.len()).max());
        json!({
            "name": self.name,
            "is_internal": is_internal(self.topic),
            "partitions": self.partitions(),
            "replicas": replicas,
            "offline": count(is_offline),
            "under_replicated": count(is_under_replicated),
            "size_bytes": self.size,
            "records_per_second": self.rate,
            "problem": problem,
        })
    }
}

pub(super) async fn topics(shared: &Shared, query: &Query) -> Result<Value, Problem> {
    let by = query.one_of(
        "sort",
        &[("name", By::Name), ("partitions", By::Partitions), ("rate", By::Rate), ("size", By::Size)],
    )?;
    let is_descending = query.one_of("order", &[("ascending", false), ("descending", true)])?;
    let with_internal = query.one_of("internal", &[("true", true), ("false", false)])?;
    let size = query.number("size", 1..=LARGEST)?.unwrap_or(SIZE);
    let page = query.number("page", 0..=usize::MAX / LARGEST)?.unwrap_or(0);
    let filter = query.text("filter").map(str::to_lowercase);

    let view = shared.sampler.view().await?;
    let (sizes, unsized_brokers) = sizes(shared, &view.newest).await;
    let mut rows = rows(&view, &sizes, !unsized_brokers.is_empty());
    let total = rows.len();
    rows.retain(|row| filter.as_ref().is_none_or(|part| row.name.to_lowercase().contains(part.as_str())));
    rows.retain(|row| with_internal || !is_internal(row.topic));
    let compare = |a: &Row<'_>, b: &Row<'_>| match by {
        By::Name => Ordering::Equal,
        By::Partitions => a.partitions().cmp(&b.partitions()),
        By::Rate => a.rate.partial_cmp(&b.rate).unwrap_or(Ordering::Equal),
        By::Size => a.size.cmp(&b.size),
    };
    // The rows come in order of their names, and those that are equal stay in it.
    rows.sort_by(|a, b| if is_descending { compare(b, a) } else { compare(a, b) });
    if is_descending && by == By::Name {
        rows.reverse();
    }
    Ok(json!({
        "at": view.newest.at_ms,
        "total": total,
        "matching": rows.len(),
        "page": page,
        "size": size,
        "topics": rows.iter().skip(page * size).take(size).map(Row::to_json).collect::<Vec<_>>(),
        "problems": unsized_brokers,
    }))
}

/// All topics, by name.
fn rows<'a>(view: &'a View, sizes: &BTreeMap<String, i64>, are_incomplete: bool) -> Vec<Row<'a>> {
    let rates = view.rates();
    let row = |(name, topic): (&'a String, &'a _)| Row {
        name,
        topic,
        rate: rates.as_ref().map(|rates| rates.get(name.as_str()).copied().unwrap_or(0.0)),
        // A part of a size is none.
        size: sizes.get(name).copied().filter(|_| !are_incomplete),
    };
    view.newest.topics.iter().map(row).collect()
}

fn is_internal(topic: &Result<TopicDescription, ClientError>) -> bool {
    topic.as_ref().is_ok_and(|topic| topic.is_internal)
}
