//! Processing, bounded by time: no task keeps the thread from polling, committing and its other tasks.

use std::time::{Duration, Instant};

use super::{TaskManager, anew::Anew, client_failed, machine::Event};
use crate::{error::Result, runtime::kafka_streams::now_ms, task::TaskId};

/// Records of a task that are processed before the other tasks have their turn.
const TURN: usize = 1000;
/// For how long a task is processed before the others have their turn.
const SLICE: Duration = Duration::from_millis(100);

/// How many records are processed between two looks at the clock: many fast ones, for which a look costs as much as a
/// record, and a single slow one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride(usize);

impl Default for Stride {
    fn default() -> Self {
        Stride(1)
    }
}

impl Stride {
    const LONGEST: usize = 64;
    const SHORT: Duration = Duration::from_millis(1);

    /// The records of a stride took so long.
    fn took(&mut self, time: Duration) {
        self.0 = if time < Self::SHORT { (self.0 * 2).min(Self::LONGEST) } else { (self.0 / 2).max(1) };
        if time >= SLICE {
            self.0 = 1;
        }
    }
}

impl TaskManager {
    /// Processes up to a turn's records of every task that may, until then. Returns how many there were.
    pub(in crate::runtime) fn process(&mut self, until: Instant) -> Result<usize> {
        let ids: Vec<TaskId> = self.machine.working().collect();
        let first = self.next.take().and_then(|next| ids.iter().position(|id| *id >= next)).unwrap_or(0);
        let (mut total, began) = (0, Instant::now());
        for id in ids.iter().cycle().skip(first).take(ids.len()) {
            if total > 0 && Instant::now() >= until {
                self.next = Some(*id);
                break;
            }
            match self.process_task(*id, until) {
                Ok(done) => total += done,
                Err(error) => {
                    let mut anew = Anew::default();
                    anew.note(*id, Err(error))?;
                    self.on(Event::BeginAnew(anew))?;
                }
            }
        }
        self.resume_drained()?;
        self.metrics.processed(began.elapsed(), total, now_ms());
        Ok(total)
    }

    fn process_task(&mut self, id: TaskId, until: Instant) -> Result<usize> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(0) };
        let mut begun = Instant::now();
        let end = until.min(begun + SLICE);
        let mut now = now_ms();
        let mut done = 0;
        while done < TURN {
            let mut in_stride = 0;
            while in_stride < self.stride.0 && active.task.process(now)? {
                in_stride += 1;
            }
            if in_stride == 0 {
                break;
            }
            done += in_stride;
            let at = Instant::now();
            self.stride.took(at - begun);
            active.worked += at - begun;
            // A store that takes as much memory as it should waits for a commit.
            if at >= end || active.task.needs_commit() {
                break;
            }
            begun = at;
            now = now_ms();
        }
        Ok(done)
    }

    /// Goes on reading partitions whose queues have room again.
    fn resume_drained(&mut self) -> Result<()> {
        let limit = self.shared.config.fields().buffered_records_per_partition;
        let mut resumed = Vec::new();
        for id in self.machine.working() {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
            let (task, inputs) = (&active.task, &active.inputs);
            active.full.retain(|partition| {
                let full = inputs.get(partition).is_some_and(|queue| task.buffered(*queue) > limit);
                if !full {
                    resumed.push(partition.clone());
                }
                full
            });
        }
        if resumed.is_empty() {
            return Ok(());
        }
        self.consumer.resume(&resumed).map_err(|error| client_failed("resuming", &error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stride;

    #[test]
    fn the_clock_is_read_often_where_records_are_slow_and_seldom_where_they_are_fast() {
        let mut stride = Stride::default();
        for _ in 0..10 {
            stride.took(Duration::from_micros(20));
        }
        assert_eq!(stride, Stride(64));
        stride.took(Duration::from_millis(4));
        assert_eq!(stride, Stride(32));
        stride.took(Duration::from_secs(3));
        assert_eq!(stride, Stride(1));
        stride.took(Duration::from_millis(60));
        assert_eq!(stride, Stride(1));
    }
}
