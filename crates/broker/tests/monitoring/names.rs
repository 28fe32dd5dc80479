//! Names beside those of Apache Kafka's broker, whose MBeans were recorded.

use std::collections::BTreeSet;

use vltava_broker::metrics::definitions::{GROUPS, MBEANS, Mbean, Shape};

use crate::support::{Client, start};

/// An MBean and one of its attributes.
type Attribute = (String, String);

/// Those of Apache Kafka's broker. Requests are alike, and the threads of its network have nothing of their own here.
fn recorded() -> BTreeSet<Attribute> {
    let lines = include_str!("kafka.txt").lines().filter(|line| !line.starts_with('#'));
    let attributes = lines.flat_map(|line| {
        let (name, attributes) = line.split_once('\t').unwrap();
        let name = match name.split_once("request=") {
            Some((begin, _)) if name.contains("name=TotalTimeMs") => format!("{begin}request=*"),
            _ => name.replace(",networkProcessor=*", ""),
        };
        attributes.split(',').map(move |attribute| (name.clone(), attribute.to_owned())).collect::<Vec<_>>()
    });
    attributes.collect()
}

/// The name of an object with these tags.
fn object(name: String, tags: &[&str]) -> String {
    let tags = tags.iter().map(|tag| if tag.contains('=') { format!(",{tag}") } else { format!(",{tag}=*") });
    name + &tags.collect::<String>()
}

fn ours() -> BTreeSet<Attribute> {
    let mut ours = BTreeSet::new();
    for Mbean { domain, kind, name, tags, shape, .. } in MBEANS {
        let attributes: &[&str] = match shape {
            Shape::Meter => &["Count"],
            Shape::Gauge => &["Value"],
            Shape::MeanRate => &["MeanRate"],
            Shape::Histogram => &[
                "Count",
                "50thPercentile",
                "75thPercentile",
                "95thPercentile",
                "98thPercentile",
                "99thPercentile",
                "999thPercentile",
            ],
        };
        let of_all = (*tags == ["topic"]).then_some(&[] as &[&str]);
        for tags in of_all.into_iter().chain([*tags]) {
            let object = object(format!("{domain}:type={kind},name={name}"), tags);
            ours.extend(attributes.iter().map(|attribute| (object.clone(), (*attribute).to_owned())));
        }
    }
    for group in GROUPS {
        let object = object(format!("kafka.server:type={}", group.name), group.tags);
        let of_sensors = group.sensors.iter().flat_map(|sensor| sensor.statistics).map(|statistic| statistic.name);
        let of_gauges = group.gauges.iter().map(|gauge| gauge.name);
        ours.extend(of_sensors.chain(of_gauges).map(|name| (object.clone(), name.to_owned())));
    }
    ours.insert(("kafka.server:type=kafka-metrics-count".to_owned(), "count".to_owned()));
    ours
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

#[test]
fn each_of_kafkas_is_ours_or_has_its_reason() {
    let (ours, recorded) = (ours(), recorded());
    // A topic is only there with what it has had: Apache Kafka was given nothing that it refuses.
    let is_of_a_topic = |(name, _): &&Attribute| name.starts_with("kafka.server:type=BrokerTopicMetrics");
    let unknown: Vec<&Attribute> = ours.difference(&recorded).filter(|one| !is_of_a_topic(one)).collect();
    assert!(unknown.is_empty(), "Kafka has not: {unknown:#?}");

    let lines = include_str!("lacking.txt").lines().filter(|line| !line.starts_with('#'));
    let reasons: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    let mut used = vec![false; reasons.len()];
    let mut without: Vec<&Attribute> = Vec::new();
    for one in recorded.difference(&ours) {
        let explains = |reason: &Vec<&str>| {
            fits(reason[0], &one.0) && reason[1].split(',').any(|attribute| fits(attribute, &one.1))
        };
        match reasons.iter().position(explains) {
            Some(at) => used[at] = true,
            None => without.push(one),
        }
    }
    assert!(without.is_empty(), "neither ours nor with a reason: {without:#?}");
    let unused: Vec<_> = reasons.iter().zip(used).filter(|(_, used)| !used).map(|(reason, _)| reason).collect();
    assert!(unused.is_empty(), "a reason for nothing: {unused:#?}");
    assert!(reasons.iter().all(|reason| reason.len() == 3 && !reason[2].is_empty()), "a line without a reason");
}

#[test]
fn what_is_defined_is_told() {
    let broker = start();
    let mut client = Client::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, &["a"]);
    let text = broker.metrics();
    for mbean in MBEANS {
        let family = mbean.family();
        let samples = text.lines().filter(|line| line.starts_with(&family)).count();
        assert!(samples > 0, "{family} is not in the text");
    }
}
