use super::*;

const STEPS: u32 = 300;
const START: i64 = 1_700_000_000_123;

fn model(seed: u64) -> Model {
    Model::new(seed, STEPS, 2, START, None)
}

#[test]
fn a_seed_gives_the_same_round_again_and_another_seed_another() {
    assert_eq!(model(1).steps, model(1).steps);
    assert_eq!(model(1).expected, model(1).expected);
    assert_ne!(model(1).steps, model(2).steps);
}

#[test]
fn records_that_windows_are_made_of_are_in_the_order_of_time() {
    for input in [Input::Visits, Input::Left, Input::Right] {
        let model = model(3);
        let times: Vec<i64> = model.steps.iter().flatten().filter(|r| r.input == input).map(|r| r.timestamp).collect();
        assert!(times.is_sorted() && !times.is_empty(), "{input:?}");
    }
}

#[test]
fn every_id_is_expected_once_in_each_part() {
    let expected = model(4).expected;
    assert_eq!((expected.joined.len(), expected.priced.len(), expected.unique.len()), (300, 300, 300));
    assert_eq!(expected.cards.len(), 300);
    assert_eq!(expected.bills.keys().filter(|order| order.starts_with(SINGLE_ORDER)).count(), 300);
    assert_eq!(expected.windows.values().map(Ids::len).sum::<usize>(), 300);
    assert_eq!(expected.words.values().map(Ids::len).sum::<usize>(), 900, "three words a line");
    assert_eq!(expected.probes.len(), 16, "eight rates for each of two partitions");
}

#[test]
fn sides_that_are_both_written_are_near_enough_to_be_joined() {
    let model = model(5);
    let mut times: BTreeMap<&String, Vec<i64>> = BTreeMap::new();
    for record in model.steps.iter().flatten().filter(|r| matches!(r.input, Input::Left | Input::Right)) {
        times.entry(record.key.as_ref().unwrap()).or_default().push(record.timestamp);
    }
    for (key, value) in &model.expected.joined {
        let both = !value.contains(NOTHING);
        match times[key].as_slice() {
            [a, b] => assert!(both && a.abs_diff(*b) <= 1_000, "{key}"),
            [_] => assert!(!both, "{key}"),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn markers_are_behind_the_end_of_every_window_and_its_grace() {
    let model = model(6);
    let last_window = model.expected.windows.keys().map(|key| key.split_once('@').unwrap().1.parse::<i64>().unwrap());
    let closed = last_window.max().unwrap() + millis(WINDOW) + millis(GRACE);
    let (first, second) = (model.markers(0, 2), model.markers(1, 2));
    assert!(first.iter().all(|marker| marker.timestamp > closed));
    assert!(first[0].timestamp < second[0].timestamp, "time goes on");
    assert_eq!(first.len(), 2 * (3 + 8));
    assert!(first.iter().all(|marker| marker.key.as_ref().unwrap().starts_with(MARKER)));
}

#[test]
fn only_what_time_does_not_decide_about_is_set_back() {
    let back = SetBack { from_step: 100, by: Duration::from_secs(86_400) };
    let plain = model(7);
    let set_back = Model::new(7, STEPS, 2, START, Some(back));
    assert_eq!(plain.expected, set_back.expected);
    for (step, (a, b)) in plain.steps.iter().zip(&set_back.steps).enumerate() {
        for (a, b) in a.iter().zip(b) {
            let timed = matches!(a.input, Input::Visits | Input::Left | Input::Right);
            let by = if step >= 100 && !timed { 86_400_000 } else { 0 };
            assert_eq!(a.timestamp - b.timestamp, by, "{step}: {a:?}");
        }
    }
}
