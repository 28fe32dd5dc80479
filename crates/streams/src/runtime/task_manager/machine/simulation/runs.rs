//! Many seeds, and what a broken rule comes to.

use super::{Broken, Coordinator, Seen, World};
use crate::config::Guarantee;

fn run(seed: u64, guarantee: Guarantee, broken: Broken) -> Seen {
    let mut world = World::new(seed, guarantee, broken);
    for _ in 0..2500 {
        world.act();
        world.check();
    }
    world.settle();
    Seen { rebalances: world.group.rebalances, ..world.seen }
}

#[test]
fn no_record_is_lost_and_no_task_is_in_two_places_whatever_happens() {
    run_many(Guarantee::AtLeastOnce);
}

#[test]
fn the_result_of_each_record_is_committed_once_whatever_happens() {
    run_many(Guarantee::ExactlyOnce);
}

fn run_many(guarantee: Guarantee) {
    let number = |key: &str| std::env::var(key).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("MACHINE_SEED") {
        run(seed, guarantee, Broken::Nothing);
        return;
    }
    let first = number("MACHINE_FIRST").unwrap_or(0);
    let seeds = first..first + number("MACHINE_SEEDS").unwrap_or(300);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |thread| {
        let seeds = seeds.clone().skip(thread).step_by(threads);
        seeds.map(|seed| run_or_tell(seed, guarantee)).fold(Seen::default(), Seen::and)
    };
    let seen = std::thread::scope(|scope| {
        let share = &share;
        let shares: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        let done = shares.into_iter().map(|share| share.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
        done.fold(Seen::default(), Seen::and)
    });
    let Seen { rebalances, promoted, stayed, meanwhile } = seen;
    assert!(promoted >= rebalances / 40, "only {promoted} standbys have taken over: {seen:?}");
    assert!(stayed >= rebalances / 3, "only {stayed} tasks have stayed: {seen:?}");
    assert!(meanwhile >= rebalances, "only {meanwhile} records were processed in rebalances: {seen:?}");
    let wanted = number("MACHINE_REBALANCES").unwrap_or(seeds.end - first);
    assert!(rebalances >= wanted, "only {rebalances} rebalances");
}

fn run_or_tell(seed: u64, guarantee: Guarantee) -> Seen {
    std::panic::catch_unwind(|| run(seed, guarantee, Broken::Nothing)).unwrap_or_else(|why| {
        let why = crate::guard::panicked(&*why);
        panic!(
            "{guarantee:?}, seed {seed}: {why}\nMACHINE_SEED={seed} cargo test -p vltava-streams --lib machine::simulation"
        )
    })
}

const NOTHING: &str = "nothing is found";

/// The first complaint of the simulation where a rule is broken.
fn found(guarantee: Guarantee, broken: Broken) -> String {
    let found = (0..400).find_map(|seed| std::panic::catch_unwind(|| run(seed, guarantee, broken)).err());
    found.map_or_else(|| NOTHING.to_owned(), |why| crate::guard::panicked(&*why).to_string())
}

#[test]
fn what_breaks_a_rule_of_those_that_were_away_is_found() {
    let cases = [(Broken::Session, "writing"), (Broken::Discard, "writ")];
    for (broken, what) in cases {
        let why = found(Guarantee::AtLeastOnce, broken);
        assert!(why.contains(what), "{broken:?}: {why}");
    }
}

#[test]
fn what_breaks_a_rule_of_cooperative_rebalances_is_found() {
    let cases = [
        (Broken::Join, "writing"),
        (Broken::GivenAtOnce, "active twice"),
        (Broken::NotGivenUp, "not worked off"),
        (Broken::FollowUp, "not worked off"),
        (Broken::Revoke, ""),
    ];
    for (broken, what) in cases {
        let why = found(Guarantee::AtLeastOnce, broken);
        assert!(why.contains(what) && why != NOTHING, "{broken:?}: {why}");
    }
}

#[test]
fn what_breaks_a_rule_of_tasks_that_are_being_made_is_found() {
    let cases =
        [(Broken::Pause, "are read before it is made"), (Broken::Unmake, ""), (Broken::OffsetsBefore, "goes back")];
    for (broken, what) in cases {
        let why = found(Guarantee::AtLeastOnce, broken);
        assert!(why.contains(what) && why != NOTHING, "{broken:?}: {why}");
    }
}

#[test]
fn what_breaks_a_rule_of_transactions_is_found() {
    let complaints = Broken::TRANSACTIONS.map(|broken| (broken, found(Guarantee::ExactlyOnce, broken)));
    let is_expected = |why: &str| Coordinator::COMPLAINTS.iter().any(|what| why.contains(what));
    let others: Vec<_> = complaints.iter().filter(|(_, why)| !is_expected(why)).collect();
    assert!(others.is_empty(), "{others:#?}");
}
