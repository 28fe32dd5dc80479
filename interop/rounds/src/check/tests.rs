use super::*;
use crate::model::Model;

fn model() -> Model {
    Model::new(11, 200, 1, 1_700_000_000_000, None)
}

/// All records that a run without any disturbance gives.
fn perfect(expected: &Expected) -> Vec<(Output, String, Option<String>)> {
    let mut all = Vec::new();
    for (word, ids) in &expected.words {
        all.push((Output::Counts, word.clone(), Some(ids.len().to_string())));
        all.push((Output::Words, word.clone(), Some(ids.to_string())));
        all.push((Output::WordsChangelog, word.clone(), Some(ids.to_string())));
    }
    all.extend(expected.windows.iter().map(|(key, ids)| (Output::Windows, key.clone(), Some(ids.to_string()))));
    all.extend(expected.joined.iter().map(|(key, pair)| (Output::Joined, key.clone(), Some(pair.clone()))));
    all.extend(expected.cards.iter().map(|(key, card)| (Output::Cards, key.clone(), Some(card.clone()))));
    all.extend(expected.bills.iter().map(|(key, bill)| (Output::Bills, key.clone(), bill.clone())));
    for (payment, rate) in &expected.priced {
        all.push((Output::Priced, payment.clone(), Some(format!("{rate}={}0", expected.rates[rate].0))));
    }
    for probe in &expected.probes {
        let rate = probe.split_once('-').unwrap().1;
        let (base, version) = &expected.rates[rate];
        all.push((Output::Priced, probe.clone(), Some(format!("{rate}={base}{version}"))));
    }
    for (event, value) in &expected.unique {
        all.push((Output::Unique, event.clone(), Some(value.clone())));
        all.push((Output::SeenChangelog, event.clone(), Some(value.clone())));
    }
    all
}

fn findings(expected: &Expected, records: &[(Output, String, Option<String>)]) -> Vec<Finding> {
    findings_of(Guarantee::AtLeastOnce, expected, records)
}

fn findings_of(
    guarantee: Guarantee,
    expected: &Expected,
    records: &[(Output, String, Option<String>)],
) -> Vec<Finding> {
    let mut checker = Checker::new(expected, guarantee);
    records.iter().for_each(|(output, key, value)| checker.take(*output, key, value.as_deref()));
    checker.findings()
}

#[test]
fn what_is_right_passes_and_once_more_too() {
    let model = model();
    let records = perfect(&model.expected);
    assert_eq!(findings(&model.expected, &records), []);
    assert_eq!(findings(&model.expected, &[records.clone(), records].concat()), [], "at least once");
}

#[test]
fn nothing_at_all_is_a_finding_for_every_part() {
    let model = model();
    let parts: BTreeSet<Output> = findings(&model.expected, &[]).into_iter().map(|finding| finding.output).collect();
    assert_eq!(parts.into_iter().collect::<Vec<_>>(), Output::ALL);
}

#[test]
fn each_single_hole_is_found() {
    let model = model();
    let records = perfect(&model.expected);
    for hole in 0..records.len() {
        let mut holed = records.clone();
        let (output, key, value) = holed.remove(hole);
        let found = findings(&model.expected, &holed);
        let deleted = output == Output::Bills && value.is_none();
        let expected = Finding { output, fault: Fault::Missing, text: key };
        assert_eq!(found, if deleted { vec![] } else { vec![expected] });
    }
}

#[test]
fn an_older_row_behind_the_last_one_is_found() {
    let model = model();
    for output in [Output::Words, Output::WordsChangelog, Output::Bills, Output::SeenChangelog] {
        let mut records = perfect(&model.expected);
        let (_, key, _) = records.iter().find(|(o, _, value)| *o == output && value.is_some()).unwrap().clone();
        records.push((output, key, Some("1".to_owned())));
        let found = findings(&model.expected, &records);
        assert_eq!(
            found.iter().map(|f| (f.output, f.fault)).collect::<Vec<_>>(),
            [(output, Fault::Wrong)],
            "{found:?}"
        );
    }
}

#[test]
fn a_count_may_be_too_high_and_not_too_low() {
    let model = model();
    let (word, ids) = model.expected.words.first_key_value().unwrap();
    for (count, faults) in [(ids.len() + 3, vec![]), (ids.len() - 1, vec![Fault::Wrong])] {
        let mut records = perfect(&model.expected);
        records.push((Output::Counts, word.clone(), Some(count.to_string())));
        let found: Vec<Fault> = findings(&model.expected, &records).into_iter().map(|finding| finding.fault).collect();
        assert_eq!(found, faults);
    }
}

#[test]
fn a_closed_window_that_is_not_whole_is_wrong_even_if_the_whole_one_came() {
    let model = model();
    let mut records = perfect(&model.expected);
    let (window, ids) = model.expected.windows.iter().find(|(_, ids)| ids.len() > 1).unwrap();
    let part = ids.to_string().split(',').next().unwrap().to_owned();
    records.insert(0, (Output::Windows, window.clone(), Some(part)));
    let found = findings(&model.expected, &records);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].output, found[0].fault), (Output::Windows, Fault::Wrong));
    assert!(found[0].text.contains("lacks"), "{}", found[0].text);
}

#[test]
fn a_half_of_a_pair_that_is_whole_is_unexpected() {
    let model = model();
    let mut records = perfect(&model.expected);
    let (key, pair) = model.expected.joined.iter().find(|(_, pair)| !pair.contains('-')).unwrap();
    records.push((Output::Joined, key.clone(), Some(format!("{}+-", pair.split_once('+').unwrap().0))));
    let found = findings(&model.expected, &records);
    assert_eq!(found.iter().map(|f| (f.output, f.fault)).collect::<Vec<_>>(), [(Output::Joined, Fault::Unexpected)]);
}

#[test]
fn rows_of_rates_that_never_were_and_probes_that_are_old_are_found() {
    let model = model();
    let mut records = perfect(&model.expected);
    let (payment, rate) = model.expected.priced.first_key_value().unwrap();
    let (base, version) = &model.expected.rates[rate];
    records.push((Output::Priced, payment.clone(), Some(format!("{rate}={base}{}", version + 1))));
    let (moved, _) = model.expected.rates.iter().find(|(_, (_, version))| *version > 0).unwrap();
    records.push((
        Output::Priced,
        format!("{MARKER}0-{moved}"),
        Some(format!("{moved}={}0", model.expected.rates[moved].0)),
    ));
    let faults: Vec<Fault> = findings(&model.expected, &records).into_iter().map(|finding| finding.fault).collect();
    assert_eq!(faults, [Fault::Wrong, Fault::Unexpected]);
}

#[test]
fn exactly_once_what_comes_again_is_found_in_every_part_but_the_tables() {
    let model = model();
    let cached = Guarantee::ExactlyOnce { cached: true };
    let records = perfect(&model.expected);
    assert_eq!(findings_of(cached, &model.expected, &records), []);
    let twice = findings_of(cached, &model.expected, &[records.clone(), records].concat());
    assert!(twice.iter().all(|finding| finding.fault == Fault::Repeated), "{twice:?}");
    let parts: BTreeSet<Output> = twice.into_iter().map(|finding| finding.output).collect();
    let all = [
        Output::Counts,
        Output::Words,
        Output::Windows,
        Output::Joined,
        Output::Bills,
        Output::Cards,
        Output::Priced,
        Output::Unique,
    ];
    assert_eq!(parts, BTreeSet::from(all));
}

#[test]
fn exactly_once_a_count_is_neither_too_high_nor_does_it_leave_values_out() {
    let model = model();
    let (word, ids) = model.expected.words.iter().next().unwrap();
    let count = |n: usize| (Output::Counts, word.clone(), Some(n.to_string()));
    let of_word = |guarantee, counts: &[usize]| {
        let records: Vec<_> = counts.iter().copied().map(count).collect();
        let findings = findings_of(guarantee, &model.expected, &records);
        findings.into_iter().filter(|one| one.output == Output::Counts && one.text.starts_with(word.as_str())).count()
    };
    let (exact, cached) = (Guarantee::ExactlyOnce { cached: false }, Guarantee::ExactlyOnce { cached: true });
    let all: Vec<usize> = (1..=ids.len()).collect();
    assert_eq!((of_word(exact, &all), of_word(cached, &[ids.len()])), (0, 0));
    assert_eq!(of_word(exact, &[ids.len()]), 1, "values are left out");
    assert_eq!(of_word(cached, &[ids.len() + 1]), 1, "too high");
    assert_eq!(of_word(Guarantee::AtLeastOnce, &[ids.len() + 1]), 0);
    assert_eq!(of_word(cached, &[1, 1, ids.len()]), 1, "a step back");
}
