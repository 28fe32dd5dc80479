//! The levels that features are to have, from the command line.

use std::collections::BTreeMap;

use vltava_client::admin::{FeatureUpdate, UpgradeType};

use super::versions::{FEATURES, METADATA_VERSION, MetadataVersion};
use crate::failure::{Failure, message};
use crate::options::Options;

/// Updates by the feature's name.
pub(super) type Updates = BTreeMap<String, FeatureUpdate>;

/// The updates of `upgrade` and `downgrade`.
///
/// # Errors
/// In the words of Kafka's tool.
pub(super) fn of_levels(options: &Options, upgrade_type: UpgradeType) -> Result<Updates, Failure> {
    let mut updates = Updates::new();
    if let Some(release) = options.value("release-version") {
        if options.has("metadata") || options.has("feature") {
            return refuse("Can not specify `release-version` with other feature flags.");
        }
        let version = MetadataVersion::parse(release).map_err(Failure::Message)?;
        put(&mut updates, METADATA_VERSION, version.level, upgrade_type)?;
        for feature in &FEATURES {
            let level = feature.default_level(&version);
            // Nothing is upgraded to 0.
            if upgrade_type != UpgradeType::Upgrade || level > 0 {
                put(&mut updates, feature.name, level, upgrade_type)?;
            }
        }
        return Ok(updates);
    }
    if let Some(version) = options.value("metadata") {
        let version = MetadataVersion::parse(version).map_err(Failure::Message)?;
        put(&mut updates, METADATA_VERSION, version.level, upgrade_type)?;
    }
    for feature in options.values("feature") {
        let (name, level) = name_and_level(feature)?;
        put(&mut updates, name, level, upgrade_type)?;
    }
    Ok(updates)
}

/// The updates of `disable`.
///
/// # Errors
/// In the words of Kafka's tool.
pub(super) fn to_zero(options: &Options, upgrade_type: UpgradeType) -> Result<Updates, Failure> {
    let mut updates = Updates::new();
    for feature in options.values("feature") {
        put(&mut updates, feature, 0, upgrade_type)?;
    }
    Ok(updates)
}

fn put(updates: &mut Updates, name: &str, level: i16, upgrade_type: UpgradeType) -> Result<(), Failure> {
    let update = FeatureUpdate::new(level, upgrade_type).map_err(|error| Failure::Message(message(&error)))?;
    match updates.insert(name.to_owned(), update) {
        None => Ok(()),
        Some(_) => refuse(&format!("Feature {name} was specified more than once.")),
    }
}

/// The parts of `feature=level`.
///
/// # Errors
/// In the words of Kafka's tool.
pub(super) fn name_and_level(text: &str) -> Result<(&str, i16), Failure> {
    let Some((name, level)) = text.split_once('=') else {
        return refuse(&format!("Can't parse feature=level string {text}: equals sign not found."));
    };
    let (name, level) = (name.trim(), level.trim());
    match level.parse() {
        Ok(level) => Ok((name, level)),
        Err(_) => refuse(&format!("Can't parse feature=level string {text}: unable to parse {level} as a short.")),
    }
}

fn refuse<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::Message(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::OPTIONS;
    use super::*;

    fn read(line: &str, upgrade_type: UpgradeType) -> Result<Vec<(String, i16)>, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let options = Options::parse(OPTIONS, &words)?;
        let updates = match options.rest.first().map(String::as_str) {
            Some("disable") => to_zero(&options, upgrade_type)?,
            _ => of_levels(&options, upgrade_type)?,
        };
        assert!(updates.values().all(|update| update.upgrade_type() == upgrade_type));
        Ok(updates.into_iter().map(|(name, update)| (name, update.max_version_level())).collect())
    }

    #[test]
    fn levels_come_one_by_one_or_with_a_release() {
        let all = |levels: [i16; 7]| {
            let names = [
                "eligible.leader.replicas.version",
                "group.version",
                "kraft.version",
                METADATA_VERSION,
                "share.version",
                "streams.version",
                "transaction.version",
            ];
            names.into_iter().zip(levels).collect::<Vec<_>>()
        };
        let (upgrade, downgrade) = (UpgradeType::Upgrade, UpgradeType::SafeDowngrade);
        for (line, upgrade_type, expected) in [
            ("upgrade", upgrade, vec![]),
            ("upgrade --feature a=1 --feature b=2", upgrade, vec![("a", 1), ("b", 2)]),
            ("upgrade --metadata 4.0 --feature a=1", upgrade, vec![("a", 1), (METADATA_VERSION, 25)]),
            ("upgrade --release-version 4.3", upgrade, all([1, 1, 1, 30, 1, 1, 2])),
            ("upgrade --release-version 3.9", upgrade, vec![("kraft.version", 1), (METADATA_VERSION, 21)]),
            ("downgrade --release-version 3.9", downgrade, all([0, 0, 1, 21, 0, 0, 0])),
            ("downgrade --feature a=0", downgrade, vec![("a", 0)]),
            ("disable --feature a --feature b", downgrade, vec![("a", 0), ("b", 0)]),
        ] {
            let expected: Vec<(String, i16)> =
                expected.into_iter().map(|(name, level)| (name.to_owned(), level)).collect();
            assert_eq!(read(line, upgrade_type).expect(line), expected, "{line}");
        }
    }

    #[test]
    fn refuses_in_kafkas_words() {
        for (line, expected) in [
            ("upgrade --feature a", "Can't parse feature=level string a: equals sign not found."),
            ("upgrade --feature a=x", "Can't parse feature=level string a=x: unable to parse x as a short."),
            (
                "upgrade --feature a=40000",
                "Can't parse feature=level string a=40000: unable to parse 40000 as a short.",
            ),
            ("upgrade --feature a=1 --feature a=2", "Feature a was specified more than once."),
            (
                "upgrade --metadata 4.0 --feature metadata.version=2",
                "Feature metadata.version was specified more than once.",
            ),
            (
                "upgrade --release-version 4.0 --feature a=2",
                "Can not specify `release-version` with other feature flags.",
            ),
            (
                "upgrade --feature a=0",
                "The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the provided \
                 maxVersionLevel:0 is < 1.",
            ),
            ("upgrade --feature a=-1", "Cannot specify a negative version level."),
        ] {
            assert_eq!(read(line, UpgradeType::Upgrade).expect_err(line).message(), expected, "{line}");
        }
        let twice = read("disable --feature a --feature a", UpgradeType::SafeDowngrade).expect_err("twice");
        assert_eq!(twice.message(), "Feature a was specified more than once.");
    }
}
