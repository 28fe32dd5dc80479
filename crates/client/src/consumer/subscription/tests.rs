//! Subscription and positions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn leader(id: i32, epoch: i32) -> LeaderAndEpoch {
    LeaderAndEpoch { leader: Some(id), epoch: Some(epoch) }
}

fn position(offset: i64, epoch: Option<i32>, leader: LeaderAndEpoch) -> FetchPosition {
    FetchPosition { offset, offset_epoch: epoch, leader }
}

fn assigned(policy: AutoOffsetReset, partitions: i32) -> SubscriptionState {
    let mut state = SubscriptionState::new(policy);
    state.assign_manually((0..partitions).map(tp).collect()).unwrap();
    state
}

#[test]
fn modes_exclude_each_other() {
    let mut state = SubscriptionState::new(AutoOffsetReset::Latest);
    assert!(state.subscribe_topics(["t".to_owned()].into()).unwrap());
    assert!(!state.subscribe_topics(["t".to_owned()].into()).unwrap(), "nothing changed");
    assert!(matches!(state.assign_manually(BTreeSet::new()), Err(ClientError::InvalidState { .. })));
    assert!(state.subscribe_pattern(TopicPattern::new("t.*").unwrap()).is_err());
    state.unsubscribe();
    assert!(state.assign_manually([tp(0)].into()).is_ok());
    assert!(state.subscription().is_empty(), "an assignment by hand is no subscription");
}

#[test]
fn patterns_match_whole_names() {
    let mut state = SubscriptionState::new(AutoOffsetReset::Latest);
    state.subscribe_pattern(TopicPattern::new("a|b.").unwrap()).unwrap();
    assert!(state.update_pattern(["a", "aa", "b", "bx", "xbx"].into_iter()));
    assert_eq!(state.subscription(), ["a".to_owned(), "bx".to_owned()].into());
    assert!(!state.update_pattern(["bx", "a"].into_iter()));
    assert!(state.add_matching(["by", "c"].into_iter()));
    assert!(state.subscription().contains("by") && !state.subscription().contains("c"));
    assert!(state.matches_subscription([TopicPartition::new("bz", 0)].iter()));
    assert!(!state.matches_subscription([TopicPartition::new("c", 0)].iter()));
    assert!(TopicPattern::new("(").is_err());
}

#[test]
fn partitions_that_stay_keep_their_positions() {
    let mut state = assigned(AutoOffsetReset::Latest, 2);
    state.get_mut(&tp(0)).unwrap().seek_validated(position(5, None, leader(1, 0)));
    state.assign_manually([tp(0), tp(2)].into()).unwrap();
    assert_eq!(state.get(&tp(0)).unwrap().valid_position().unwrap().offset, 5);
    assert!(state.get(&tp(1)).is_none());
    assert_eq!(state.initializing(), [tp(2)].into());
}

#[test]
fn a_partition_that_comes_back_is_another_one() {
    let mut state = assigned(AutoOffsetReset::Latest, 1);
    let before = state.get(&tp(0)).unwrap().fetch_epoch;
    state.assign_manually(BTreeSet::new()).unwrap();
    state.assign_manually([tp(0)].into()).unwrap();
    assert_ne!(state.get(&tp(0)).unwrap().fetch_epoch, before, "answers to old fetches must not count");
}

#[test]
fn without_offset_and_policy_the_caller_is_told() {
    let mut state = assigned(AutoOffsetReset::None, 2);
    state.get_mut(&tp(1)).unwrap().seek_validated(position(1, None, leader(1, 0)));
    let all = state.assigned();
    match state.reset_initializing(&all) {
        Err(ClientError::NoOffsetForPartition { partitions }) => assert_eq!(partitions, [tp(0)]),
        other => panic!("{other:?}"),
    }
    let mut state = assigned(AutoOffsetReset::Earliest, 1);
    state.reset_initializing(&state.assigned()).unwrap();
    assert_eq!(state.needing_reset(Instant::now()), [(tp(0), AutoOffsetReset::Earliest)]);
}

#[test]
fn a_reset_that_was_overtaken_does_not_move_the_position() {
    let mut state = assigned(AutoOffsetReset::Earliest, 1);
    state.get_mut(&tp(0)).unwrap().reset(AutoOffsetReset::Earliest);
    state.get_mut(&tp(0)).unwrap().reset(AutoOffsetReset::Latest);
    state.complete_reset(&tp(0), AutoOffsetReset::Earliest, position(0, None, leader(1, 0)));
    assert_eq!(state.get(&tp(0)).unwrap().position(), None);
    state.get_mut(&tp(0)).unwrap().seek_validated(position(7, None, leader(1, 0)));
    state.complete_reset(&tp(0), AutoOffsetReset::Latest, position(9, None, leader(1, 0)));
    assert_eq!(state.get(&tp(0)).unwrap().position().unwrap().offset, 7);
}

#[test]
fn look_ups_wait_for_their_turn() {
    let now = Instant::now();
    let mut state = assigned(AutoOffsetReset::Latest, 1);
    state.get_mut(&tp(0)).unwrap().reset(AutoOffsetReset::Latest);
    state.retry_later([tp(0)].iter(), now + Duration::from_secs(1));
    assert!(state.needing_reset(now).is_empty());
    assert_eq!(state.next_retry(), Some(now + Duration::from_secs(1)));
    assert_eq!(state.needing_reset(now + Duration::from_secs(1)).len(), 1);
}

/// Position, what the leader says of its epoch, and the position afterwards: `Err` for a truncation
/// that the application has to hear of, `Ok(None)` for a reset.
#[test]
fn positions_after_a_change_of_the_leader() {
    type After = Result<Option<i64>, Option<i64>>;
    type Case = (AutoOffsetReset, Option<(i32, i64)>, After);
    let cases: [Case; 7] = [
        (AutoOffsetReset::Latest, Some((3, 100)), Ok(Some(10))),
        (AutoOffsetReset::Latest, Some((3, 10)), Ok(Some(10))),
        (AutoOffsetReset::Latest, Some((3, 8)), Ok(Some(8))),
        (AutoOffsetReset::Latest, None, Ok(None)),
        (AutoOffsetReset::None, Some((3, 100)), Ok(Some(10))),
        (AutoOffsetReset::None, Some((3, 8)), Err(Some(8))),
        (AutoOffsetReset::None, None, Err(None)),
    ];
    for (policy, end, after) in cases {
        let mut state = assigned(policy, 1);
        state.get_mut(&tp(0)).unwrap().seek_validated(position(10, Some(3), leader(1, 3)));
        state.on_leaders(|_| leader(2, 4));
        assert!(!state.is_fetchable(&tp(0)), "not before the leader has agreed");
        let due = state.needing_validation(Instant::now());
        assert_eq!(due.len(), 1);
        let truncation =
            state.complete_validation(&tp(0), due[0].1, end.map(|(epoch, offset)| EpochEnd { epoch, offset }));
        match after {
            Ok(Some(offset)) => {
                let position = state.get(&tp(0)).unwrap().valid_position().unwrap();
                assert_eq!((position.offset, position.leader), (offset, leader(2, 4)), "{policy:?} {end:?}");
            }
            Ok(None) => assert_eq!(state.needing_reset(Instant::now()).len(), 1),
            Err(divergent) => assert_eq!(truncation.unwrap().divergent.map(|o| o.offset), divergent),
        }
    }
}

#[test]
fn positions_without_epochs_need_no_validation() {
    let mut state = assigned(AutoOffsetReset::Latest, 1);
    state.get_mut(&tp(0)).unwrap().seek_unvalidated(position(10, None, leader(1, 3)));
    state.on_leaders(|_| leader(2, 4));
    assert!(state.is_fetchable(&tp(0)));
    state.on_leaders(|_| LeaderAndEpoch::default());
    assert_eq!(state.get(&tp(0)).unwrap().position().unwrap().leader, leader(2, 4), "no leader is no news");
}

#[test]
fn paused_and_revoked_partitions_are_not_fetched() {
    let mut state = assigned(AutoOffsetReset::Latest, 1);
    state.get_mut(&tp(0)).unwrap().seek_validated(position(0, None, leader(1, 0)));
    assert!(state.is_fetchable(&tp(0)));
    for change in [
        (|p: &mut PartitionState, on| p.paused = on) as fn(&mut PartitionState, bool),
        |p, on| p.pending_revocation = on,
        |p, on| p.pending_callback = on,
    ] {
        change(state.get_mut(&tp(0)).unwrap(), true);
        assert!(!state.is_fetchable(&tp(0)));
        change(state.get_mut(&tp(0)).unwrap(), false);
        assert!(state.is_fetchable(&tp(0)));
    }
}

#[test]
fn timestamps_of_strategies() {
    assert_eq!(reset_timestamp(AutoOffsetReset::Earliest, 1000), Some(-2));
    assert_eq!(reset_timestamp(AutoOffsetReset::Latest, 1000), Some(-1));
    assert_eq!(reset_timestamp(AutoOffsetReset::ByDuration(Duration::from_millis(300)), 1000), Some(700));
    assert_eq!(reset_timestamp(AutoOffsetReset::None, 1000), None);
}

#[derive(Debug, Clone)]
enum Operation {
    Seek(i32, i64),
    Reset(i32),
    ResetDone(i32, i64),
    Leader(i32),
    Validated(i32, Option<i64>),
    Advance(i32, i64),
    Pause(i32, bool),
    Assign(Vec<i32>),
}

fn operation() -> impl Strategy<Value = Operation> {
    let p = 0..3i32;
    let o = 0..50i64;
    prop_oneof![
        (p.clone(), o.clone()).prop_map(|(p, o)| Operation::Seek(p, o)),
        p.clone().prop_map(Operation::Reset),
        (p.clone(), o.clone()).prop_map(|(p, o)| Operation::ResetDone(p, o)),
        (0..5i32).prop_map(Operation::Leader),
        (p.clone(), proptest::option::of(o.clone())).prop_map(|(p, o)| Operation::Validated(p, o)),
        (p.clone(), o).prop_map(|(p, o)| Operation::Advance(p, o)),
        (p.clone(), any::<bool>()).prop_map(|(p, on)| Operation::Pause(p, on)),
        prop::collection::vec(p, 0..3).prop_map(Operation::Assign),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: a state that needs a position has one, only good positions are committed,
    /// and every jump of a position makes earlier fetches worthless.
    #[test]
    fn states_and_positions_agree(operations in prop::collection::vec(operation(), 0..60)) {
        let mut state = assigned(AutoOffsetReset::Earliest, 3);
        for operation in operations {
            let before: BTreeMap<TopicPartition, (FetchEpoch, Option<i64>)> = state
                .iter()
                .map(|(tp, p)| (tp.clone(), (p.fetch_epoch, p.position().map(|p| p.offset))))
                .collect();
            let mut moved_by_reading = None;
            match operation {
                Operation::Seek(p, offset) => {
                    if let Some(partition) = state.get_mut(&tp(p)) {
                        partition.seek_unvalidated(position(offset, Some(1), leader(1, 1)));
                    }
                }
                Operation::Reset(p) => {
                    if let Some(partition) = state.get_mut(&tp(p)) {
                        partition.reset(AutoOffsetReset::Latest);
                    }
                }
                Operation::ResetDone(p, offset) => {
                    state.complete_reset(&tp(p), AutoOffsetReset::Latest, position(offset, None, leader(1, 1)));
                }
                Operation::Leader(epoch) => state.on_leaders(|_| leader(1, epoch)),
                Operation::Validated(p, end) => {
                    if let Some(position) = state.get(&tp(p)).and_then(PartitionState::position) {
                        state.complete_validation(&tp(p), position, end.map(|offset| EpochEnd { epoch: 1, offset }));
                    }
                }
                Operation::Advance(p, by) => {
                    if let Some(partition) = state.get_mut(&tp(p))
                        && let Some(at) = partition.valid_position()
                    {
                        partition.advance(position(at.offset + by, Some(2), at.leader));
                        moved_by_reading = Some(tp(p));
                    }
                }
                Operation::Pause(p, on) => {
                    if let Some(partition) = state.get_mut(&tp(p)) {
                        partition.paused = on;
                    }
                }
                Operation::Assign(partitions) => {
                    state.assign_manually(partitions.into_iter().map(tp).collect()).unwrap();
                }
            }
            for (tp, partition) in state.iter() {
                match partition.state() {
                    FetchState::Fetching | FetchState::AwaitValidation => prop_assert!(partition.position().is_some()),
                    FetchState::AwaitReset => prop_assert!(partition.position().is_none()),
                    FetchState::Initializing => {}
                }
                if let Some((epoch, offset)) = before.get(tp)
                    && partition.position().map(|p| p.offset) != *offset
                    && moved_by_reading.as_ref() != Some(tp)
                {
                    prop_assert!(partition.fetch_epoch != *epoch, "{tp} jumped unnoticed");
                }
            }
            for (tp, offset) in state.all_consumed() {
                prop_assert_eq!(state.get(&tp).unwrap().valid_position().unwrap().offset, offset.offset);
            }
        }
    }
}
