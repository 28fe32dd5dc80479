//! Changes of the levels of features, right and wrong.

use vltava_protocol::messages::update_features_request::FeatureUpdateKey;
use vltava_protocol::messages::{ApiVersionsRequest, UpdateFeaturesRequest};

use crate::transcript::Session;

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

const TRANSACTIONS: &str = "transaction.version";

fn request(updates: &[(&str, i16, i8)]) -> UpdateFeaturesRequest {
    let update = |(feature, level, upgrade_type): &(&str, i16, i8)| FeatureUpdateKey {
        feature: (*feature).to_owned(),
        max_version_level: *level,
        upgrade_type: *upgrade_type,
        ..Default::default()
    };
    UpdateFeaturesRequest {
        timeout_ms: 10_000,
        feature_updates: updates.iter().map(update).collect(),
        ..Default::default()
    }
}

/// The levels that clients are told, once one has this level.
fn levels(s: &mut Session, awaited: (&str, i16)) {
    let request = ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let answer = s.until(4, &request, |answer| {
        let level = answer.finalized_features.iter().find(|feature| feature.name == awaited.0);
        level.map_or(0, |level| level.max_version_level) == awaited.1
    });
    let mut levels: Vec<_> = answer
        .finalized_features
        .iter()
        .filter(|feature| !["kraft.version", "share.version", "streams.version"].contains(&feature.name.as_str()))
        .map(|feature| format!("{} {}-{}", feature.name, feature.min_version_level, feature.max_version_level))
        .collect();
    levels.sort();
    s.line(&levels.join(", "));
}

pub(crate) fn changes(s: &mut Session) {
    // A broker to record from may have changes of an earlier run.
    for feature in [(TRANSACTIONS, 2), ("group.version", 1), ("eligible.leader.replicas.version", 1)] {
        s.quietly(2, &request(&[(feature.0, feature.1, UPGRADE)]));
        levels(s, feature);
    }

    s.about("lower and higher");
    s.call("the level that it has", 2, &request(&[(TRANSACTIONS, 2, UPGRADE)]));
    s.call("the level that it has, to lower", 2, &request(&[(TRANSACTIONS, 2, SAFE_DOWNGRADE)]));
    s.call("lower", 2, &request(&[(TRANSACTIONS, 1, SAFE_DOWNGRADE)]));
    levels(s, (TRANSACTIONS, 1));
    s.call("off, unsafe", 1, &request(&[(TRANSACTIONS, 0, UNSAFE_DOWNGRADE)]));
    levels(s, (TRANSACTIONS, 0));
    s.call("higher, as if it were lower", 2, &request(&[(TRANSACTIONS, 1, SAFE_DOWNGRADE)]));
    s.call("higher, oldest", 0, &request(&[(TRANSACTIONS, 1, UPGRADE)]));
    levels(s, (TRANSACTIONS, 1));
    let leave = |mut request: UpdateFeaturesRequest| {
        request.feature_updates[0].allow_downgrade = true;
        request
    };
    s.call("lower with leave, oldest", 0, &leave(request(&[(TRANSACTIONS, 0, UPGRADE)])));
    s.call("higher, old", 1, &request(&[(TRANSACTIONS, 2, UPGRADE)]));
    levels(s, (TRANSACTIONS, 2));
    let only = UpdateFeaturesRequest { validate_only: true, ..request(&[(TRANSACTIONS, 1, SAFE_DOWNGRADE)]) };
    s.call("only to know", 2, &only);
    s.call("only to know, old", 1, &only);
    levels(s, (TRANSACTIONS, 2));
    s.call("two", 2, &request(&[(TRANSACTIONS, 1, SAFE_DOWNGRADE), ("group.version", 0, SAFE_DOWNGRADE)]));
    levels(s, ("group.version", 0));
    s.call("two, old", 1, &request(&[(TRANSACTIONS, 2, UPGRADE), ("group.version", 1, UPGRADE)]));
    levels(s, ("group.version", 1));
    s.call("replicas", 2, &request(&[("eligible.leader.replicas.version", 0, SAFE_DOWNGRADE)]));
    levels(s, ("eligible.leader.replicas.version", 0));
    s.call("replicas again", 2, &request(&[("eligible.leader.replicas.version", 1, UPGRADE)]));
    levels(s, ("eligible.leader.replicas.version", 1));
    s.call("none", 2, &request(&[]));
    s.call("none, old", 1, &request(&[]));

    s.about("what is refused");
    for (what, feature, level, kind) in [
        ("lower without leave", TRANSACTIONS, 1, UPGRADE),
        ("off without leave", TRANSACTIONS, 0, UPGRADE),
        ("more than there is", TRANSACTIONS, 3, UPGRADE),
        ("less than nothing", TRANSACTIONS, -1, SAFE_DOWNGRADE),
        ("no kind of upgrade", TRANSACTIONS, 2, 0),
        ("an unknown kind of upgrade", TRANSACTIONS, 2, 4),
        ("the metadata, lower", "metadata.version", 29, SAFE_DOWNGRADE),
        ("the metadata, lower without leave", "metadata.version", 29, UPGRADE),
        ("the metadata, unsafe", "metadata.version", 7, UNSAFE_DOWNGRADE),
        ("the metadata, too low", "metadata.version", 6, UNSAFE_DOWNGRADE),
        ("the metadata, higher", "metadata.version", 31, UPGRADE),
        ("the metadata, off", "metadata.version", 0, UNSAFE_DOWNGRADE),
        ("groups", "group.version", 2, UPGRADE),
        ("one that is not known", "no.such.feature", 1, UPGRADE),
        ("one that is not known, off", "no.such.feature", 0, SAFE_DOWNGRADE),
        ("one without a name", "", 1, UPGRADE),
    ] {
        s.call(what, 2, &request(&[(feature, level, kind)]));
    }
    s.call("old", 1, &request(&[(TRANSACTIONS, 1, UPGRADE)]));
    s.call("oldest", 0, &request(&[(TRANSACTIONS, 1, UPGRADE)]));
    let wrong = [(TRANSACTIONS, 1, SAFE_DOWNGRADE), ("group.version", 9, UPGRADE), ("metadata.version", 1, UPGRADE)];
    s.call("one of three is right", 2, &request(&wrong));
    s.call("one of three is right, in another order", 1, &request(&[wrong[2], wrong[0], wrong[1]]));
    let only = UpdateFeaturesRequest { validate_only: true, ..request(&[(TRANSACTIONS, 7, UPGRADE)]) };
    s.call("only to know", 2, &only);
    levels(s, (TRANSACTIONS, 2));
}
