//! When what is wrong is said: when it begins, seldom while it lasts, and when it is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::trouble::Trouble;

/// Between two warnings of the same.
const PAUSE: Duration = Duration::from_secs(600);

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct Watch {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    words: String,
    since: Instant,
    said: Instant,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Begun(String),
    Lasting(String, Duration),
    Over(String),
}

impl Watch {
    /// What is to be said of what was found now.
    pub(super) fn look(&mut self, found: Vec<Trouble>, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        let is_found = |subject: &String| found.iter().any(|trouble| trouble.subject == *subject);
        self.known.retain(|subject, known| {
            let lasts = is_found(subject);
            if !lasts {
                said.push(Said::Over(std::mem::take(&mut known.words)));
            }
            lasts
        });
        for Trouble { subject, words, .. } in found {
            match self.known.get_mut(&subject) {
                None => {
                    said.push(Said::Begun(words.clone()));
                    self.known.insert(subject, Known { words, since: now, said: now });
                }
                Some(known) => {
                    if now.duration_since(known.said) >= PAUSE {
                        known.said = now;
                        said.push(Said::Lasting(words.clone(), now.duration_since(known.since)));
                    }
                    known.words = words;
                }
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_seldom_and_its_end_once() {
        let trouble = |subject: &str, words: &str| Trouble {
            subject: subject.to_owned(),
            words: words.to_owned(),
            ends_with_a_restart: false,
        };
        let begun = Instant::now();
        let mut watch = Watch::default();
        let mut look = |found: &[Trouble], seconds| watch.look(found.to_vec(), begun + Duration::from_secs(seconds));
        assert_eq!(look(&[], 0), []);
        assert_eq!(look(&[trouble("a", "a 1")], 10), [Said::Begun("a 1".to_owned())]);
        assert_eq!(look(&[trouble("a", "a 2"), trouble("b", "b 1")], 20), [Said::Begun("b 1".to_owned())]);
        assert_eq!(look(&[trouble("a", "a 3"), trouble("b", "b 1")], 609), []);
        let both = [trouble("a", "a 4"), trouble("b", "b 1")];
        assert_eq!(look(&both, 610), [Said::Lasting("a 4".to_owned(), Duration::from_secs(600))]);
        assert_eq!(look(&[trouble("a", "a 4")], 611), [Said::Over("b 1".to_owned())]);
        assert_eq!(look(&[], 612), [Said::Over("a 4".to_owned())]);
        assert_eq!(look(&[trouble("a", "a 5")], 613), [Said::Begun("a 5".to_owned())]);
    }
}
