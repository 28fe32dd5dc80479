//! Exactly once: all running tasks have one transaction.

use super::*;

fn running(partitions: &[i32]) -> Bench {
    Bench::running_with(Guarantee::ExactlyOnce, partitions)
}

#[test]
fn a_commit_has_the_same_steps_in_the_same_order() {
    let mut bench = running(&[0, 1]);
    let both = vec![task(0), task(1)];
    assert_eq!(bench.on(wanted()), [Step::Flush(both.clone())]);
    assert_eq!(bench.on(Event::Flushed(Anew::default())), [Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(both.clone())]);
    assert_eq!(bench.committed(&[0, 1]), [Step::Checkpoint(both)]);
}

#[test]
fn where_one_task_begins_anew_all_do_and_nothing_is_committed() {
    type Fails = fn(Anew) -> Event;
    let cases: [(&[Event], Fails); 3] = [
        (&[], Event::BeginAnew),
        (&[wanted()], Event::Flushed),
        (&[wanted(), Event::Flushed(Anew::default())], Event::Delivered),
    ];
    for (before, fails) in cases {
        let mut bench = running(&[0, 1]);
        before.iter().for_each(|event| drop(bench.on(event.clone())));
        assert_eq!(bench.on(fails(error(&[1]))), [Step::Discard, begun_anew(0), begun_anew(1)]);
        // The other is at work again at once; the one that failed after its pause.
        assert_eq!(bench.on(make_pending()), [make(0)]);
        bench.on(Event::Made { task: task(0), complete: true });
        assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.on(make_pending()), [make(1)]);
    }
}

#[test]
fn a_task_that_has_written_nothing_begins_anew_alone() {
    let mut bench = Bench::with(Guarantee::ExactlyOnce);
    bench.on(assigned(&[0, 1]));
    bench.on(Event::Made { task: task(0), complete: true });
    bench.on(Event::Made { task: task(1), complete: false });
    assert_eq!(bench.on(damaged(1)), [begun_anew(1)]);
    assert_eq!(bench.working(), [task(0)]);
    // And one that still restores is not disturbed by the others.
    bench.on(make_pending());
    bench.on(Event::Made { task: task(1), complete: false });
    assert_eq!(bench.on(damaged(0)), [Step::Discard, begun_anew(0)]);
    assert_eq!(bench.on(Event::Restored(task(1))), [Step::Start(task(1))]);
}

/// Stores are told nothing: where the commit has arrived all the same, the tasks hear of it when they are made again.
#[test]
fn a_commit_whose_end_is_not_known_has_all_tasks_begin_anew() {
    let mut bench = running(&[0, 1]);
    bench.on(wanted());
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    let steps = bench.on(Event::NotCommitted(Some(timed_out())));
    assert_eq!(steps, [Step::Discard, begun_anew(0), begun_anew(1)]);
    assert_eq!(bench.on(make_pending()), []);
    bench.now += Duration::from_millis(150);
    assert_eq!(bench.begin_all(), [make(0), make(1)]);
}

#[test]
fn a_commit_that_never_comes_to_an_end_ends_the_thread_after_its_time() {
    let mut bench = running(&[0]);
    let begun = bench.now;
    let failed = loop {
        bench.on(wanted());
        bench.on(Event::Flushed(Anew::default()));
        bench.on(Event::Delivered(Anew::default()));
        let steps = bench.on(Event::NotCommitted(Some(timed_out())));
        if let Some(Step::Fail { task, .. }) = steps.last() {
            break *task;
        }
        bench.now += Duration::from_secs(15);
        assert!(bench.now - begun < 2 * TIMEOUT, "it goes on for ever");
        assert_eq!(bench.on(make_pending()), [make(0)]);
        bench.on(Event::Made { task: task(0), complete: true });
    };
    assert_eq!(failed, task(0));
    assert!(bench.now - begun > TIMEOUT);
}

#[test]
fn revoked_tasks_that_could_not_be_committed_are_given_up_and_the_others_wait() {
    for event in [Event::NotCommitted(Some(timed_out())), Event::Delivered(error(&[0]))] {
        let mut bench = Bench::with(Guarantee::ExactlyOnce);
        bench.on(assigned(&[0, 1]));
        bench.on(Event::Made { task: task(0), complete: true });
        bench.on(Event::Made { task: task(1), complete: false });
        bench.on(revoked(&[0, 1]));
        bench.on(Event::Flushed(Anew::default()));
        if matches!(event, Event::NotCommitted(_)) {
            bench.on(Event::Delivered(Anew::default()));
        }
        let steps = bench.on(event);
        assert_eq!(steps, [Step::Discard, abandoned(0), Step::Discard, Step::Suspend(task(1))]);
        assert_eq!(bench.on(assigned(&[0])), [Step::Close(task(1)), pause(0)]);
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.on(make_pending()), [make(0)]);
    }
}

#[test]
fn a_thread_that_ends_without_its_commit_aborts() {
    let mut bench = running(&[0, 1]);
    bench.on(Event::Close(Session::Member));
    let steps = bench.on(Event::Flushed(error(&[0])));
    assert_eq!(steps, [Step::Discard, abandoned(0), abandoned(1)]);
    assert_eq!(running(&[0]).on(Event::GiveUp), [Step::Discard, abandoned(0)]);
    assert_eq!(running(&[0]).on(Event::Lost), [Step::Discard, abandoned(0)]);
    assert_eq!(running(&[0]).on(Event::Migrated), [Step::Discard, abandoned(0), Step::Rejoin]);
}

/// Its offsets would be refused by the group; so it is not even tried.
#[test]
fn a_zombie_whose_partitions_are_revoked_aborts() {
    let steps = running(&[0]).on(revoked_in(Session::Unknown, &[0]));
    assert_eq!(steps, [Step::Discard, abandoned(0), Step::Discard]);
}

#[test]
fn what_a_store_cannot_keep_of_a_commit_is_read_again() {
    let mut bench = running(&[0, 1]);
    bench.on(wanted());
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    bench.committed(&[0, 1]);
    assert_eq!(bench.on(damaged(0)), [Step::Discard, begun_anew(0), begun_anew(1)]);
    assert_eq!(bench.begin_all(), [make(0), make(1)]);
}
