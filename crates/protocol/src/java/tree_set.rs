//! Java's red-black tree.

use std::cmp::Ordering;

/// A `java.util.TreeSet` whose comparator may change its mind between additions: what is iterated depends on the tree
/// that the additions made.
#[derive(Debug, Default)]
pub struct TreeSet {
    nodes: Vec<Node>,
    root: Option<usize>,
}

#[derive(Debug)]
struct Node {
    item: usize,
    parent: Option<usize>,
    left: Option<usize>,
    right: Option<usize>,
    red: bool,
}

impl TreeSet {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        TreeSet { nodes: Vec::new(), root: None }
    }

    fn node(&self, at: Option<usize>) -> Option<&Node> {
        at.and_then(|at| self.nodes.get(at))
    }

    /// Adds `item` where `compare` says, unless something is equal to it.
    pub fn insert(&mut self, item: usize, compare: impl Fn(usize, usize) -> Ordering) {
        let new = self.nodes.len();
        let (mut parent, mut at, mut side) = (None, self.root, Ordering::Equal);
        while let Some(node) = self.node(at) {
            parent = at;
            side = compare(item, node.item);
            at = match side {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return,
            };
        }
        self.nodes.push(Node { item, parent, left: None, right: None, red: true });
        match parent.and_then(|parent| self.nodes.get_mut(parent)) {
            None => self.root = Some(new),
            Some(parent) if side == Ordering::Less => parent.left = Some(new),
            Some(parent) => parent.right = Some(new),
        }
        self.fix(new);
    }

    fn parent(&self, at: Option<usize>) -> Option<usize> {
        self.node(at).and_then(|node| node.parent)
    }
    fn left(&self, at: Option<usize>) -> Option<usize> {
        self.node(at).and_then(|node| node.left)
    }
    fn right(&self, at: Option<usize>) -> Option<usize> {
        self.node(at).and_then(|node| node.right)
    }
    fn red(&self, at: Option<usize>) -> bool {
        self.node(at).is_some_and(|node| node.red)
    }
    fn paint(&mut self, at: Option<usize>, red: bool) {
        if let Some(node) = at.and_then(|at| self.nodes.get_mut(at)) {
            node.red = red;
        }
    }

    fn fix(&mut self, new: usize) {
        let mut at = Some(new);
        while at.is_some() && at != self.root && self.red(self.parent(at)) {
            let grand = self.parent(self.parent(at));
            let parent_is_left = self.parent(at) == self.left(grand);
            let uncle = if parent_is_left { self.right(grand) } else { self.left(grand) };
            if self.red(uncle) {
                self.paint(self.parent(at), false);
                self.paint(uncle, false);
                self.paint(grand, true);
                at = grand;
                continue;
            }
            let parent = self.parent(at);
            let inner = if parent_is_left { self.right(parent) } else { self.left(parent) };
            if at == inner {
                at = parent;
                self.rotate(at, parent_is_left);
            }
            let parent = self.parent(at);
            let grand = self.parent(parent);
            self.paint(parent, false);
            self.paint(grand, true);
            self.rotate(grand, !parent_is_left);
        }
        self.paint(self.root, false);
    }

    fn rotate(&mut self, at: Option<usize>, to_left: bool) {
        let Some(p) = at else { return };
        let Some(r) = (if to_left { self.right(at) } else { self.left(at) }) else { return };
        let inner = if to_left { self.left(Some(r)) } else { self.right(Some(r)) };
        let above = self.parent(at);
        if let Some(node) = self.nodes.get_mut(p) {
            *(if to_left { &mut node.right } else { &mut node.left }) = inner;
            node.parent = Some(r);
        }
        if let Some(node) = inner.and_then(|inner| self.nodes.get_mut(inner)) {
            node.parent = Some(p);
        }
        if let Some(node) = self.nodes.get_mut(r) {
            node.parent = above;
            *(if to_left { &mut node.left } else { &mut node.right }) = Some(p);
        }
        match above.and_then(|above| self.nodes.get_mut(above)) {
            None => self.root = Some(r),
            Some(node) if node.left == Some(p) => node.left = Some(r),
            Some(node) => node.right = Some(r),
        }
    }

    /// In order.
    #[must_use]
    pub fn items(&self) -> Vec<usize> {
        let mut items = Vec::new();
        let mut stack = Vec::new();
        let mut at = self.root;
        while at.is_some() || !stack.is_empty() {
            while let Some(here) = at {
                stack.push(here);
                at = self.left(at);
            }
            let here = stack.pop();
            items.extend(self.node(here).map(|node| node.item));
            at = self.right(here);
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_set_with_a_fixed_order_sorts() {
        let mut set = TreeSet::new();
        for item in [5, 3, 8, 1, 4, 7, 9, 2, 6, 0, 5] {
            set.insert(item, |a, b| a.cmp(&b));
        }
        assert_eq!(set.items(), (0..10).collect::<Vec<_>>());
    }
}
