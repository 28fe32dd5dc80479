//! Operators on grouped streams and tables.

use serde_json::Value as Json;
use vltava_streams::{CogroupedKStream, KGroupedStream, KGroupedTable, Materialized};

use super::{Interpreter, Made, Step, only, required, text, unsupported};
use crate::{
    functions::{self, Boom},
    serdes,
    stores::{Family, materialized},
    value::{Maybe, Val, number},
};

impl Interpreter<'_> {
    pub(super) fn on_grouped(&mut self, grouped: &KGroupedStream<Maybe, Maybe>, step: &Json) -> Step<Made> {
        let name = text(step, "name");
        let op = required(step, "op");
        if op == "cogroup" {
            only(step, "KGroupedStream", &["aggregator"])?;
            return Ok(Made::Cogrouped(grouped.try_cogroup(aggregator(step))));
        }
        match op {
            "count" | "reduce" | "aggregate" => {}
            "windowedBy" => return self.windowed_by(grouped, step),
            _ => return unsupported(format!("KGroupedStream {op}")),
        }
        let store = materialized(step)?;
        Ok(Made::Table(match op {
            "count" => {
                only(step, "KGroupedStream", &["materialized"])?;
                let given = store.is_some();
                let store = with_long_values(store.unwrap_or_default(), step);
                let next = |count: Val| Val::Long(number(&Some(count)) + 1);
                grouped.count_as(name, store, given, || Val::Long(0), next)
            }
            "reduce" => {
                only(step, "KGroupedStream", &["reducer", "materialized"])?;
                let reducer = functions::reducer(required(step, "reducer"));
                grouped.try_reduce(name, store.unwrap_or_default(), move |sum, value| reducer(&Some(sum), &Some(value)))
            }
            "aggregate" => {
                only(step, "KGroupedStream", &["initializer", "aggregator", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let aggregator = functions::aggregator(required(step, "aggregator"));
                grouped.try_aggregate(
                    name,
                    store.unwrap_or_default(),
                    move || Ok::<_, Boom>(initializer()),
                    move |key, value, sum| aggregator(&Some(key.clone()), &Some(value), &sum),
                )
            }
            _ => unreachable!(),
        }))
    }

    pub(super) fn on_cogrouped(&mut self, cogrouped: &CogroupedKStream<Val, Val>, step: &Json) -> Step<Made> {
        match required(step, "op") {
            "cogroup" => {
                only(step, "CogroupedKStream", &["other", "aggregator"])?;
                let Made::Grouped(other) = self.made(step, "other") else { panic!("cogroup with no grouped stream") };
                Ok(Made::Cogrouped(cogrouped.try_cogroup(&other, aggregator(step))))
            }
            "aggregate" => {
                only(step, "CogroupedKStream", &["initializer", "materialized"])?;
                let store = materialized(step)?.unwrap_or_default();
                let initializer = functions::initializer(required(step, "initializer"));
                let initializer = move || Ok::<_, Boom>(initializer());
                Ok(Made::Table(cogrouped.try_aggregate(text(step, "name"), store, initializer)))
            }
            "windowedBy" => self.cogrouped_windowed_by(cogrouped, step),
            op => unsupported(format!("CogroupedKStream {op}")),
        }
    }

    pub(super) fn on_grouped_table(&mut self, grouped: &KGroupedTable<Val, Val>, step: &Json) -> Step<Made> {
        let name = text(step, "name");
        let store = materialized(step)?;
        Ok(Made::Table(match required(step, "op") {
            "count" => {
                only(step, "KGroupedTable", &["materialized"])?;
                let store = with_long_values(store.unwrap_or_default(), step);
                let next = |by| move |count: Val| Val::Long(number(&Some(count)) + by);
                grouped.count_as(name, store, || Val::Long(0), next(1), next(-1))
            }
            "reduce" => {
                only(step, "KGroupedTable", &["adder", "subtractor", "materialized"])?;
                let adder = functions::reducer(required(step, "adder"));
                let subtractor = functions::reducer(required(step, "subtractor"));
                grouped.try_reduce(
                    name,
                    store.unwrap_or_default(),
                    move |sum, value| adder(&Some(sum), &Some(value)),
                    move |sum, value| subtractor(&Some(sum), &Some(value)),
                )
            }
            "aggregate" => {
                only(step, "KGroupedTable", &["initializer", "adder", "subtractor", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let adder = functions::aggregator(required(step, "adder"));
                let subtractor = functions::aggregator(required(step, "subtractor"));
                grouped.try_aggregate(
                    name,
                    store.unwrap_or_default(),
                    move || Ok::<_, Boom>(initializer()),
                    move |key, value, sum| adder(&Some(key.clone()), &Some(value), &sum),
                    move |key, value, sum| subtractor(&Some(key.clone()), &Some(value), &sum),
                )
            }
            op => return unsupported(format!("KGroupedTable {op}")),
        }))
    }
}

fn aggregator(step: &Json) -> impl Fn(&Val, Maybe, Maybe) -> Result<Maybe, Boom> + Send + Sync + 'static {
    let aggregator = functions::aggregator(required(step, "aggregator"));
    move |key, value, sum| aggregator(&Some(key.clone()), &value, &sum)
}

/// A count's store holds longs unless it says otherwise.
pub(super) fn with_long_values<S: Family>(store: Materialized<Val, Val, S>, step: &Json) -> Materialized<Val, Val, S> {
    match step.get("materialized").and_then(|spec| spec.get("value")) {
        Some(_) => store,
        None => store.with_value_serde(serdes::by_name("long")),
    }
}
