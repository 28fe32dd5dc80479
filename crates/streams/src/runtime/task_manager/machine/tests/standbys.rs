//! Standbys: made, followed, promoted, given back.

use super::*;

/// With tasks that run, and standbys that follow.
fn following(partitions: &[i32], standbys: &[i32]) -> Bench {
    let mut bench = Bench::new();
    bench.on(with_standbys(partitions, standbys));
    for partition in partitions {
        assert_eq!(bench.on(make_pending()), [make(*partition)]);
        bench.on(Event::Made { task: task(*partition), complete: true });
    }
    for partition in standbys {
        assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(*partition))]);
        assert_eq!(bench.on(Event::StandbyMade(task(*partition))), []);
    }
    assert!(!bench.machine.has_pending_standbys(bench.now));
    bench
}

fn commit(bench: &mut Bench) -> Vec<Step> {
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    bench.committed(&[])
}

#[test]
fn a_standby_is_made_when_tasks_have_been_and_is_nothing_they_wait_for() {
    let mut bench = Bench::new();
    assert_eq!(bench.on(with_standbys(&[0], &[1, 2])), [pause(0)]);
    bench.on(Event::Made { task: task(0), complete: true });
    assert!(bench.machine.all_running());
    assert!(bench.machine.has_pending_standbys(bench.now));
    // One in a turn, and another one if that is busy.
    for partition in [1, 2, 1, 2] {
        assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(partition))]);
        if partition == 1 {
            bench.on(Event::Busy(task(partition)));
        } else {
            bench.on(Event::NotMade(task(partition), timed_out()));
            bench.now += Duration::from_secs(1);
        }
    }
    assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(1))]);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(2))]);
    bench.on(Event::StandbyMade(task(2)));
    bench.on(Event::StandbyMade(task(1)));
    assert_eq!(bench.on(make_pending()), []);
    assert_eq!(bench.working(), [task(0)]);
}

#[test]
fn standbys_are_checkpointed_with_each_commit_that_is_wanted_whatever_comes_of_it() {
    for session in [Session::Member, Session::Rebalancing, Session::Unknown] {
        let mut bench = following(&[0], &[1, 2]);
        let steps = bench.on(wanted_in(session));
        assert_eq!(steps[0], Step::CheckpointStandbys(vec![task(1), task(2)]));
        assert_eq!(steps.get(1), (session == Session::Member).then(|| Step::Flush(vec![task(0)])).as_ref());
    }
    let mut bench = following(&[], &[1]);
    assert_eq!(bench.on(wanted()), [Step::CheckpointStandbys(vec![task(1)])]);
}

#[test]
fn what_is_revoked_or_lost_does_not_stop_a_standby() {
    let mut bench = following(&[0], &[1]);
    assert_eq!(bench.on(Event::Lost), [Step::Discard, abandoned(0)]);
    assert_eq!(bench.on(with_standbys(&[0], &[1])), [pause(0)]);
    bench.on(Event::Made { task: task(0), complete: true });
    bench.on(revoked(&[0]));
    assert_eq!(commit(&mut bench), [Step::Checkpoint(vec![task(0)]), Step::Discard, Step::Suspend(task(0))]);
    assert_eq!(bench.on(with_standbys(&[], &[1])), [Step::Close(task(0))]);
    assert_eq!(bench.on(with_standbys(&[0], &[1])), [pause(0)]);
    bench.on(Event::Made { task: task(0), complete: true });
    assert_eq!(bench.on(Event::Migrated), [Step::Discard, abandoned(0), Step::Rejoin]);
    assert_eq!(
        bench.on(Event::Commit { session: Session::Unknown, urgent: false }),
        [Step::CheckpointStandbys(vec![task(1)])]
    );
}

#[test]
fn a_standby_that_becomes_active_gives_its_stores_to_the_task_that_is_made() {
    let mut bench = following(&[0], &[1, 2]);
    assert_eq!(bench.on(with_standbys(&[0, 1], &[2])), [pause(1)]);
    // Until it is its turn it is what it was.
    assert_eq!(
        bench.on(Event::Commit { session: Session::Rebalancing, urgent: false }),
        [Step::CheckpointStandbys(vec![task(1), task(2)])]
    );
    assert_eq!(bench.on(make_pending()), [Step::Recycle(task(1)), make(1)]);
    bench.on(Event::Made { task: task(1), complete: true });
    assert_eq!(bench.working(), [task(0), task(1)]);
    assert_eq!(bench.on(wanted())[0], Step::CheckpointStandbys(vec![task(2)]));
}

#[test]
fn a_standby_whose_stores_are_of_no_use_is_nothing_to_be_promoted() {
    let mut bench = following(&[0], &[1]);
    bench.on(with_standbys(&[0, 1], &[]));
    assert_eq!(bench.on(Event::StandbysAnew([task(1)].into())), [Step::AbandonStandby(task(1))]);
    assert_eq!(bench.begin_all(), [make(1)]);
}

/// Not as long as nothing else is known: it may come back to what it was.
#[test]
fn a_standby_that_was_to_be_promoted_and_is_not_stays_or_is_closed() {
    for (standbys, steps) in [(&[1][..], vec![]), (&[][..], vec![Step::CloseStandby(task(1))])] {
        let mut bench = following(&[0], &[1]);
        bench.on(with_standbys(&[0, 1], &[]));
        assert_eq!(bench.on(revoked(&[1])), [Step::Flush(vec![task(0)])]);
        commit(&mut bench);
        assert_eq!(bench.on(with_standbys(&[0], standbys)), steps);
        assert_eq!(bench.begin_all(), []);
    }
}

#[test]
fn a_standby_that_is_being_made_is_given_up_where_it_goes() {
    for event in [with_standbys(&[], &[]), assigned(&[1]), Event::Close(Session::Member), Event::GiveUp] {
        let mut bench = Bench::new();
        bench.on(with_standbys(&[], &[1]));
        assert_eq!(bench.begin_all(), [Step::MakeStandby(task(1))]);
        assert_eq!(bench.on(event)[0], Step::Unmake(task(1)));
        assert_eq!(bench.on(Event::StandbyMade(task(1))), []);
    }
}

#[test]
fn a_standby_that_was_not_made_yet_is_nothing_to_be_promoted() {
    let mut bench = Bench::new();
    bench.on(with_standbys(&[], &[1]));
    assert_eq!(bench.on(assigned(&[1])), [pause(1)]);
    assert_eq!(bench.on(Event::StandbyMade(task(1))), []);
    assert!(!bench.machine.has_pending_standbys(bench.now));
}

#[test]
fn an_active_task_that_becomes_a_standby_keeps_its_stores() {
    let mut bench = following(&[0, 1], &[]);
    bench.on(revoked(&[1]));
    commit(&mut bench);
    let steps = bench.on(with_standbys(&[0], &[1]));
    assert_eq!(steps, [Step::Recycle(task(1)), Step::MakeStandby(task(1))]);
    bench.on(Event::StandbyMade(task(1)));
    assert_eq!(bench.tasks(), [task(0)]);
    assert!(!bench.machine.has_pending_standbys(bench.now));
}

#[test]
fn a_standby_that_goes_to_another_is_closed() {
    let mut bench = following(&[0], &[1, 2]);
    assert_eq!(bench.on(with_standbys(&[0], &[2])), [Step::CloseStandby(task(1))]);
}

#[test]
fn a_standby_is_tried_again_for_as_long_as_it_takes() {
    let mut bench = Bench::new();
    bench.on(with_standbys(&[0], &[1]));
    bench.on(Event::Made { task: task(0), complete: true });
    assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(1))]);
    for _ in 0..100 {
        assert_eq!(bench.on(Event::NotMade(task(1), timed_out())), []);
        assert_eq!(bench.on(make_pending()), [], "there is a pause");
        bench.now += TIMEOUT;
        assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(1))]);
    }
    bench.on(Event::StandbyMade(task(1)));
    for _ in 0..100 {
        bench.now += TIMEOUT;
        assert_eq!(bench.on(Event::NotFollowing(task(1), timed_out())), []);
    }
    assert_eq!(bench.working(), [task(0)]);
    assert!(bench.machine.all_running());
}

#[test]
fn a_standby_whose_stores_are_of_no_use_is_made_anew() {
    let mut bench = following(&[0], &[1, 2]);
    let anew = || Event::StandbysAnew([task(1), task(7)].into());
    assert_eq!(bench.on(anew()), [Step::AbandonStandby(task(1))]);
    assert_eq!(bench.on(anew()), [], "once");
    assert_eq!(bench.on(wanted())[0], Step::CheckpointStandbys(vec![task(2)]));
    assert_eq!(bench.on(make_pending()), [Step::MakeStandby(task(1))]);
}

#[test]
fn a_thread_that_ends_closes_its_standbys_or_gives_them_up() {
    let mut bench = following(&[0], &[1]);
    assert_eq!(bench.on(Event::Close(Session::Member)), [Step::CloseStandby(task(1)), Step::Flush(vec![task(0)])]);
    let mut bench = following(&[0], &[1]);
    assert_eq!(bench.on(Event::GiveUp), [abandoned(0), Step::AbandonStandby(task(1))]);
    assert_eq!(bench.on(make_pending()), []);
}
