//! Timers of processors: by stream time and by wall clock.

/// What drives a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PunctuationType {
    /// The timestamps of records; no record, no punctuation.
    StreamTime,
    /// The clock on the wall; punctuations happen between records.
    WallClockTime,
}

/// A schedule that can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancellable(pub(crate) usize);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) interval: i64,
    /// Where the callback is: the node's arena slot, and its number there.
    pub(crate) slot: usize,
    pub(crate) callback: usize,
    pub(crate) cancelled: bool,
}

/// All timers of a task, with one queue per kind: a binary heap as Java's, so that equal times fire in its order.
#[derive(Debug, Default)]
pub(crate) struct Punctuations {
    timers: Vec<Timer>,
    stream: JavaHeap,
    wall: JavaHeap,
}

impl Punctuations {
    pub(crate) fn schedule(&mut self, kind: PunctuationType, first: i64, timer: Timer) -> Cancellable {
        let id = self.timers.len();
        self.timers.push(timer);
        self.queue(kind).offer(first, id);
        Cancellable(id)
    }

    pub(crate) fn cancel(&mut self, id: Cancellable) {
        if let Some(timer) = self.timers.get_mut(id.0) {
            timer.cancelled = true;
        }
    }

    /// Whether the time of the next timer has come: asked for behind every record.
    #[inline]
    pub(crate) fn is_due(&self, kind: PunctuationType, now: i64) -> bool {
        let queue = match kind {
            PunctuationType::StreamTime => &self.stream,
            PunctuationType::WallClockTime => &self.wall,
        };
        queue.peek().is_some_and(|(time, _)| time <= now)
    }

    /// Takes the next timer that is due; it must be given back by [`again`](Self::again) after it fired.
    pub(crate) fn due(&mut self, kind: PunctuationType, now: i64) -> Option<(usize, i64, Timer)> {
        while let Some((time, id)) = self.queue(kind).peek() {
            if time > now {
                break;
            }
            self.queue(kind).poll();
            if let Some(timer) = self.timers.get(id).copied().filter(|timer| !timer.cancelled) {
                return Some((id, time, timer));
            }
        }
        None
    }

    /// Schedules a timer that fired at `time` anew; missed ticks are skipped.
    pub(crate) fn again(&mut self, kind: PunctuationType, id: usize, time: i64, now: i64) {
        let Some(timer) = self.timers.get(id).copied().filter(|timer| !timer.cancelled) else { return };
        self.queue(kind).offer(next_punctuation(time, timer.interval, now), id);
    }

    /// All wall-clock timers are due that much earlier, in ms.
    #[cold]
    pub(crate) fn wall_clock_went_back(&mut self, by: i64) {
        self.wall.shift_back(by);
    }

    fn queue(&mut self, kind: PunctuationType) -> &mut JavaHeap {
        match kind {
            PunctuationType::StreamTime => &mut self.stream,
            PunctuationType::WallClockTime => &mut self.wall,
        }
    }
}

/// When a schedule that was due at `time` is due next; missed ticks are skipped.
pub(crate) fn next_punctuation(time: i64, interval: i64, now: i64) -> i64 {
    let next = time.saturating_add(interval);
    if now < next {
        return next;
    }
    let missed = (now - time) / interval;
    time.saturating_add((missed + 1).saturating_mul(interval))
}

/// A binary heap that breaks ties exactly as `java.util.PriorityQueue` does.
#[derive(Debug, Default)]
pub(crate) struct JavaHeap(Vec<(i64, usize)>);

impl JavaHeap {
    pub(crate) fn peek(&self) -> Option<(i64, usize)> {
        self.0.first().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn time(&self, at: usize) -> Option<i64> {
        self.0.get(at).map(|entry| entry.0)
    }

    /// Takes `by` from every time, which changes no order.
    fn shift_back(&mut self, by: i64) {
        for (time, _) in &mut self.0 {
            *time = time.saturating_sub(by);
        }
    }

    /// Enters at the end and moves up while strictly smaller than its parent.
    pub(crate) fn offer(&mut self, time: i64, id: usize) {
        let mut at = self.0.len();
        self.0.push((time, id));
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.time(parent).is_none_or(|above| time >= above) {
                break;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    /// Takes the root; the last element takes its place and moves down.
    pub(crate) fn poll(&mut self) -> Option<(i64, usize)> {
        let last = self.0.pop()?;
        let Some(root) = self.0.first_mut() else { return Some(last) };
        let taken = std::mem::replace(root, last);
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            let Some(left_time) = self.time(left) else { break };
            let (child, child_time) = match self.time(left + 1) {
                Some(right_time) if right_time < left_time => (left + 1, right_time),
                _ => (left, left_time),
            };
            if last.0 <= child_time {
                break;
            }
            self.0.swap(at, child);
            at = child;
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heap_breaks_ties_as_java_does() {
        let mut heap = JavaHeap::default();
        for (time, id) in [(5, 0), (5, 1), (5, 2), (1, 3), (5, 4)] {
            heap.offer(time, id);
        }
        let order: Vec<_> = std::iter::from_fn(|| heap.poll()).map(|(_, id)| id).collect();
        // Java: [3, 0, 2, 1, 4] after the offers; then the last goes to the root, and ties go left.
        assert_eq!(order, [3, 4, 1, 2, 0]);
    }

    #[test]
    fn missed_ticks_are_skipped() {
        let mut p = Punctuations::default();
        let timer = Timer { interval: 10, slot: 0, callback: 0, cancelled: false };
        p.schedule(PunctuationType::StreamTime, 0, timer);
        let (id, time, _) = p.due(PunctuationType::StreamTime, 37).unwrap();
        assert_eq!(time, 0);
        p.again(PunctuationType::StreamTime, id, time, 37);
        assert!(p.due(PunctuationType::StreamTime, 39).is_none());
        assert_eq!(p.due(PunctuationType::StreamTime, 40).unwrap().1, 40);
    }
    #[test]
    fn a_clock_set_back_by_a_day_keeps_no_timer_waiting_for_a_day() {
        let mut p = Punctuations::default();
        let timer = Timer { interval: 10, slot: 0, callback: 0, cancelled: false };
        let day = 24 * 60 * 60 * 1000;
        p.schedule(PunctuationType::WallClockTime, day + 10, timer);
        p.schedule(PunctuationType::StreamTime, day + 10, timer);
        p.wall_clock_went_back(day);
        assert!(p.due(PunctuationType::WallClockTime, 9).is_none());
        assert_eq!(p.due(PunctuationType::WallClockTime, 10).unwrap().1, 10);
        assert!(p.due(PunctuationType::StreamTime, 10).is_none(), "records drive these, and no clock");
    }
}
