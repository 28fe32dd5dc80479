//! Standbys for which there are too few processes.

use crate::coordinator::group::streams::assign::{GroupSpec, MemberSpec, SubtopologySpec, sticky};

#[test]
fn standbys_without_a_process_are_counted_once_for_the_group() {
    // Members by process, replicas, and what is missing: 4 of the 6 tasks have stores.
    let cases: [(&[&str], usize, usize); 6] = [
        (&["p"], 0, 0),
        (&["p"], 1, 4),
        (&["p", "p"], 1, 4),
        (&["p", "q"], 1, 0),
        (&["p", "q"], 2, 4),
        (&["p", "q", "r"], 2, 0),
    ];
    for (processes, standby_replicas, missing) in cases {
        let member = |(at, process_id)| (format!("m{at}").into(), MemberSpec { process_id, target: None });
        let spec = GroupSpec {
            members: processes.iter().copied().enumerate().map(member).collect(),
            subtopologies: [(true, "0", 4), (false, "1", 2)]
                .map(|(is_stateful, id, tasks)| (id, SubtopologySpec { tasks, is_stateful }))
                .into(),
            standby_replicas,
        };
        assert_eq!(spec.standbys_without_process(&sticky(&spec)), missing, "{processes:?} {standby_replicas}");
    }
}
