//! Operators on grouped streams and tables.

use serde_json::Value as Json;
use vltava_streams::{CogroupedKStream, KGroupedStream, KGroupedTable};

use super::{Interpreter, Made, Step, named, only, required, unsupported};
use crate::{
    functions::{self, Boom},
    serdes,
    stores::materialized,
    value::{Maybe, Val, number},
};

impl Interpreter<'_> {
    pub(super) fn on_grouped(&mut self, grouped: &KGroupedStream<Maybe, Maybe>, step: &Json) -> Step<Made> {
        let name = named(step);
        let op = required(step, "op");
        if op == "cogroup" {
            only(step, "KGroupedStream", &["aggregator"])?;
            return Ok(Made::Cogrouped(grouped.cogroup_as(aggregator(step))));
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
                let next = |count: Val| Val::Long(number(&Some(count)) + 1);
                grouped.count_as((name, store), serdes::by_name("long"), || Val::Long(0), next)
            }
            "reduce" => {
                only(step, "KGroupedStream", &["reducer", "materialized"])?;
                let reducer = functions::reducer(required(step, "reducer"));
                grouped.try_reduce((name, store), move |sum, value| reducer(&Some(sum), &Some(value)))
            }
            "aggregate" => {
                only(step, "KGroupedStream", &["initializer", "aggregator", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let aggregator = functions::aggregator(required(step, "aggregator"));
                grouped.aggregate_as(
                    (name, store),
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
                Ok(Made::Cogrouped(cogrouped.cogroup_as(&other, aggregator(step))))
            }
            "aggregate" => {
                only(step, "CogroupedKStream", &["initializer", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let initializer = move || Ok::<_, Boom>(initializer());
                Ok(Made::Table(cogrouped.aggregate_as((named(step), materialized(step)?), initializer)))
            }
            "windowedBy" => self.cogrouped_windowed_by(cogrouped, step),
            op => unsupported(format!("CogroupedKStream {op}")),
        }
    }

    pub(super) fn on_grouped_table(&mut self, grouped: &KGroupedTable<Val, Val>, step: &Json) -> Step<Made> {
        let name = named(step);
        let store = materialized(step)?;
        Ok(Made::Table(match required(step, "op") {
            "count" => {
                only(step, "KGroupedTable", &["materialized"])?;
                let next = |by| move |count: Val| Val::Long(number(&Some(count)) + by);
                grouped.count_as((name, store), serdes::by_name("long"), || Val::Long(0), next(1), next(-1))
            }
            "reduce" => {
                only(step, "KGroupedTable", &["adder", "subtractor", "materialized"])?;
                let adder = functions::reducer(required(step, "adder"));
                let subtractor = functions::reducer(required(step, "subtractor"));
                grouped.try_reduce(
                    (name, store),
                    move |sum, value| adder(&Some(sum), &Some(value)),
                    move |sum, value| subtractor(&Some(sum), &Some(value)),
                )
            }
            "aggregate" => {
                only(step, "KGroupedTable", &["initializer", "adder", "subtractor", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let adder = functions::aggregator(required(step, "adder"));
                let subtractor = functions::aggregator(required(step, "subtractor"));
                grouped.aggregate_as(
                    (name, store),
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
