//! Aggregations over windows.

use serde_json::Value as Json;
use vltava_streams::{
    CogroupedKStream, EmitStrategy, KGroupedStream, KTable, SessionWindowedCogroupedKStream, SessionWindowedKStream,
    SessionWindows, SlidingWindows, TimeWindowedCogroupedKStream, TimeWindowedKStream, TimeWindows, UnlimitedWindows,
    Window, WindowedKey,
};

use super::{Interpreter, Made, Step, named, only, required, unsupported};
use crate::{
    functions::{self, Boom},
    serdes,
    stores::{duration, materialized},
    value::{Maybe, Val, number},
};

impl WindowedKey for Val {
    type Key = Val;
    fn in_window(key: Val, window: Window) -> Val {
        Val::Windowed { key: Box::new(key), start: window.start(), end: window.end() }
    }
    fn key(&self) -> &Val {
        match self {
            Val::Windowed { key, .. } => key,
            other => panic!("not a windowed key: {other:?}"),
        }
    }
    fn window(&self) -> Window {
        match self {
            Val::Windowed { start, end, .. } => Window::new(*start, *end),
            other => panic!("not a windowed key: {other:?}"),
        }
    }
}

enum AnyWindows {
    Time(TimeWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
    Unlimited(UnlimitedWindows),
}

fn windows(step: &Json) -> Step<AnyWindows> {
    let spec = &step["window"];
    let ms = |field: &str| spec.get(field).map(duration).transpose();
    let grace = ms("grace")?;
    Ok(match required(spec, "type") {
        "time" => {
            let size = ms("size")?.unwrap();
            let windows = match grace {
                Some(grace) => TimeWindows::of_size_and_grace(size, grace),
                None => TimeWindows::of_size_with_no_grace(size),
            };
            AnyWindows::Time(match ms("advance")? {
                Some(advance) => windows.advance_by(advance),
                None => windows,
            })
        }
        "sliding" => {
            let difference = ms("difference")?.unwrap();
            AnyWindows::Sliding(match grace {
                Some(grace) => SlidingWindows::of_time_difference_and_grace(difference, grace),
                None => SlidingWindows::of_time_difference_with_no_grace(difference),
            })
        }
        "session" => {
            let gap = ms("gap")?.unwrap();
            AnyWindows::Session(match grace {
                Some(grace) => SessionWindows::of_inactivity_gap_and_grace(gap, grace),
                None => SessionWindows::of_inactivity_gap_with_no_grace(gap),
            })
        }
        "unlimited" => {
            let start = spec.get("start").map_or(0, |start| start.as_i64().unwrap());
            AnyWindows::Unlimited(UnlimitedWindows::of().start_on(start))
        }
        other => panic!("unknown windows {other}"),
    })
}

fn strategy(step: &Json) -> EmitStrategy {
    match required(step, "strategy") {
        "window_close" => EmitStrategy::OnWindowClose,
        "window_update" => EmitStrategy::OnWindowUpdate,
        other => panic!("unknown strategy {other}"),
    }
}

impl Interpreter<'_> {
    pub(super) fn windowed_by(&mut self, grouped: &KGroupedStream<Maybe, Maybe>, step: &Json) -> Step<Made> {
        only(step, "KGroupedStream", &["window"])?;
        Ok(match windows(step)? {
            AnyWindows::Time(windows) => Made::TimeWindowed(grouped.windowed_by(windows)),
            AnyWindows::Sliding(windows) => Made::TimeWindowed(grouped.windowed_by(windows)),
            AnyWindows::Unlimited(windows) => Made::TimeWindowed(grouped.windowed_by(windows)),
            AnyWindows::Session(windows) => Made::SessionWindowed(grouped.windowed_by_sessions(windows)),
        })
    }

    pub(super) fn on_time_windowed(&mut self, windowed: TimeWindowedKStream<Maybe, Maybe>, step: &Json) -> Step<Made> {
        let name = named(step);
        let op = required(step, "op");
        if op == "emitStrategy" {
            only(step, "TimeWindowedKStream", &["strategy"])?;
            return Ok(Made::TimeWindowed(windowed.emit_strategy(strategy(step))));
        }
        let store = materialized(step)?;
        let table: KTable<Val, Val> = match op {
            "count" => {
                only(step, "TimeWindowedKStream", &["materialized"])?;
                windowed.count_as((name, store), serdes::by_name("long"), || Val::Long(0), next)
            }
            "reduce" => {
                only(step, "TimeWindowedKStream", &["reducer", "materialized"])?;
                let reducer = functions::reducer(required(step, "reducer"));
                windowed.reduce_as((name, store), move |sum, value| reducer(&Some(sum), &value))
            }
            "aggregate" => {
                only(step, "TimeWindowedKStream", &["initializer", "aggregator", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let aggregator = functions::aggregator(required(step, "aggregator"));
                windowed.aggregate_as(
                    (name, store),
                    move || Ok::<_, Boom>(initializer()),
                    move |key: &Val, value, sum| aggregator(&Some(key.clone()), &value, &sum),
                )
            }
            op => return unsupported(format!("TimeWindowedKStream {op}")),
        };
        Ok(Made::Table(table))
    }

    pub(super) fn on_session_windowed(
        &mut self,
        windowed: SessionWindowedKStream<Maybe, Maybe>,
        step: &Json,
    ) -> Step<Made> {
        let name = named(step);
        let op = required(step, "op");
        if op == "emitStrategy" {
            only(step, "SessionWindowedKStream", &["strategy"])?;
            return Ok(Made::SessionWindowed(windowed.emit_strategy(strategy(step))));
        }
        let store = materialized(step)?;
        let table: KTable<Val, Val> = match op {
            "count" => {
                only(step, "SessionWindowedKStream", &["materialized"])?;
                let add = |one: Val, two: Val| Val::Long(number(&Some(one)) + number(&Some(two)));
                windowed.count_as((name, store), serdes::by_name("long"), || Val::Long(0), next, add)
            }
            "reduce" => {
                only(step, "SessionWindowedKStream", &["reducer", "materialized"])?;
                let reducer = functions::reducer(required(step, "reducer"));
                windowed.reduce_as((name, store), move |sum, value| reducer(&Some(sum), &value))
            }
            "aggregate" => {
                only(step, "SessionWindowedKStream", &["initializer", "aggregator", "merger", "materialized"])?;
                let initializer = functions::initializer(required(step, "initializer"));
                let aggregator = functions::aggregator(required(step, "aggregator"));
                let merger = functions::merger(required(step, "merger"));
                windowed.aggregate_as(
                    (name, store),
                    move || Ok::<_, Boom>(initializer()),
                    move |key: &Val, value, sum| aggregator(&Some(key.clone()), &value, &sum),
                    move |key: &Val, one, two| Ok::<_, Boom>(merger(&Some(key.clone()), &one, &two)),
                )
            }
            op => return unsupported(format!("SessionWindowedKStream {op}")),
        };
        Ok(Made::Table(table))
    }

    pub(super) fn cogrouped_windowed_by(&mut self, cogrouped: &CogroupedKStream<Val, Val>, step: &Json) -> Step<Made> {
        only(step, "CogroupedKStream", &["window"])?;
        Ok(match windows(step)? {
            AnyWindows::Time(windows) => Made::TimeWindowedCogrouped(cogrouped.windowed_by(windows)),
            AnyWindows::Sliding(windows) => Made::TimeWindowedCogrouped(cogrouped.windowed_by(windows)),
            AnyWindows::Unlimited(windows) => Made::TimeWindowedCogrouped(cogrouped.windowed_by(windows)),
            AnyWindows::Session(windows) => Made::SessionWindowedCogrouped(cogrouped.windowed_by_sessions(windows)),
        })
    }

    pub(super) fn on_time_windowed_cogrouped(
        &mut self,
        windowed: &TimeWindowedCogroupedKStream<Val, Val>,
        step: &Json,
    ) -> Step<Made> {
        only(step, "TimeWindowedCogroupedKStream", &["initializer", "materialized"])?;
        let initializer = functions::initializer(required(step, "initializer"));
        let initializer = move || Ok::<_, Boom>(initializer());
        Ok(Made::Table(windowed.aggregate_as((named(step), materialized(step)?), initializer)))
    }

    pub(super) fn on_session_windowed_cogrouped(
        &mut self,
        windowed: &SessionWindowedCogroupedKStream<Val, Val>,
        step: &Json,
    ) -> Step<Made> {
        only(step, "SessionWindowedCogroupedKStream", &["initializer", "merger", "materialized"])?;
        let initializer = functions::initializer(required(step, "initializer"));
        let initializer = move || Ok::<_, Boom>(initializer());
        let merger = functions::merger(required(step, "merger"));
        let merger = move |key: &Val, one, two| Ok::<_, Boom>(merger(&Some(key.clone()), &one, &two));
        Ok(Made::Table(windowed.aggregate_as((named(step), materialized(step)?), initializer, merger)))
    }
}

fn next(count: Val) -> Val {
    Val::Long(number(&Some(count)) + 1)
}
