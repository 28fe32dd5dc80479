//! The known name that a mistyped one most likely meant.

/// The candidate with the fewest edits from `name`, if at most a third of its length apart.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = name.len().div_ceil(3).min(6);
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mistyped_key() {
        let known = ["log.retention.ms", "log.retention.bytes", "num.partitions"];
        assert_eq!(nearest("log.retention.mss", known.into_iter()), Some("log.retention.ms"));
        assert_eq!(nearest("num.partition", known.into_iter()), Some("num.partitions"));
        assert_eq!(nearest("completely.different", known.into_iter()), None);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
