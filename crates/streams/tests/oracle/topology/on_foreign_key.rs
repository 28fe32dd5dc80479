//! Foreign-key joins of tables.

use serde_json::Value as Json;
use vltava_streams::{KTable, TableJoined};

use super::{Interpreter, Made, Step, only, options, required, text, unsupported};
use crate::{
    functions,
    stores::materialized,
    value::{Maybe, Val},
};

impl Interpreter<'_> {
    pub(super) fn join_by_foreign_key(&self, table: &KTable<Val, Val>, step: &Json) -> Step<Made> {
        only(
            step,
            "KTable",
            &["other", "joiner", "foreignKey", "withKey", "partitioner", "otherPartitioner", "materialized"],
        )?;
        let Made::Table(other) = self.made(step, "other") else { panic!("a join with no table") };
        let (selector, with_key) = (functions::key_selector(required(step, "foreignKey")), options::with_key(step));
        let foreign_key = move |key: &Val, value: &Val| selector(&with_key.then(|| key.clone()), &Some(value.clone()));
        let joiner = functions::joiner(required(step, "joiner"));
        let join = move |left: &Val, right: Option<&Val>| -> Result<Maybe, _> {
            joiner(&None, &Some(left.clone()), &right.cloned())
        };
        let options = (Some(joined(step)?), materialized(step)?);
        Ok(Made::Table(match required(step, "op") {
            "join" => table.try_join_by_foreign_key(options, &other, foreign_key, move |a, b| join(a, Some(b))),
            _ => table.try_left_join_by_foreign_key(options, &other, foreign_key, join),
        }))
    }
}

fn joined(step: &Json) -> Step<TableJoined<Val, Val>> {
    let mut joined = TableJoined::new();
    if let Some(name) = text(step, "name") {
        joined = joined.with_name(name);
    }
    if let Some(spec) = text(step, "partitioner") {
        let partition = partition(spec)?;
        joined = joined.with_partitioner(move |_, _, _| partition);
    }
    if let Some(spec) = text(step, "otherPartitioner") {
        let partition = partition(spec)?;
        joined = joined.with_other_partitioner(move |_, _, _| partition);
    }
    Ok(joined)
}

/// Partitioners that look at values have none to look at here.
fn partition(spec: &str) -> Step<Option<i32>> {
    match spec {
        "zero" => Ok(Some(0)),
        "default" => Ok(None),
        _ => unsupported(format!("partitioner {spec} of a foreign-key join")),
    }
}
