//! `java.util.PriorityQueue`: which of equal elements comes first, and the order of its iteration, follow from the heap.

/// A binary heap whose least element comes first, as Java's keeps it: Kafka's assignors of tasks (KIP-441) decide by its order.
#[derive(Clone, Debug, Default)]
pub struct PriorityQueue<T> {
    heap: Vec<T>,
}

impl<T: Ord> FromIterator<T> for PriorityQueue<T> {
    /// `new PriorityQueue<>(collection)`, of a collection that is no sorted set.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut queue = PriorityQueue { heap: items.into_iter().collect() };
        for at in (0..queue.heap.len() / 2).rev() {
            queue.sift_down(at);
        }
        queue
    }
}

impl<T: Ord> PriorityQueue<T> {
    /// A queue without elements.
    #[must_use]
    pub fn new() -> Self {
        PriorityQueue { heap: Vec::new() }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether there is one that equals this.
    #[must_use]
    pub fn contains(&self, item: &T) -> bool {
        self.heap.contains(item)
    }

    /// All of them, in the order of Java's iterator.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter()
    }

    /// `offer`.
    pub fn push(&mut self, item: T) {
        self.heap.push(item);
        self.sift_up(self.heap.len().saturating_sub(1));
    }

    /// `poll`.
    pub fn pop(&mut self) -> Option<T> {
        if self.heap.is_empty() { None } else { Some(self.take(0)) }
    }

    /// `remove` of the first that equals this; whether there was one.
    pub fn remove(&mut self, item: &T) -> bool {
        let found = self.heap.iter().position(|other| other == item);
        found.map(|at| self.take(at)).is_some()
    }

    /// The last takes the place of the one that goes, and from there its own.
    fn take(&mut self, at: usize) -> T {
        let taken = self.heap.swap_remove(at);
        if at < self.heap.len() && self.sift_down(at) == at {
            self.sift_up(at);
        }
        taken
    }

    fn less(&self, one: usize, other: usize) -> bool {
        match (self.heap.get(one), self.heap.get(other)) {
            (Some(one), Some(other)) => one < other,
            _ => false,
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    /// Where the element comes to stand.
    fn sift_down(&mut self, mut at: usize) -> usize {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let least = if self.less(right, left) { right } else { left };
            if !self.less(least, at) {
                return at;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(queue: &PriorityQueue<u32>) -> Vec<u32> {
        queue.iter().copied().collect()
    }

    /// The orders are those that Java 17 prints.
    #[test]
    fn the_heap_is_javas() {
        let mut queue: PriorityQueue<u32> = [5, 3, 8, 1, 9, 2].into_iter().collect();
        assert_eq!(order(&queue), [1, 3, 2, 5, 9, 8]);
        queue.push(0);
        assert_eq!(order(&queue), [0, 3, 1, 5, 9, 8, 2]);
        assert!(queue.remove(&3) && !queue.remove(&4));
        assert_eq!(order(&queue), [0, 2, 1, 5, 9, 8]);
        assert_eq!((queue.pop(), order(&queue)), (Some(0), vec![1, 2, 8, 5, 9]));
    }

    #[test]
    fn the_least_comes_first() {
        let mut queue = PriorityQueue::new();
        [4, 1, 3, 1, 2].into_iter().for_each(|item| queue.push(item));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [1, 1, 2, 3, 4]);
    }
}
