//! Topologies and the topics of the cluster.

use super::*;
use crate::coordinator::group::streams::configure::configure;
use crate::coordinator::group::streams::topology::{StreamsTopology, topology_value};
use vltava_protocol::ErrorCode;
use vltava_protocol::messages::streams_group_heartbeat_request::CopartitionGroup;

#[test]
fn a_group_is_ready_when_its_topics_are_there() {
    let mut harness = harness(|_| {});
    let mut topics = TopicTable::new(&[]);
    let mut one = Client::new("one", "p1");
    let heartbeat = send_for_all(&mut harness, &topics, &one.request()).unwrap();
    one.follow(&heartbeat.response);
    assert_eq!(statuses(&heartbeat.response), [(1, "Source topics in are missing.".to_owned())]);
    assert_eq!((heartbeat.missing.len(), group_state(&harness).as_str()), (0, "NotReady"));

    topics.set("in", Some(3));
    harness.advance(1_000);
    let heartbeat = send_for_all(&mut harness, &topics, &one.request()).unwrap();
    one.follow(&heartbeat.response);
    assert_eq!(statuses(&heartbeat.response), [(3, "Internal topics are missing: changelog, repartition".to_owned())]);
    let missing: Vec<_> = heartbeat.missing.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect();
    assert_eq!(missing, [("changelog", 3), ("repartition", 3)]);
    assert_eq!((one.tasks().len(), group_state(&harness).as_str()), (0, "NotReady"));

    topics.set("changelog", Some(3));
    topics.set("repartition", Some(3));
    harness.advance(1_000);
    assert_eq!(statuses(&beat(&mut harness, &topics, &mut one)), []);
    assert_eq!((one.tasks().len(), group_state(&harness).as_str()), (6, "Stable"));

    topics.set("repartition", Some(2));
    harness.advance(1_000);
    let told = statuses(&beat(&mut harness, &topics, &mut one));
    let text = "Existing topic changelog has different number of partitions: expected 2, found 3";
    assert_eq!(told, [(2, text.to_owned())]);
    assert_eq!(group_state(&harness), "NotReady");
    assert_replay_is_equal(&mut harness);
}

#[test]
fn another_topology_than_the_groups_is_refused_and_an_older_one_told() {
    let mut harness = harness(|_| {});
    let topics = all_topics(2);
    let with_epoch = |id: &str, epoch: i32| {
        let mut request = Client::new(id, id).request();
        request.topology.as_mut().unwrap().epoch = epoch;
        request
    };
    send(&mut harness, &topics, &with_epoch("one", 5)).unwrap();
    let stale = send(&mut harness, &topics, &with_epoch("two", 4)).unwrap();
    let text = "The member's topology epoch 4 is behind the group's topology epoch 5.";
    assert!(statuses(&stale).contains(&(0, text.to_owned())), "{stale:?}");
    let refused = send(&mut harness, &topics, &with_epoch("three", 6)).unwrap_err();
    assert_eq!(refused.message.as_deref(), Some("Topology updates are not supported yet."));
}

/// A topology of subtopologies by source topics, repartition sinks, repartition sources with their counts, and groups
/// of topics that are joined.
type Parts<'a> = (&'a [&'a str], &'a [&'a str], &'a [(&'a str, i32)], &'a [(&'a [i16], &'a [i16])]);

fn of(parts: &[Parts<'_>]) -> StreamsTopology {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let subtopologies = parts.iter().enumerate().map(|(id, (sources, sinks, repartition, joined))| Subtopology {
        subtopology_id: id.to_string(),
        source_topics: names(sources),
        repartition_sink_topics: names(sinks),
        repartition_source_topics: repartition
            .iter()
            .map(|(name, partitions)| TopicInfo { partitions: *partitions, ..topic(name) })
            .collect(),
        copartition_groups: joined
            .iter()
            .map(|(sources, repartition)| CopartitionGroup {
                source_topics: sources.to_vec(),
                repartition_source_topics: repartition.to_vec(),
                ..CopartitionGroup::default()
            })
            .collect(),
        ..Subtopology::default()
    });
    let topology = Topology { subtopologies: subtopologies.collect(), ..Topology::default() };
    StreamsTopology::of_record(topology_value(&topology))
}

#[test]
fn counts_follow_what_is_joined_and_where_records_come_from() {
    type Expected<'a> = Result<&'a [(&'a str, i32)], &'a str>;
    let table = TopicTable::new(&[("a", 4), ("b", 2)]);
    let cases: &[(&str, &[Parts<'_>], Expected<'_>)] = &[
        (
            "as many as where it is written",
            &[(&["a"], &["r"], &[], &[]), (&[], &[], &[("r", 0)], &[])],
            Ok(&[("r", 4)]),
        ),
        ("as given", &[(&["a"], &["r"], &[], &[]), (&[], &[], &[("r", 7)], &[])], Ok(&[("r", 7)])),
        (
            "as what it is joined with",
            &[(&["a"], &["r"], &[], &[]), (&["b"], &[], &[("r", 0)], &[(&[0], &[0])])],
            Ok(&[("r", 2)]),
        ),
        (
            "as the larger of two that are joined",
            &[
                (&["a"], &["r"], &[], &[]),
                (&["b"], &["s"], &[], &[]),
                (&[], &[], &[("r", 0), ("s", 0)], &[(&[], &[0, 1])]),
            ],
            Ok(&[("r", 4), ("s", 4)]),
        ),
        (
            "as the one that is given",
            &[
                (&["a"], &["r"], &[], &[]),
                (&["b"], &["s"], &[], &[]),
                (&[], &[], &[("r", 0), ("s", 9)], &[(&[], &[0, 1])]),
            ],
            Ok(&[("r", 9), ("s", 9)]),
        ),
        (
            "given counts that differ",
            &[(&["a", "b"], &["r", "s"], &[], &[]), (&[], &[], &[("r", 3), ("s", 9)], &[(&[], &[0, 1])])],
            Err("Following topics do not have the same number of partitions: [{r=3, s=9}]"),
        ),
        (
            "topics that are joined and differ",
            &[(&["a", "b"], &[], &[], &[(&[0, 1], &[])])],
            Err("Following topics do not have the same number of partitions: [{a=4, b=2}]"),
        ),
        (
            "a given count that differs from what it is joined with",
            &[(&["a"], &["r"], &[], &[]), (&["b"], &[], &[("r", 7)], &[(&[0], &[0])])],
            Err(
                "Number of partitions [7] of repartition topic [r] doesn't match number of partitions [2] of the source topic.",
            ),
        ),
    ];
    for (name, parts, expected) in cases {
        let configured = configure(&of(parts), &table).unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        match expected {
            Ok(expected) => {
                let mut counts: Vec<_> =
                    configured.missing.iter().map(|it| (it.name.as_str(), it.partitions)).collect();
                counts.sort_unstable();
                assert_eq!(counts, *expected, "{name}");
            }
            Err(text) => assert_eq!(configured.problem.unwrap().1, *text, "{name}"),
        }
    }
}

#[test]
fn a_topology_that_cannot_be_is_refused() {
    let table = TopicTable::new(&[("a", 4)]);
    let cases: &[(&[Parts<'_>], ErrorCode, Option<&str>)] = &[
        (
            &[(&[], &["r"], &[("r", 0)], &[])],
            ErrorCode::StreamsInvalidTopology,
            Some(
                "Failed to compute number of partitions for all repartition topics. There may be loops in the topology \
                 that cannot be resolved.",
            ),
        ),
        (
            &[(&["a"], &[], &[("r", 0)], &[])],
            ErrorCode::StreamsInvalidTopology,
            Some(
                "Failed to compute number of partitions for all repartition topics, because a repartition source topic \
                 is never used as a sink topic.",
            ),
        ),
        (&[(&[], &[], &[], &[])], ErrorCode::StreamsInvalidTopology, Some("No source topics found for subtopology 0")),
        (&[(&["a"], &[], &[], &[(&[1], &[])])], ErrorCode::UnknownServerError, None),
        (&[(&["a"], &["r"], &[], &[]), (&[], &[], &[("r", -1)], &[])], ErrorCode::UnknownServerError, None),
    ];
    for (parts, error, text) in cases {
        let refused = configure(&of(parts), &table).unwrap_err();
        assert_eq!((refused.error, refused.message.as_deref()), (*error, *text));
    }
}

#[test]
fn many_missing_topics_are_summed_up() {
    let parts: &[Parts<'_>] = &[(&["e", "d", "c", "b", "a"], &[], &[], &[])];
    let configured = configure(&of(parts), &TopicTable::new(&[])).unwrap();
    assert_eq!(configured.problem.unwrap().1, "Source topics a, b, c and 2 additional topics are missing.");
}
