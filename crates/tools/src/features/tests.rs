use vltava_client::admin::{FinalizedVersionRange, SupportedVersionRange};

use super::*;

fn run_offline(line: &str) -> (Result<(), Failure>, String) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let mut out = Vec::new();
    let ended = Options::parse(OPTIONS, &words).and_then(|options| run(&options, &mut out));
    (ended, String::from_utf8(out).unwrap())
}

#[test]
fn mappings_and_dependencies_are_printed_without_a_cluster() {
    let rest = "transaction.version=2\ngroup.version=1\neligible.leader.replicas.version=1\n";
    let mapping = |first: &str, last: [i16; 2]| {
        let [share, streams] = last;
        format!("{first}\nkraft.version=1\n{rest}share.version={share}\nstreams.version={streams}\n")
    };
    for (line, expected) in [
        ("version-mapping", mapping("metadata.version=30 (4.3-IV0)", [1, 1])),
        ("version-mapping --release-version 4.1.1", mapping("metadata.version=27 (4.1.1)", [0, 0])),
        (
            "feature-dependencies --feature metadata.version=23 --feature eligible.leader.replicas.version=1",
            "metadata.version=23 (4.0-IV1) has no dependencies.\neligible.leader.replicas.version=1 requires:\n    \
             metadata.version=23 (4.0-IV1)\n"
                .to_owned(),
        ),
        (
            "feature-dependencies --feature transaction.version=2",
            "transaction.version=2 has no dependencies.\n".to_owned(),
        ),
    ] {
        let (ended, out) = run_offline(line);
        ended.expect(line);
        assert_eq!(out, expected, "{line}");
    }
}

#[test]
fn refuses_in_kafkas_words() {
    for (line, expected) in [
        ("--feature a", "Command line error: too few arguments. Type --help for help."),
        (
            "nosuch",
            "Command line error: invalid choice: 'nosuch' (choose from 'describe', 'upgrade', 'downgrade', 'disable', \
             'version-mapping', 'feature-dependencies'). Type --help for help.",
        ),
        ("describe more", "Command line error: unrecognized arguments: 'more'. Type --help for help."),
        ("upgrade --unsafe", "Command line error: unrecognized arguments: '--unsafe'. Type --help for help."),
        (
            "describe",
            "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.. Type --help for \
             help.",
        ),
        ("feature-dependencies", "Command line error: argument --feature is required. Type --help for help."),
        ("feature-dependencies --feature nosuch=1", "Unknown feature: nosuch"),
        ("feature-dependencies --feature metadata.version=6", "Unknown metadata.version 6"),
        ("feature-dependencies --feature group.version=2", "No feature:group.version with feature level 2"),
        ("--bootstrap-controller h:1 describe", "option --bootstrap-controller is not supported yet"),
    ] {
        assert_eq!(run_offline(line).0.expect_err(line).message(), expected, "{line}");
    }
}

#[test]
fn features_are_described_as_kafka_does() {
    let mut features = FeatureMetadata::default();
    for (name, min_version, max_version) in [(METADATA_VERSION, 7, 32), ("group.version", 0, 1)] {
        features.supported_features.insert(name.to_owned(), SupportedVersionRange { min_version, max_version });
    }
    let range = FinalizedVersionRange { min_version_level: 30, max_version_level: 30 };
    features.finalized_features.insert(METADATA_VERSION.to_owned(), range);
    let expected = |epoch: &str| {
        [
            format!(
                "Feature: group.version                             SupportedMinVersion: 0                \
                 SupportedMaxVersion: 1                FinalizedVersionLevel: 0                Epoch: {epoch}"
            ),
            format!(
                "Feature: metadata.version                          SupportedMinVersion: 3.3-IV3          \
                 SupportedMaxVersion: UNKNOWN 32       FinalizedVersionLevel: 4.3-IV0          Epoch: {epoch}"
            ),
        ]
    };
    assert_eq!(described(&features).collect::<Vec<_>>(), expected("-"));
    features.finalized_features_epoch = Some(42);
    assert_eq!(described(&features).collect::<Vec<_>>(), expected("42"));
}

#[test]
fn outcomes_are_told_as_kafka_does() {
    for (command, dry_run, why, expected) in [
        ("upgrade", false, None, "f was upgraded to 1."),
        ("upgrade", true, None, "f can be upgraded to 1."),
        ("downgrade", false, Some("No."), "Could not downgrade f to 1. No."),
        ("downgrade", true, Some("No."), "Can not downgrade f to 1. No."),
        ("disable", false, None, "f was disabled."),
        ("disable", true, Some("No."), "Can not disable f. No."),
    ] {
        assert_eq!(outcome(command, "f", 1, dry_run, why), expected);
    }
}
