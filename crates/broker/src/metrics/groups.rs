//! What the coordinators have, looked up when somebody asks.

use std::collections::BTreeMap;

use vltava_metrics::prometheus::{FamilyKind, Text, word};

use super::definitions as d;
use super::page::gauge;
use crate::coordinator::Standing;
use crate::coordinator::group::GroupCounts;
use crate::services::Services;

pub(super) fn write(text: &mut Text, services: &Services) {
    groups(text, services);
    let mut transactions: BTreeMap<&str, usize> = BTreeMap::new();
    services.transaction_shards.look(|shard| shard.count(&mut transactions));
    let help = d::OTHERS.iter().find(|(name, _)| *name == d::TRANSACTIONS).map_or("", |(_, help)| help);
    text.family(d::TRANSACTIONS, help, FamilyKind::Gauge);
    for (state, count) in transactions {
        text.sample(d::TRANSACTIONS, [("state", state)], count as f64);
    }
}

fn groups(text: &mut Text, services: &Services) {
    let mut counts = GroupCounts::default();
    let Standing { active, loading, failed } = services.groups.look(|shard| shard.count(&mut counts));
    let count = |of: &dyn Fn(&str, &str) -> bool| -> usize {
        counts.groups.iter().filter(|((protocol, state), _)| of(protocol, state)).map(|(_, count)| count).sum()
    };
    for (mbean, state) in [
        (&d::GROUPS_PREPARING, "PreparingRebalance"),
        (&d::GROUPS_COMPLETING, "CompletingRebalance"),
        (&d::GROUPS_STABLE, "Stable"),
        (&d::GROUPS_EMPTY, "Empty"),
    ] {
        gauge(text, mbean, count(&|protocol, of| protocol == "classic" && of == state) as f64);
    }
    gauge(text, &d::CLASSIC_GROUPS, count(&|protocol, _| protocol == "classic") as f64);
    gauge(text, &d::OFFSETS, counts.offsets as f64);
    let protocols = ["classic", "consumer", "streams"].map(|protocol| (protocol, count(&|of, _| of == protocol)));
    attribute(text, &d::GROUP_COUNT, "protocol", &protocols);
    let in_state = |of: &str, state: &'static str| (state, count(&|protocol, it| protocol == of && it == state));
    let states = ["Empty", "Assigning", "Reconciling", "Stable"];
    attribute(text, &d::CONSUMER_GROUP_COUNT, "state", &states.map(|state| in_state("consumer", state)));
    let states = ["Empty", "NotReady", "Assigning", "Reconciling", "Stable"];
    attribute(text, &d::STREAMS_GROUP_COUNT, "state", &states.map(|state| in_state("streams", state)));
    attribute(text, &d::NUM_PARTITIONS, "state", &[("active", active), ("loading", loading), ("failed", failed)]);
    let counters = &services.config.groups.counters;
    for (definition, counter) in [
        (&d::OFFSET_COMMITS, &counters.offset_commits),
        (&d::OFFSET_DELETIONS, &counters.offset_deletions),
        (&d::OFFSET_EXPIRATIONS, &counters.offset_expirations),
        (&d::CLASSIC_REBALANCES, &counters.classic_rebalances),
        (&d::CONSUMER_REBALANCES, &counters.consumer_rebalances),
        (&d::STREAMS_REBALANCES, &counters.streams_rebalances),
    ] {
        let name = word(&["kafka.server", d::GROUP_COORDINATOR, definition.name]);
        text.family(&name, definition.description, FamilyKind::Counter);
        text.sample(&name, [], counter.count() as f64);
    }
}

fn attribute(
    text: &mut Text,
    definition: &vltava_metrics::definition::GaugeDefinition,
    tag: &str,
    values: &[(&str, usize)],
) {
    let name = word(&["kafka.server", d::GROUP_COORDINATOR, definition.name]);
    text.family(&name, definition.description, FamilyKind::Gauge);
    for (value, count) in values {
        text.sample(&name, [(tag, *value)], *count as f64);
    }
}
