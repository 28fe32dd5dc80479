//! Topics chosen by a regular expression.

use regex_lite::Regex;

use crate::failure::Failure;

/// A regular expression over whole names; a comma stands for "or".
pub(crate) struct TopicFilter(Regex);

impl TopicFilter {
    /// Reads the expression as Kafka's tools do: without blanks and without the quotes around it.
    pub(crate) fn new(raw: &str) -> Result<Self, Failure> {
        let text = raw.trim().replace(',', "|").replace(' ', "");
        let text = text.trim_matches(['"', '\'']);
        let regex = Regex::new(&format!("^(?:{text})$"));
        regex.map(Self).map_err(|_| Failure::Message(format!("{text} is an invalid regex.")))
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}
