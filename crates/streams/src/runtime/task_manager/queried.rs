//! What queries see of a thread's tasks.

use vltava_client::TopicPartition;

use super::{ActiveTask, TaskManager};
use crate::{
    query::{Position, QueriedStore, TaskMetadata},
    task::TaskId,
};

impl TaskManager {
    /// The tasks, for queries.
    pub(in crate::runtime) fn queried_tasks(&mut self) -> impl Iterator<Item = QueriedTask<'_>> {
        self.tasks.values_mut().map(QueriedTask)
    }
}

/// A task, for a query.
pub(in crate::runtime) struct QueriedTask<'a>(&'a mut ActiveTask);

impl QueriedTask<'_> {
    pub(in crate::runtime) fn id(&self) -> TaskId {
        self.0.task.id()
    }

    /// A store by its number, if it is one of this task's.
    pub(in crate::runtime) fn store(&mut self, id: usize) -> Option<QueriedStore<'_>> {
        QueriedStore::of(self.0.task.ctx_mut(), id)
    }

    /// The last offsets that the stores cover, with what is in the record caches or without it. Nothing is said of
    /// stores that are being restored.
    pub(in crate::runtime) fn position(&self, with_cache: bool) -> Position {
        let mut position = Position::empty();
        let ActiveTask { task, committed, .. } = &*self.0;
        if !task.is_initialized() {
            return position;
        }
        let partition = task.id().partition;
        let committed = committed.iter().map(|(partition, offset)| (partition.topic().to_owned(), *offset));
        let consumed = task.consumed_offsets().map(|(topic, consumed)| (topic.to_owned(), consumed.offset));
        for (topic, next) in committed.chain(consumed.filter(|_| with_cache)) {
            if next > 0 {
                position.advance(topic, partition, next - 1);
            }
        }
        position
    }

    pub(in crate::runtime) fn metadata(&self) -> TaskMetadata {
        let committed = |partition: &TopicPartition| self.0.committed.get(partition).copied();
        let inputs = self.0.inputs.keys().map(|partition| (partition.clone(), committed(partition)));
        TaskMetadata { task_id: self.id(), inputs: inputs.collect() }
    }
}
