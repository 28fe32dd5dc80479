//! What is asked about streams groups.

use vltava_protocol::messages::StreamsGroupDescribeRequest;
use vltava_protocol::messages::streams_group_heartbeat_request::TopicInfo;

use super::Asking;
use crate::consumer_groups::ONE;
use crate::streams_groups;

pub(super) fn streams_group_heartbeat(a: &mut Asking<'_>, version: i16) -> String {
    let request = streams_groups::join("s", ONE, streams_groups::reader("t"));
    a.ask(version, &request, |answer| answer.member_epoch = 0)
}

pub(super) fn streams_group_that_wants_topics(a: &mut Asking<'_>, version: i16) -> String {
    let mut topology = streams_groups::reader("t");
    // It cannot be made: there are not that many brokers.
    let changelog = TopicInfo { name: "wanted".to_owned(), replication_factor: 9, ..Default::default() };
    topology.subtopologies[0].state_changelog_topics.push(changelog);
    let request = streams_groups::join("wants", ONE, topology);
    a.ask(version, &request, |answer| {
        answer.member_epoch = 0;
        for status in answer.status.iter_mut().flatten() {
            // It comes some time after.
            status.status_detail.truncate(status.status_detail.find("; Creation failed").unwrap_or(usize::MAX));
        }
    })
}

pub(super) fn streams_group_describe(a: &mut Asking<'_>, version: i16) -> String {
    // The member is to live on.
    a.session.quietly(0, &streams_groups::join("s", ONE, streams_groups::reader("t")));
    let request = StreamsGroupDescribeRequest {
        group_ids: vec!["s".to_owned(), "missing".to_owned()],
        include_authorized_operations: true,
        ..Default::default()
    };
    a.ask(version, &request, |answer| {
        streams_groups::in_order(answer);
        for group in &mut answer.groups {
            (group.group_epoch, group.assignment_epoch) = (0, 0);
            group.members.iter_mut().for_each(|member| member.member_epoch = 0);
        }
    })
}
