//! Keeps beside the stores of a task how far they are, for the group's leader to know when nobody has opened them.

use std::collections::BTreeMap;

use super::Covered;
use crate::{
    runtime::{directory::StateDirectory, offset_sum},
    task::{Task, TaskId},
};

/// What was written last, of each task.
#[derive(Default)]
pub(super) struct OffsetSums(BTreeMap<TaskId, i64>);

impl OffsetSums {
    /// At a commit: it is written now and then.
    pub(super) fn committed(&mut self, directory: &StateDirectory, task: &Task, covered: &Covered) {
        let Some(sum) = on_disk(task, covered) else { return };
        if self.0.get(&task.id()).is_none_or(|written| (sum - written).abs() >= offset_sum::STEP) {
            self.write(directory, task.id(), sum);
        }
    }

    /// At the end of a task, whose stores are as of its last commit.
    pub(super) fn closing(&mut self, directory: &StateDirectory, task: &Task, covered: &Covered) {
        if let Some(sum) = on_disk(task, covered) {
            self.write(directory, task.id(), sum);
        }
        self.0.remove(&task.id());
    }

    fn write(&mut self, directory: &StateDirectory, task: TaskId, sum: i64) {
        match offset_sum::write(&directory.path_of(task), sum) {
            Ok(()) => drop(self.0.insert(task, sum)),
            // The leader takes the stores for older than they are, or for none.
            Err(error) => tracing::warn!(%task, "how far its stores are cannot be written: {error}"),
        }
    }
}

/// `None` where no store outlives the process.
fn on_disk(task: &Task, covered: &Covered) -> Option<i64> {
    let on_disk = covered.iter().filter(|(store, _)| task.is_on_disk(store));
    on_disk.map(|(_, (_, offset))| *offset).reduce(i64::saturating_add)
}
