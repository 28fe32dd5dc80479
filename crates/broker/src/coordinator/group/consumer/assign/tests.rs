//! Properties that every assignment has, and some by hand.

use proptest::prelude::*;

use super::*;

fn topic(n: u8) -> Uuid {
    Uuid::from_u128(u128::from(n) + 1)
}

fn spec(topics: &[i32], members: &[(&str, &[u8])]) -> GroupSpec {
    GroupSpec {
        topics: topics.iter().zip(0..).map(|(count, n)| (topic(n), *count)).collect(),
        members: members
            .iter()
            .map(|(id, subscribed)| {
                let topics = subscribed.iter().map(|n| topic(*n)).collect();
                ((*id).into(), MemberSpec { topics, ..MemberSpec::default() })
            })
            .collect(),
    }
}

fn counts(assigned: &BTreeMap<Arc<str>, Partitions>) -> Vec<usize> {
    assigned.values().map(|topics| topics.values().map(BTreeSet::len).sum()).collect()
}

#[test]
fn range_gives_equally_numbered_partitions_of_topics_to_one_member() {
    let assigned = Assignor::Range.assign(&spec(&[5, 5], &[("a", &[0, 1]), ("b", &[0, 1])]));
    for n in [0, 1] {
        assert_eq!(assigned["a"][&topic(n)], BTreeSet::from([0, 1, 2]));
        assert_eq!(assigned["b"][&topic(n)], BTreeSet::from([3, 4]));
    }
}

#[test]
fn range_leaves_out_who_does_not_subscribe_and_has_none_for_some() {
    let assigned = Assignor::Range.assign(&spec(&[2, 1], &[("a", &[0]), ("b", &[0, 1]), ("c", &[0])]));
    assert_eq!(assigned["a"][&topic(0)], BTreeSet::from([0]));
    assert_eq!(assigned["b"], Partitions::from([(topic(0), [1].into()), (topic(1), [0].into())]));
    assert!(assigned["c"].is_empty());
}

#[test]
fn range_orders_static_members_by_instance_before_the_others() {
    let mut group = spec(&[3], &[("a", &[0]), ("b", &[0]), ("c", &[0])]);
    group.members.get_mut("c").unwrap().instance_id = Some("first".into());
    let assigned = Assignor::Range.assign(&group);
    assert_eq!(assigned["c"][&topic(0)], BTreeSet::from([0]));
    assert_eq!(assigned["a"][&topic(0)], BTreeSet::from([1]));
}

#[test]
fn uniform_moves_only_the_surplus_to_a_new_member() {
    let mut group = spec(&[6], &[("a", &[0]), ("b", &[0])]);
    let before = Assignor::Uniform.assign(&group);
    assert_eq!(counts(&before), [3, 3]);
    for (id, target) in &before {
        group.members.get_mut(id).unwrap().current = target.clone();
    }
    group.members.insert("c".into(), MemberSpec { topics: [topic(0)].into(), ..MemberSpec::default() });
    let after = Assignor::Uniform.assign(&group);
    assert_eq!(counts(&after), [2, 2, 2]);
    for id in ["a", "b"] {
        assert!(after[id][&topic(0)].is_subset(&before[id][&topic(0)]), "{id} keeps two of its own");
    }
}

#[test]
fn uniform_evens_out_where_subscriptions_differ() {
    let assigned = Assignor::Uniform.assign(&spec(&[4, 4], &[("a", &[0]), ("b", &[0, 1]), ("c", &[1])]));
    let mut sizes = counts(&assigned);
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 3, 3]);
}

prop_compose! {
    fn groups()(
        topics in prop::collection::vec(0_i32..9, 1..4),
        members in prop::collection::vec((prop::collection::btree_set(0_u8..4, 0..4), prop::collection::vec((0_u8..4, 0_i32..10), 0..8)), 1..6),
        is_equal in any::<bool>(),
    ) -> GroupSpec {
        let mut spec = GroupSpec::default();
        let first = members[0].0.clone();
        for ((subscribed, current), n) in members.into_iter().zip(0..) {
            let subscribed = if is_equal { first.clone() } else { subscribed };
            let member = MemberSpec {
                instance_id: None,
                topics: subscribed.into_iter().filter(|n| usize::from(*n) < topics.len()).map(topic).collect(),
                current: by_topic(current.into_iter().map(|(n, partition)| (topic(n), partition))),
            };
            for (n, count) in topics.iter().enumerate() {
                if member.topics.contains(&topic(n as u8)) {
                    spec.topics.insert(topic(n as u8), *count);
                }
            }
            spec.members.insert(format!("member-{n}").into(), member);
        }
        spec
    }
}

proptest! {
    #[test]
    fn every_partition_goes_to_one_who_subscribes(group in groups(), is_range in any::<bool>()) {
        let assignor = if is_range { Assignor::Range } else { Assignor::Uniform };
        let assigned = assignor.assign(&group);
        let mut seen = BTreeSet::new();
        for (id, topics) in &assigned {
            for (topic, partitions) in topics {
                prop_assert!(group.members[id].topics.contains(topic));
                for partition in partitions {
                    prop_assert!(*partition < group.topics[topic]);
                    prop_assert!(seen.insert((*topic, *partition)), "given twice");
                }
            }
        }
        prop_assert_eq!(seen.len() as i32, group.topics.values().sum::<i32>());
        prop_assert_eq!(assigned.len(), group.members.len());
    }

    #[test]
    fn uniform_is_even_and_stays_as_it_is(mut group in groups()) {
        let assigned = Assignor::Uniform.assign(&group);
        if group.is_homogeneous() {
            let sizes = counts(&assigned);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        }
        for (id, target) in &assigned {
            group.members.get_mut(id).unwrap().current = target.clone();
        }
        prop_assert_eq!(Assignor::Uniform.assign(&group), assigned);
    }
}
