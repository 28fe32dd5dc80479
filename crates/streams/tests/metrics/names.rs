//! Names, tags, levels, statistics and descriptions.

use std::collections::BTreeSet;

use vltava_metrics::definition::{Kind, Per};
use vltava_streams::METRIC_GROUPS;

/// A metric of Apache Kafka's.
pub(crate) struct Recorded {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    tags: BTreeSet<&'static str>,
    level: &'static str,
    statistic: &'static str,
    description: &'static str,
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

pub(crate) fn recorded() -> Vec<Recorded> {
    let of = |fields: Vec<&'static str>| Recorded {
        group: fields[0],
        name: fields[1],
        tags: fields[2].split(',').collect(),
        level: fields[3],
        statistic: fields[4],
        description: fields[5],
    };
    lines(include_str!("kafka.txt")).map(of).collect()
}

/// Whether a pattern, where `*` is anything, is the text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, rest)) => text
            .strip_prefix(begin)
            .is_some_and(|text| (0..=text.len()).filter_map(|at| text.get(at..)).any(|text| fits(rest, text))),
    }
}

/// Which line of `lacking.txt` says why this is not there.
pub(crate) fn reason(group: &str, name: &str) -> Option<usize> {
    lines(include_str!("lacking.txt")).position(|reason| reason[0] == group && fits(reason[1], name))
}

/// A metric of a table: level, statistic and description.
fn defined(group: &str, name: &str) -> Option<(&'static str, String, &'static str)> {
    let group = METRIC_GROUPS.iter().find(|known| known.name == group)?;
    let gauge = group.gauges.iter().find(|gauge| gauge.name == name);
    if let Some(gauge) = gauge {
        return Some(("INFO", if gauge.unit == "text" { "text" } else { "gauge" }.to_owned(), gauge.description));
    }
    group.sensors.iter().find_map(|sensor| {
        let statistic = sensor.statistics.iter().find(|statistic| statistic.name == name)?;
        let kind = match statistic.kind {
            Kind::Avg => "Avg",
            Kind::Max => "Max",
            Kind::Min => "Min",
            Kind::Value => "Value",
            Kind::CumulativeSum => "CumulativeSum",
            Kind::CumulativeCount => "CumulativeCount",
            Kind::Rate(Per::Second) => "Rate:SECONDS:WindowedSum",
            Kind::RateOfEvents(Per::Second) => "Rate:SECONDS:WindowedCount",
            _ => "another",
        };
        Some((sensor.level.name(), kind.to_owned(), statistic.description))
    })
}

#[test]
fn each_of_kafkas_is_ours_or_has_its_reason() {
    let recorded = recorded();
    let mut unused: BTreeSet<usize> = (0..lines(include_str!("lacking.txt")).count()).collect();
    for Recorded { group, name, tags, level, statistic, description } in &recorded {
        if let Some(reason) = reason(group, name) {
            unused.remove(&reason);
            assert_eq!(defined(group, name), None, "{group} {name} is there, and has a reason not to be");
            continue;
        }
        let ours = defined(group, name);
        // A count that the JVM keeps in a sensor may be looked up here.
        let statistic = if *name == "failed-stream-threads" { "gauge" } else { statistic };
        assert_eq!(ours, Some((*level, statistic.to_owned(), *description)), "{group} {name}");
        let of_group = METRIC_GROUPS.iter().find(|known| known.name == *group).unwrap().tags;
        assert!(of_group.iter().all(|tag| tags.contains(tag)), "{group} {name}: {tags:?} and not {of_group:?}");
    }
    assert!(unused.is_empty(), "reasons for nothing: {unused:?}");
    assert!(lines(include_str!("lacking.txt")).all(|line| line.len() == 3 && !line[2].is_empty()));
    for group in METRIC_GROUPS {
        let of_sensors = group.sensors.iter().flat_map(|sensor| sensor.statistics).map(|statistic| statistic.name);
        for name in of_sensors.chain(group.gauges.iter().map(|gauge| gauge.name)) {
            assert!(
                recorded.iter().any(|recorded| (recorded.group, recorded.name) == (group.name, name)),
                "Kafka has no {} {name}",
                group.name
            );
        }
    }
}
