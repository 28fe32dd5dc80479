//! What is in a store's cache and what is below it, as one sequence.

use std::cmp::Ordering;

use super::cache::Entry;
use crate::{error::Result, state::Order};

/// Merges the cache's entries with those of the engine, both in `order`: an entry hides the engine's equal one, a
/// deleted one leaves neither. Where the two are in different orders, as in-memory window stores have it, the result is
/// what Kafka's merging iterator gives.
pub(crate) fn sorted<'a, K: 'a, V: Clone + 'a, S, T>(
    cached: impl Iterator<Item = &'a Entry<K, V>>,
    below: impl Iterator<Item = Result<S>>,
    order: Order,
    compare: impl Fn(&Entry<K, V>, &S) -> Ordering,
    from_cache: impl Fn(&'a Entry<K, V>, V) -> T,
    from_below: impl Fn(S) -> Result<T>,
) -> Result<Vec<T>> {
    let mut cached = cached.peekable();
    let mut below = below.peekable();
    let mut merged = Vec::new();
    loop {
        let Some(entry) = cached.peek() else {
            for item in below {
                merged.push(from_below(item?)?);
            }
            return Ok(merged);
        };
        let compared = match below.peek() {
            None => Ordering::Less,
            Some(Ok(item)) => match order {
                Order::Forward => compare(entry, item),
                Order::Reverse => compare(entry, item).reverse(),
            },
            Some(Err(_)) => Ordering::Greater,
        };
        if compared.is_ge()
            && let Some(item) = below.next()
        {
            let item = item?;
            if compared.is_gt() {
                merged.push(from_below(item)?);
                continue;
            }
        }
        if let Some(entry) = cached.next()
            && let Some(value) = entry.value.clone()
        {
            merged.push(from_cache(entry, value));
        }
    }
}
