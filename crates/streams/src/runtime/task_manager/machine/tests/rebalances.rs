//! Rebalances: what goes, what stays, and what waits until they are over.

use super::*;

/// The steps of the commit that a revocation begins with, up to the checkpoint.
fn commit(bench: &mut Bench, tasks: &[i32]) -> Vec<Step> {
    let tasks: Vec<TaskId> = tasks.iter().map(|partition| task(*partition)).collect();
    assert_eq!(bench.on(Event::Flushed(Anew::default())), [Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(tasks.clone())]);
    let mut steps = bench.committed(&[]);
    assert_eq!(steps.remove(0), Step::Checkpoint(tasks));
    steps
}

#[test]
fn all_are_committed_those_that_are_revoked_are_suspended_and_closed_and_the_others_never_stop() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let mut bench = Bench::running_with(guarantee, &[0, 1, 2]);
        assert_eq!(bench.on(revoked(&[0])), [Step::Flush(vec![task(0), task(1), task(2)])]);
        assert_eq!(commit(&mut bench, &[0, 1, 2]), [Step::Discard, Step::Suspend(task(0))]);
        assert!(bench.machine.any_suspended());
        assert_eq!(bench.working(), [task(1), task(2)]);
        assert_eq!(bench.on(assigned(&[1, 2, 3])), [Step::Close(task(0)), pause(3)]);
        assert_eq!(bench.working(), [task(1), task(2)]);
    }
}

#[test]
fn what_stays_knows_nothing_of_an_assignment() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0, 1, 2]));
    bench.on(Event::Made { task: task(0), complete: true });
    bench.on(Event::Made { task: task(1), complete: false });
    assert_eq!(bench.on(assigned(&[0, 1, 2])), []);
    assert_eq!(bench.begin_all(), [make(2)]);
    assert_eq!(bench.on(Event::Restored(task(1))), [Step::Start(task(1))]);
}

#[test]
fn who_is_given_nothing_else_to_give_up_commits_nothing() {
    let mut bench = Bench::running(&[0]);
    assert_eq!(bench.on(revoked(&[])), []);
    assert_eq!(bench.on(revoked(&[7])), []);
    assert_eq!(bench.working(), [task(0)]);
}

/// Its files are as of its last commit, and others may have gone on since.
#[test]
fn a_task_that_was_revoked_is_made_again_if_it_comes_back() {
    let mut bench = Bench::running(&[0, 1]);
    bench.on(revoked(&[0]));
    commit(&mut bench, &[0, 1]);
    assert_eq!(bench.on(assigned(&[0, 1])), [Step::Close(task(0)), pause(0)]);
    assert_eq!(bench.working(), [task(1)]);
}

#[test]
fn a_task_whose_stores_are_not_complete_is_suspended_as_it_is() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0]));
    bench.on(Event::Made { task: task(0), complete: false });
    assert_eq!(bench.on(revoked(&[0])), [Step::Discard, Step::Suspend(task(0))]);
    // What is told late of the restoration counts for nothing.
    assert_eq!(bench.on(Event::Restored(task(0))), []);
    assert_eq!(bench.on(assigned(&[])), [Step::Close(task(0))]);
}

/// What it gives up need not have been revoked before.
#[test]
fn an_assignment_commits_first_what_it_takes_away_and_tasks_whose_partitions_are_others() {
    let wider = vec![TopicPartition::new("in", 0), TopicPartition::new("other", 0)];
    let mut with_wider = assignment(&[1]);
    with_wider.insert(task(0), wider.clone());
    let cases = [
        (assignment(&[1]), vec![Step::Close(task(0))]),
        (with_wider, vec![Step::Close(task(0)), Step::Pause(task(0), wider)]),
    ];
    for (tasks, expected) in cases {
        let mut bench = Bench::running(&[0, 1]);
        let standbys = BTreeSet::new();
        let steps = bench.on(Event::Assigned(Assignment { tasks, standbys }));
        assert_eq!(steps, [Step::Flush(vec![task(0), task(1)])]);
        let mut steps = commit(&mut bench, &[0, 1]);
        assert_eq!(steps.drain(..2).collect::<Vec<_>>(), [Step::Discard, Step::Suspend(task(0))]);
        assert_eq!(steps, expected);
        assert_eq!(bench.working(), [task(1)]);
    }
}

#[test]
fn a_revoked_task_whose_offsets_could_not_be_committed_is_given_up_and_the_others_go_on() {
    for error in [None, Some(timed_out())] {
        let mut bench = Bench::running(&[0, 1]);
        bench.on(revoked(&[0]));
        bench.on(Event::Flushed(Anew::default()));
        bench.on(Event::Delivered(Anew::default()));
        assert_eq!(bench.on(Event::NotCommitted(error)), [abandoned(0), Step::Discard]);
        assert_eq!(bench.working(), [task(1)]);
    }
}

/// What they have written may go with the records of the task that is revoked.
#[test]
fn those_that_stay_begin_anew_where_it_is_not_known_whether_what_they_wrote_has_arrived() {
    let mut bench = Bench::running(&[0, 1]);
    bench.on(revoked(&[0]));
    bench.on(Event::Flushed(Anew::default()));
    assert_eq!(bench.on(Event::OutOfSession(Anew::default())), [abandoned(0), begun_anew(1), Step::Discard]);
    let mut bench = Bench::running(&[0, 1]);
    assert_eq!(bench.on(revoked_in(Session::Unknown, &[0])), [abandoned(0), begun_anew(1), Step::Discard]);
}

#[test]
fn a_commit_waits_for_the_end_of_a_rebalance_and_the_tasks_do_not() {
    let mut bench = Bench::running(&[0]);
    bench.on(Event::Tick(Session::Rebalancing));
    assert_eq!(bench.working(), [task(0)]);
    assert!(bench.machine.is_rebalancing() && !bench.machine.is_held() && bench.machine.all_running());
    for urgent in [false, true] {
        assert_eq!(bench.on(Event::Commit { session: Session::Rebalancing, urgent }), []);
        assert!(bench.machine.owes_commit());
    }
    assert_eq!(bench.on(assigned(&[0])), []);
    assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
    commit(&mut bench, &[0]);
    assert!(!bench.machine.owes_commit());
}

#[test]
fn a_task_is_not_made_in_a_rebalance() {
    let mut bench = Bench::new();
    bench.on(with_standbys(&[0], &[1]));
    bench.on(make_pending());
    bench.on(Event::Busy(task(0)));
    assert!(bench.machine.has_pending(bench.now));
    assert_eq!(bench.on(Event::MakePending(Session::Rebalancing)), [Step::MakeStandby(task(1))]);
    assert!(!bench.machine.has_pending(bench.now));
    assert_eq!(bench.on(with_standbys(&[0], &[1])), []);
    assert_eq!(bench.on(make_pending()), [make(0)]);
}

/// Nobody would see its results, and at last the coordinator would abort it.
#[test]
fn exactly_once_a_transaction_that_has_been_open_for_long_is_committed_in_a_rebalance() {
    let mut bench = Bench::running_with(Guarantee::ExactlyOnce, &[0, 1]);
    let both = vec![task(0), task(1)];
    let urgent = || Event::Commit { session: Session::Rebalancing, urgent: true };
    assert_eq!(bench.on(wanted_in(Session::Rebalancing)), []);
    assert_eq!(bench.on(urgent()), [Step::Flush(both)]);
    commit(&mut bench, &[0, 1]);
    // The group has gone on.
    bench.on(urgent());
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    assert_eq!(bench.on(Event::NotCommitted(None)), [Step::Discard, begun_anew(0), begun_anew(1)]);
    assert_eq!(bench.on(Event::MakePending(Session::Rebalancing)), []);
    assert_eq!(bench.on(assigned(&[0])), []);
    assert_eq!(bench.begin_all(), [make(0)]);
}

#[test]
fn exactly_once_what_goes_wrong_with_a_revoked_task_has_the_others_begin_anew() {
    let mut bench = Bench::running_with(Guarantee::ExactlyOnce, &[0, 1]);
    bench.on(revoked(&[0]));
    let steps = bench.on(Event::Flushed(error(&[0])));
    assert_eq!(steps, [Step::Discard, abandoned(0), begun_anew(1), Step::Discard]);
    assert_eq!(bench.on(assigned(&[1])), []);
    assert_eq!(bench.begin_all(), [make(1)]);
}

#[test]
fn a_thread_that_ends_in_a_rebalance_commits_only_in_a_transaction() {
    let at_least_once = Bench::running(&[0]).on(Event::Close(Session::Rebalancing));
    assert_eq!(at_least_once, [Step::Discard, abandoned(0)]);
    let exactly_once = Bench::running_with(Guarantee::ExactlyOnce, &[0]).on(Event::Close(Session::Rebalancing));
    assert_eq!(exactly_once, [Step::Flush(vec![task(0)])]);
}

/// A store that could not keep what was committed is looked after before the assignment.
#[test]
fn an_assignment_waits_for_what_comes_of_the_checkpoint() {
    let mut bench = Bench::running(&[0, 1]);
    let now = bench.now;
    bench.machine.on(assigned(&[1]), now);
    assert_eq!(bench.machine.next_step(), Some(Step::Flush(vec![task(0), task(1)])));
    bench.machine.on(Event::Flushed(Anew::default()), now);
    assert_eq!(bench.machine.next_step(), Some(Step::Deliver));
    bench.machine.on(Event::Delivered(Anew::default()), now);
    assert!(matches!(bench.machine.next_step(), Some(Step::Commit(_))));
    bench.machine.on(Event::Committed { advanced: BTreeSet::new() }, now);
    assert!(matches!(bench.machine.next_step(), Some(Step::Checkpoint(_))));
    bench.machine.on(damaged(0), now);
    let rest: Vec<Step> = std::iter::from_fn(|| bench.machine.next_step()).collect();
    assert_eq!(rest, [Step::Discard, Step::Suspend(task(0)), abandoned(0)]);
}
