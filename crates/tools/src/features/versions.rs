//! The features of Apache Kafka 4.3.1 and their levels, those of `metadata.version` with their names.

/// The feature of the form of the metadata.
pub(super) const METADATA_VERSION: &str = "metadata.version";

/// Releases, and their levels of `metadata.version` in turn.
const RELEASES: [(&str, i16); 12] = [
    ("3.3", 1),
    ("3.4", 1),
    ("3.5", 3),
    ("3.6", 3),
    ("3.7", 5),
    ("3.8", 1),
    ("3.9", 1),
    ("4.0", 4),
    ("4.1", 2),
    ("4.2", 2),
    ("4.3", 1),
    ("4.4", 1),
];
/// The first level, which alone of its release is left: IV3 of 3.3.
const FIRST: (i16, i16) = (7, 3);
/// The newest level that is not under development.
const LATEST_PRODUCTION: i16 = 30;

/// A level of `metadata.version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetadataVersion {
    pub(super) level: i16,
    release: &'static str,
    /// Such as `4.3-IV0`.
    pub(super) name: String,
}

impl MetadataVersion {
    /// All of them, the lowest first.
    fn all() -> impl Iterator<Item = Self> {
        let (first_level, first_number) = FIRST;
        RELEASES
            .into_iter()
            .flat_map(move |(release, count)| {
                let first = if release == "3.3" { first_number } else { 0 };
                (first..first + count).map(move |number| (release, number))
            })
            .zip(first_level..)
            .map(|((release, number), level)| Self { level, release, name: format!("{release}-IV{number}") })
    }

    /// The one of a level.
    pub(super) fn of_level(level: i16) -> Option<Self> {
        Self::all().find(|version| version.level == level)
    }

    /// The newest one that is not under development.
    pub(super) fn latest_production() -> Self {
        Self { level: LATEST_PRODUCTION, release: "4.3", name: "4.3-IV0".to_owned() }
    }

    /// The one of a version such as `4.0-IV1`, `4.0` or `4.0.1`; of the two last, the newest of the release.
    ///
    /// # Errors
    /// In Kafka's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut segments: Vec<&str> = text.split('.').collect();
        while segments.last().is_some_and(|segment| segment.is_empty()) {
            segments.pop();
        }
        let first_two = segments.get(..2).filter(|_| segments.len() > 2).map(|segments| segments.join("."));
        let key = first_two.as_deref().unwrap_or(text);
        let of_release = || Self::all().filter(|version| version.release == key && version.level <= LATEST_PRODUCTION);
        let found = Self::all().find(|version| version.name == key).or_else(|| of_release().last());
        found.ok_or_else(|| {
            let names: Vec<String> = Self::all().map(|version| version.name).collect();
            format!("Unknown metadata.version '{text}'. Supported metadata.version are: {}", names.join(", "))
        })
    }
}

/// A feature besides `metadata.version`. Each has the level 0 of the first version of the metadata on.
#[derive(Debug)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    /// From which level of `metadata.version` on each level above 0 is the one to begin with.
    since: &'static [i16],
    /// What the highest level needs: a feature and its level.
    requires: Option<(&'static str, i16)>,
}

/// In Kafka's order.
pub(super) const FEATURES: [Feature; 6] = [
    Feature { name: "kraft.version", since: &[21], requires: None },
    Feature { name: "transaction.version", since: &[24, 24], requires: None },
    Feature { name: "group.version", since: &[22], requires: None },
    Feature { name: "eligible.leader.replicas.version", since: &[26], requires: Some((METADATA_VERSION, 23)) },
    Feature { name: "share.version", since: &[28], requires: None },
    Feature { name: "streams.version", since: &[29], requires: None },
];

impl Feature {
    /// The level that a cluster with this level of `metadata.version` begins with.
    pub(super) fn default_level(&self, metadata_version: &MetadataVersion) -> i16 {
        level(self.since.iter().take_while(|since| **since <= metadata_version.level).count())
    }

    /// What a level needs.
    ///
    /// # Errors
    /// In Kafka's words, if there is no such level.
    pub(super) fn dependencies(&self, of: i16) -> Result<Option<(&'static str, i16)>, String> {
        let highest = level(self.since.len());
        match of {
            of if of == highest => Ok(self.requires),
            of if (0..highest).contains(&of) => Ok(None),
            _ => Err(format!("No feature:{} with feature level {of}", self.name)),
        }
    }
}

fn level(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_names_of_kafka() {
        for (level, name) in [
            (7, "3.3-IV3"),
            (8, "3.4-IV0"),
            (11, "3.5-IV2"),
            (14, "3.6-IV2"),
            (19, "3.7-IV4"),
            (20, "3.8-IV0"),
            (21, "3.9-IV0"),
            (25, "4.0-IV3"),
            (27, "4.1-IV1"),
            (29, "4.2-IV1"),
            (30, "4.3-IV0"),
            (31, "4.4-IV0"),
        ] {
            assert_eq!(MetadataVersion::of_level(level).map(|version| version.name).as_deref(), Some(name));
        }
        let latest = MetadataVersion::latest_production();
        assert_eq!(MetadataVersion::of_level(latest.level), Some(latest));
        assert_eq!((MetadataVersion::of_level(6), MetadataVersion::of_level(32)), (None, None));
    }

    #[test]
    fn versions_are_read_as_kafka_does() {
        for (text, level) in [
            ("3.3", Some(7)),
            ("4.0", Some(25)),
            ("4.0-IV1", Some(23)),
            ("4.0.1", Some(25)),
            ("3.9.x", Some(21)),
            ("3.7-IV1.2", Some(16)),
            ("4.4-IV0", Some(31)),
            // Under development: by its own name alone.
            ("4.4", None),
            ("4.0.", None),
            ("3.3-IV2", None),
            ("4", None),
            ("", None),
        ] {
            assert_eq!(MetadataVersion::parse(text).ok().map(|version| version.level), level, "{text}");
        }
        let refused = MetadataVersion::parse("5.0").unwrap_err();
        assert!(
            refused.starts_with("Unknown metadata.version '5.0'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, ")
        );
        assert!(refused.ends_with(", 4.3-IV0, 4.4-IV0"), "{refused}");
    }

    #[test]
    fn a_version_of_the_metadata_has_its_levels() {
        for (version, expected) in [
            ("3.3", [0, 0, 0, 0, 0, 0]),
            ("3.9", [1, 0, 0, 0, 0, 0]),
            ("4.0-IV0", [1, 0, 1, 0, 0, 0]),
            ("4.0", [1, 2, 1, 0, 0, 0]),
            ("4.1", [1, 2, 1, 1, 0, 0]),
            ("4.2-IV0", [1, 2, 1, 1, 1, 0]),
            ("4.3", [1, 2, 1, 1, 1, 1]),
        ] {
            let version = MetadataVersion::parse(version).unwrap();
            assert_eq!(FEATURES.each_ref().map(|feature| feature.default_level(&version)), expected, "{version:?}");
        }
    }

    #[test]
    fn one_level_needs_another_feature() {
        let [_, transactions, _, replicas, ..] = &FEATURES;
        assert_eq!(replicas.dependencies(0), Ok(None));
        assert_eq!(replicas.dependencies(1), Ok(Some((METADATA_VERSION, 23))));
        assert_eq!(transactions.dependencies(1), Ok(None));
        for level in [-1, 3] {
            let refused = format!("No feature:transaction.version with feature level {level}");
            assert_eq!(transactions.dependencies(level), Err(refused));
        }
    }
}
