//! Which names a topic may have, in Kafka's words.

/// The topics in which the cluster keeps its own state, for which Metadata answers `is_internal`.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// The log of the cluster's metadata, which no client may create.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The topic of the transaction coordinator.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";

/// The topic of the group coordinator.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";

const MAX_LENGTH: usize = 249;

/// Why `name` is no name of a topic, as Kafka tells it.
pub(crate) fn invalid(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        // Kafka counts UTF-16 units; a name above the limit in those is told so first.
        _ if name.encode_utf16().count() > MAX_LENGTH => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_LENGTH}")
        }
        _ if !name.chars().all(legal) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// The existing topic whose metrics would have the same name as those of `name`, where `.` and `_`
/// are one character.
pub(crate) fn collision<'a>(name: &str, existing: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if !name.contains(['.', '_']) {
        return None;
    }
    let unified = |name: &str| name.replace('.', "_");
    let wanted = unified(name);
    existing.into_iter().find(|other| *other != name && unified(other) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_in_kafkas_words() {
        let long = "a".repeat(250);
        let cases = [
            ("users", None),
            ("a.b_c-D9", None),
            ("", Some("Topic name is invalid: the empty string is not allowed".to_owned())),
            ("..", Some("Topic name is invalid: '..' is not allowed".to_owned())),
            (
                "bad/name",
                Some(
                    "Topic name is invalid: 'bad/name' contains one or more characters other than ASCII \
                     alphanumerics, '.', '_' and '-'"
                        .to_owned(),
                ),
            ),
            (
                long.as_str(),
                Some(format!(
                    "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
                )),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(invalid(name), expected, "{name}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        let existing = ["a.b", "c"];
        assert_eq!(collision("a_b", existing.into_iter()), Some("a.b"));
        assert_eq!(collision("a.b", existing.into_iter()), None);
        assert_eq!(collision("c", existing.into_iter()), None);
    }
}
