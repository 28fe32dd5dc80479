//! Why topics could not be created, for as long as it is told (Kafka's `ExpiringErrorCache`).

use std::collections::HashMap;

/// As many are kept at once; then those go that would go first.
const CAPACITY: usize = 1000;

/// The last error of a topic, until it is over.
#[derive(Debug, Default)]
pub(super) struct RecentErrors(HashMap<String, (String, i64)>);

impl RecentErrors {
    /// Keeps an error of a topic for `keep_ms` from `now_ms`.
    pub(super) fn put(&mut self, topic: &str, error: String, now_ms: i64, keep_ms: i64) {
        self.0.retain(|_, (_, until_ms)| *until_ms > now_ms);
        self.0.insert(topic.to_owned(), (error, now_ms.saturating_add(keep_ms)));
        while self.0.len() > CAPACITY {
            let first = self.0.iter().min_by_key(|(_, (_, until_ms))| *until_ms).map(|(topic, _)| topic.clone());
            let Some(first) = first else { return };
            self.0.remove(&first);
        }
    }

    /// The error of a topic, if there is one still.
    pub(super) fn get(&self, topic: &str, now_ms: i64) -> Option<&str> {
        let (error, until_ms) = self.0.get(topic)?;
        (*until_ms > now_ms).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_for_its_time() {
        let mut errors = RecentErrors::default();
        errors.put("a", "why".to_owned(), 100, 10);
        assert_eq!(errors.get("a", 109), Some("why"));
        assert_eq!(errors.get("a", 110), None);
        assert_eq!(errors.get("b", 100), None);
    }

    #[test]
    fn there_are_never_more_than_fit() {
        let mut errors = RecentErrors::default();
        for n in 0..=1000 {
            errors.put(&n.to_string(), String::new(), 0, 10 + n);
        }
        assert_eq!((errors.0.len(), errors.get("0", 0), errors.get("1", 0)), (1000, None, Some("")));
    }
}
