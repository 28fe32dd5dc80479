//! The machine by table: what has happened, and the steps that follow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use vltava_client::{ClientError, TopicPartition};

use super::{Anew, Assignment, Event, Machine, Reason, Session, Step};
use crate::{config::Guarantee, task::TaskId};

const TIMEOUT: Duration = Duration::from_secs(300);

fn task(partition: i32) -> TaskId {
    TaskId { subtopology: 0, partition }
}

fn assignment(partitions: &[i32]) -> BTreeMap<TaskId, Vec<TopicPartition>> {
    partitions.iter().map(|p| (task(*p), vec![TopicPartition::new("in", *p)])).collect()
}

fn assigned(partitions: &[i32]) -> Event {
    with_standbys(partitions, &[])
}

fn with_standbys(partitions: &[i32], standbys: &[i32]) -> Event {
    let standbys = standbys.iter().map(|partition| task(*partition)).collect();
    Event::Assigned(Assignment { tasks: assignment(partitions), standbys })
}

fn revoked(partitions: &[i32]) -> Event {
    revoked_in(Session::Member, partitions)
}

fn revoked_in(session: Session, partitions: &[i32]) -> Event {
    Event::Revoked { tasks: assignment(partitions).into_keys().collect(), session }
}

/// A commit that is due.
fn wanted() -> Event {
    wanted_in(Session::Member)
}

fn wanted_in(session: Session) -> Event {
    Event::Commit { session, urgent: false }
}

fn make_pending() -> Event {
    Event::MakePending(Session::Member)
}

fn make(partition: i32) -> Step {
    Step::Make(task(partition), vec![TopicPartition::new("in", partition)])
}

fn pause(partition: i32) -> Step {
    Step::Pause(task(partition), vec![TopicPartition::new("in", partition)])
}

fn timed_out() -> ClientError {
    ClientError::Timeout { what: "something".into(), after: Duration::from_secs(1) }
}

fn error(tasks: &[i32]) -> Anew {
    tasks.iter().map(|p| (task(*p), Reason::Passing(timed_out()))).collect()
}

fn damaged(partition: i32) -> Event {
    Event::BeginAnew(Anew::from_iter([(task(partition), Reason::Damaged)]))
}

struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(Guarantee::AtLeastOnce)
    }

    fn with(guarantee: Guarantee) -> Self {
        Bench { machine: Machine::new(guarantee, TIMEOUT), now: Instant::now() }
    }

    /// With tasks that run.
    fn running(partitions: &[i32]) -> Self {
        Self::running_with(Guarantee::AtLeastOnce, partitions)
    }

    fn running_with(guarantee: Guarantee, partitions: &[i32]) -> Self {
        let mut bench = Self::with(guarantee);
        bench.on(assigned(partitions));
        bench.begin_all();
        for partition in partitions {
            bench.on(Event::Made { task: task(*partition), complete: true });
        }
        assert!(bench.machine.all_running());
        bench
    }

    /// The steps that follow from an event, none of them answered.
    fn on(&mut self, event: Event) -> Vec<Step> {
        self.machine.on(event, self.now);
        std::iter::from_fn(|| self.machine.next_step()).collect()
    }

    /// What is begun in so many turns as there is something to begin with.
    fn begin_all(&mut self) -> Vec<Step> {
        let mut begun = Vec::new();
        loop {
            let steps = self.on(make_pending());
            if steps.is_empty() {
                return begun;
            }
            begun.extend(steps);
        }
    }

    fn committed(&mut self, tasks: &[i32]) -> Vec<Step> {
        self.on(Event::Committed { advanced: tasks.iter().map(|p| task(*p)).collect() })
    }

    fn working(&self) -> Vec<TaskId> {
        self.machine.working().collect()
    }

    fn tasks(&self) -> Vec<TaskId> {
        self.machine.tasks.keys().copied().collect()
    }
}

fn abandoned(partition: i32) -> Step {
    Step::Abandon { task: task(partition), rewind: false }
}

fn begun_anew(partition: i32) -> Step {
    Step::Abandon { task: task(partition), rewind: true }
}

#[test]
fn a_task_is_made_restored_and_started() {
    let mut bench = Bench::new();
    assert_eq!(bench.on(assigned(&[0, 1])), [pause(0), pause(1)]);
    assert_eq!(bench.on(make_pending()), [make(0)]);
    assert_eq!(bench.on(make_pending()), [make(1)]);
    assert_eq!(bench.on(make_pending()), [], "both are being made");
    assert!(!bench.machine.has_pending(bench.now) && !bench.machine.all_running());
    assert_eq!(bench.working(), []);
    assert_eq!(bench.on(Event::Made { task: task(0), complete: true }), [Step::Start(task(0))]);
    assert_eq!(bench.on(Event::Made { task: task(1), complete: false }), []);
    assert!(!bench.machine.all_running());
    assert_eq!(bench.working(), [task(0)]);
    assert_eq!(bench.on(Event::Restored(task(1))), [Step::Start(task(1))]);
    assert!(bench.machine.all_running());
}

#[test]
fn a_directory_of_another_thread_is_waited_for_and_others_do_not_wait_for_it() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0, 1]));
    assert_eq!(bench.on(make_pending()), [make(0)]);
    assert_eq!(bench.on(Event::Busy(task(0))), []);
    assert!(bench.machine.has_pending(bench.now));
    assert_eq!(bench.on(make_pending()), [make(1)]);
    assert_eq!(bench.on(make_pending()), [make(0)]);
}

#[test]
fn tasks_that_are_there_go_on_while_others_are_made() {
    let mut bench = Bench::running(&[0]);
    bench.on(assigned(&[0, 1]));
    assert_eq!(bench.on(make_pending()), [make(1)]);
    assert_eq!(bench.working(), [task(0)]);
    assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
    bench.on(Event::Made { task: task(1), complete: true });
    // It has no part in a commit that began before it.
    bench.on(Event::Flushed(Anew::default()));
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(vec![task(0)])]);
}

/// Whatever takes it away, and what is told late of it counts for nothing.
#[test]
fn what_is_being_made_is_given_up_where_it_goes() {
    let cases: [(Event, &[Step]); 6] = [
        (revoked(&[0]), &[Step::Unmake(task(0)), Step::Discard]),
        (assigned(&[]), &[Step::Unmake(task(0))]),
        (Event::Lost, &[Step::Discard, Step::Unmake(task(0))]),
        (Event::Migrated, &[Step::Discard, Step::Unmake(task(0)), Step::Rejoin]),
        (Event::Close(Session::Member), &[Step::Unmake(task(0))]),
        (Event::GiveUp, &[Step::Unmake(task(0))]),
    ];
    for (event, steps) in cases {
        let mut bench = Bench::new();
        bench.on(assigned(&[0]));
        bench.begin_all();
        assert_eq!(bench.on(event), steps);
        assert_eq!(bench.on(Event::Made { task: task(0), complete: true }), []);
        assert_eq!(bench.tasks(), []);
        assert_eq!(bench.on(make_pending()), []);
    }
}

#[test]
fn what_is_being_made_goes_on_to_be_with_an_assignment_that_has_it() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0]));
    bench.begin_all();
    assert_eq!(bench.on(assigned(&[0, 1])), [pause(1)]);
    assert_eq!(bench.begin_all(), [make(1)]);
    assert_eq!(bench.on(Event::Made { task: task(0), complete: true }), [Step::Start(task(0))]);
    // With other partitions it is another task.
    let wider = vec![TopicPartition::new("in", 1), TopicPartition::new("other", 1)];
    let mut tasks = assignment(&[0]);
    tasks.insert(task(1), wider.clone());
    let steps = bench.on(Event::Assigned(Assignment { tasks, standbys: BTreeSet::new() }));
    assert_eq!(steps, [Step::Unmake(task(1)), Step::Pause(task(1), wider.clone())]);
    assert_eq!(bench.begin_all(), [Step::Make(task(1), wider)]);
}

#[test]
fn a_task_that_was_not_made_before_its_partitions_were_revoked_is_not_made_after_that() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0]));
    bench.on(make_pending());
    bench.on(Event::Busy(task(0)));
    bench.on(revoked(&[0]));
    assert_eq!(bench.on(make_pending()), []);
}

#[test]
fn a_commit_is_flushed_delivered_committed_and_kept_in_this_order() {
    let mut bench = Bench::running(&[0, 1]);
    let both = vec![task(0), task(1)];
    assert_eq!(bench.on(wanted()), [Step::Flush(both.clone())]);
    assert_eq!(bench.on(Event::Flushed(Anew::default())), [Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(both.clone())]);
    assert_eq!(bench.committed(&[0, 1]), [Step::Checkpoint(both)]);
    assert!(!bench.machine.owes_commit());
}

#[test]
fn a_task_that_begins_anew_in_the_midst_of_a_commit_has_no_part_in_it() {
    let mut bench = Bench::running(&[0, 1, 2]);
    bench.on(wanted());
    assert_eq!(bench.on(Event::Flushed(error(&[0]))), [begun_anew(0), Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(error(&[2]))), [begun_anew(2), Step::Commit(vec![task(1)])]);
    assert_eq!(bench.committed(&[1]), [Step::Checkpoint(vec![task(1)])]);
    assert_eq!(bench.working(), [task(1)]);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.begin_all(), [make(0), make(2)]);
}

#[test]
fn lost_tasks_are_given_up_without_a_flush() {
    let mut bench = Bench::running(&[0, 1]);
    assert_eq!(bench.on(Event::Lost), [Step::Discard, abandoned(0), abandoned(1)]);
    assert_eq!(bench.on(make_pending()), []);
    assert_eq!(bench.on(assigned(&[1])), [pause(1)]);
}

#[test]
fn a_thread_that_was_fenced_gives_its_tasks_up_and_joins_again() {
    let mut bench = Bench::running(&[0]);
    bench.on(wanted());
    assert_eq!(bench.on(Event::Migrated), [Step::Discard, abandoned(0), Step::Rejoin]);
    assert!(!bench.machine.is_assigned());
    // Nothing of the commit is left.
    assert_eq!(bench.on(Event::Delivered(Anew::default())), []);
}

#[test]
fn a_zombie_flushes_nothing_and_waits_until_the_group_has_answered() {
    let mut bench = Bench::running(&[0]);
    assert_eq!(bench.on(Event::Tick(Session::Unknown)), []);
    assert!(bench.machine.is_held());
    assert_eq!(bench.working(), []);
    assert_eq!(bench.on(wanted_in(Session::Unknown)), []);
    assert!(bench.machine.owes_commit());
    // It is still a member.
    bench.on(Event::Tick(Session::Member));
    assert_eq!(bench.working(), [task(0)]);
    assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
}

#[test]
fn a_zombie_whose_partitions_are_revoked_or_that_ends_gives_its_tasks_up() {
    let revoked = Bench::running(&[0]).on(revoked_in(Session::Unknown, &[0]));
    assert_eq!(revoked, [abandoned(0), Step::Discard]);
    let ended = Bench::running(&[0]).on(Event::Close(Session::Unknown));
    assert_eq!(ended, [Step::Discard, abandoned(0)]);
}

/// The group answers: it is still a member, or not.
#[test]
fn a_thread_whose_session_ends_in_the_midst_of_a_commit_keeps_its_tasks_until_the_group_has_answered() {
    for in_session in [true, false] {
        let mut bench = Bench::running(&[0]);
        bench.on(wanted());
        bench.on(Event::Flushed(Anew::default()));
        assert_eq!(bench.on(Event::OutOfSession(Anew::default())), []);
        assert!(bench.machine.owes_commit());
        assert_eq!(bench.working(), []);
        if in_session {
            bench.on(Event::Tick(Session::Member));
            assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
        } else {
            assert_eq!(bench.on(Event::Lost), [Step::Discard, abandoned(0)]);
        }
    }
    let mut bench = Bench::running(&[0]);
    bench.on(revoked(&[0]));
    assert_eq!(bench.on(Event::Flushed(Anew::default())), [Step::Deliver]);
    assert_eq!(bench.on(Event::OutOfSession(Anew::default())), [abandoned(0), Step::Discard]);
}

#[test]
fn a_thread_that_ends_commits_and_closes_its_tasks() {
    let mut bench = Bench::running(&[0]);
    assert_eq!(bench.on(Event::Close(Session::Member)), [Step::Flush(vec![task(0)])]);
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    assert_eq!(bench.committed(&[0]), [Step::Checkpoint(vec![task(0)]), Step::Close(task(0))]);
    let mut bench = Bench::running(&[0]);
    bench.on(Event::Close(Session::Member));
    bench.on(Event::Flushed(Anew::default()));
    bench.on(Event::Delivered(Anew::default()));
    assert_eq!(bench.on(Event::NotCommitted(Some(timed_out()))), [Step::Discard, abandoned(0)]);
}

#[test]
fn a_commit_that_timed_out_is_tried_again_after_a_pause() {
    let mut bench = Bench::running(&[0]);
    let fail = |bench: &mut Bench| {
        assert_eq!(bench.on(wanted()), [Step::Flush(vec![task(0)])]);
        bench.on(Event::Flushed(Anew::default()));
        bench.on(Event::Delivered(Anew::default()));
        bench.on(Event::NotCommitted(Some(timed_out())))
    };
    assert_eq!(fail(&mut bench), []);
    assert_eq!(bench.on(wanted()), []);
    assert!(bench.machine.owes_commit());
    bench.now += Duration::from_secs(1);
    assert_eq!(fail(&mut bench), []);
    // It goes on working meanwhile, and ends when that has taken too long.
    assert_eq!(bench.working(), [task(0)]);
    bench.now += TIMEOUT;
    assert_eq!(fail(&mut bench), [Step::Fail { task: task(0), after: TIMEOUT + Duration::from_secs(1) }]);
    assert!(bench.machine.error_of(task(0)).is_some());
}

#[test]
fn a_task_that_cannot_send_ends_its_thread_after_its_time_unless_it_commits_something_meanwhile() {
    for commits in [false, true] {
        let mut bench = Bench::running(&[0]);
        let begin = bench.now;
        let mut steps = Vec::new();
        while bench.now - begin <= TIMEOUT * 2 && steps.is_empty() {
            bench.now += Duration::from_secs(40);
            steps = bench.on(Event::BeginAnew(error(&[0])));
            steps.retain(|step| *step != begun_anew(0));
            bench.now += Duration::from_secs(40);
            assert_eq!(bench.on(make_pending()), [make(0)]);
            bench.on(Event::Made { task: task(0), complete: true });
            // A commit of nothing is no progress.
            bench.on(wanted());
            bench.on(Event::Flushed(Anew::default()));
            bench.on(Event::Delivered(Anew::default()));
            bench.committed(if commits { &[0] } else { &[] });
        }
        assert_eq!(steps.iter().any(|step| matches!(step, Step::Fail { .. })), !commits, "{steps:?}");
    }
}

#[test]
fn a_task_that_cannot_be_made_is_tried_again_after_a_pause_that_grows() {
    let mut bench = Bench::new();
    bench.on(assigned(&[0, 1]));
    bench.on(Event::Made { task: task(1), complete: true });
    assert_eq!(bench.on(Event::NotMade(task(0), timed_out())), []);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let failed = bench.now;
        while bench.on(make_pending()).is_empty() {
            assert!(!bench.machine.has_pending(bench.now));
            bench.now += Duration::from_millis(100);
        }
        pauses.push((bench.now - failed).as_millis());
        bench.on(Event::NotMade(task(0), timed_out()));
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    // The others work.
    assert_eq!(bench.working(), [task(1)]);
}

#[test]
fn what_a_task_has_suffered_is_forgotten_with_it() {
    let mut bench = Bench::running(&[0]);
    bench.on(Event::BeginAnew(error(&[0])));
    bench.on(revoked(&[0]));
    bench.on(assigned(&[]));
    bench.now += TIMEOUT * 2;
    assert_eq!(bench.on(assigned(&[0])), [pause(0)]);
    assert_eq!(bench.on(Event::NotMade(task(0), timed_out())), []);
}

#[test]
fn a_task_with_a_damaged_store_begins_anew_at_once_and_takes_no_part_in_the_commit() {
    let mut bench = Bench::running(&[0, 1]);
    assert_eq!(bench.on(damaged(0)), [begun_anew(0)]);
    assert!(bench.machine.error_of(task(0)).is_none(), "nothing is wrong with the cluster");
    assert_eq!(bench.on(make_pending()), [make(0)]);
    bench.on(Event::Made { task: task(0), complete: true });
    bench.on(wanted());
    assert_eq!(bench.on(damaged(1)), [begun_anew(1)]);
    assert_eq!(bench.on(Event::Flushed(Anew::default())), [Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(vec![task(0)])]);
}

#[test]
fn a_task_that_begins_anew_while_its_partitions_are_taken_away_is_gone() {
    let mut bench = Bench::running(&[0]);
    bench.on(revoked(&[0]));
    assert_eq!(bench.on(Event::Flushed(error(&[0]))), [abandoned(0), Step::Deliver]);
    assert_eq!(bench.on(Event::Delivered(Anew::default())), [Step::Commit(Vec::new())]);
    assert_eq!(bench.on(Event::Committed { advanced: BTreeSet::new() }), [Step::Discard]);
    assert_eq!(bench.on(make_pending()), []);
}

mod exactly_once;
mod rebalances;
mod standbys;
