//! Features of the cluster: which levels brokers understand, and which are in force (KIP-584, KIP-778).

use std::collections::BTreeMap;

use vltava_protocol::ErrorCode;
use vltava_protocol::messages::update_features_request::FeatureUpdateKey;
use vltava_protocol::messages::{ApiVersionsResponse, UpdateFeaturesRequest};

use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::{SendOptions, api_versions_request};

/// The features of a cluster, Kafka's `FeatureMetadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeatureMetadata {
    /// The levels that are in force; a feature that is off is not here.
    pub finalized_features: BTreeMap<String, FinalizedVersionRange>,
    /// Since which offset of the metadata they are known to be; `None` where the broker does not say.
    pub finalized_features_epoch: Option<i64>,
    /// The levels that the broker understands.
    pub supported_features: BTreeMap<String, SupportedVersionRange>,
}

/// Levels of a feature that are in force, Kafka's `FinalizedVersionRange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinalizedVersionRange {
    /// The lowest one.
    pub min_version_level: i16,
    /// The highest one, which counts.
    pub max_version_level: i16,
}

/// Levels of a feature that a broker understands, Kafka's `SupportedVersionRange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedVersionRange {
    /// The lowest one.
    pub min_version: i16,
    /// The highest one.
    pub max_version: i16,
}

/// Whose features are told, Kafka's `DescribeFeaturesOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct DescribeFeaturesOptions {
    node_id: Option<i32>,
}

impl DescribeFeaturesOptions {
    /// Those that this broker knows. Default: any broker.
    pub fn node_id(self, node_id: i32) -> Self {
        Self { node_id: Some(node_id) }
    }
}

/// Which changes of a level are allowed, Kafka's `FeatureUpdate.UpgradeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeType {
    /// To a higher one.
    Upgrade,
    /// To a lower one, if no metadata is lost by it.
    SafeDowngrade,
    /// To a lower one, even if metadata is lost by it.
    UnsafeDowngrade,
}

impl UpgradeType {
    fn code(self) -> i8 {
        match self {
            Self::Upgrade => 1,
            Self::SafeDowngrade => 2,
            Self::UnsafeDowngrade => 3,
        }
    }
}

/// The level that a feature is to have, Kafka's `FeatureUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureUpdate {
    max_version_level: i16,
    upgrade_type: UpgradeType,
}

impl FeatureUpdate {
    /// To this level; 0 is off.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] for a negative level, and for an upgrade to 0.
    pub fn new(max_version_level: i16, upgrade_type: UpgradeType) -> Result<Self, ClientError> {
        if max_version_level == 0 && upgrade_type == UpgradeType::Upgrade {
            return Err(ClientError::invalid(
                "The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the provided \
                 maxVersionLevel:0 is < 1.",
            ));
        }
        if max_version_level < 0 {
            return Err(ClientError::invalid("Cannot specify a negative version level."));
        }
        Ok(Self { max_version_level, upgrade_type })
    }

    /// The level.
    #[must_use]
    pub fn max_version_level(&self) -> i16 {
        self.max_version_level
    }

    /// Which change is allowed.
    #[must_use]
    pub fn upgrade_type(&self) -> UpgradeType {
        self.upgrade_type
    }
}

/// How features are updated, Kafka's `UpdateFeaturesOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct UpdateFeaturesOptions {
    validate_only: bool,
}

impl UpdateFeaturesOptions {
    /// Whether updates are only checked. Default: no.
    pub fn validate_only(self, validate_only: bool) -> Self {
        Self { validate_only }
    }
}

impl Admin {
    /// The features of the cluster, and the levels that a broker understands.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub async fn describe_features(&self, options: DescribeFeaturesOptions) -> Result<FeatureMetadata, ClientError> {
        let request = api_versions_request();
        let response = match options.node_id {
            Some(node) => self.ask(node, &request, |response| response.error_code).await?,
            None => {
                self.retry(async || {
                    let response = self.cluster.send_any(&request).await?;
                    ClientError::check(response.error_code, None).map(|()| response)
                })
                .await?
            }
        };
        Ok(feature_metadata(response))
    }

    /// Gives features other levels: brokers since 4.0 do all of it or nothing.
    ///
    /// # Errors
    /// For each feature `FeatureUpdateFailed`, `InvalidUpdateVersion`, or what happened to the call, which is
    /// [`ClientError::UnsupportedVersion`] of before Kafka 2.7. Of the call [`ClientError::InvalidArgument`] without any
    /// feature or for an empty name.
    pub async fn update_features<S: Into<String>>(
        &self,
        updates: impl IntoIterator<Item = (S, FeatureUpdate)>,
        options: UpdateFeaturesOptions,
    ) -> Result<Results<String, ()>, ClientError> {
        let updates: BTreeMap<String, FeatureUpdate> =
            updates.into_iter().map(|(name, update)| (name.into(), update)).collect();
        if updates.is_empty() {
            return Err(ClientError::invalid("Feature updates can not be null or empty."));
        }
        if updates.keys().any(|name| name.trim().is_empty()) {
            return Err(ClientError::invalid("Provided feature can not be empty."));
        }
        let feature_updates = updates.iter().map(|(name, update)| FeatureUpdateKey {
            feature: name.clone(),
            max_version_level: update.max_version_level,
            upgrade_type: update.upgrade_type.code(),
            ..FeatureUpdateKey::default()
        });
        let request = UpdateFeaturesRequest {
            timeout_ms: self.timeout_ms(),
            feature_updates: feature_updates.collect(),
            validate_only: options.validate_only,
            ..UpdateFeaturesRequest::default()
        };
        let answered = self
            .retry(async || {
                let response = self.cluster.send_controller(&request, SendOptions::default()).await?;
                ClientError::check(response.error_code, response.error_message.as_deref()).map(|()| response.results)
            })
            .await;
        let result_of = |name: &str| match &answered {
            Err(error) => Err(error.clone()),
            // Brokers since 4.0 say nothing of single features.
            Ok(results) if results.is_empty() => Ok(()),
            Ok(results) => match results.iter().find(|result| result.feature == name) {
                Some(result) => ClientError::check(result.error_code, result.error_message.as_deref()),
                None => {
                    let text = format!("The controller response did not contain a result for feature {name}");
                    ClientError::check(ErrorCode::UnknownServerError.code(), Some(&text))
                }
            },
        };
        Ok(updates.into_keys().map(|name| (name.clone(), result_of(&name))).collect())
    }
}

fn feature_metadata(response: ApiVersionsResponse) -> FeatureMetadata {
    let finalized = response.finalized_features.into_iter().map(|feature| {
        let range = FinalizedVersionRange {
            min_version_level: feature.min_version_level,
            max_version_level: feature.max_version_level,
        };
        (feature.name, range)
    });
    let supported = response.supported_features.into_iter().map(|feature| {
        (feature.name, SupportedVersionRange { min_version: feature.min_version, max_version: feature.max_version })
    });
    FeatureMetadata {
        finalized_features: finalized.collect(),
        finalized_features_epoch: Some(response.finalized_features_epoch).filter(|epoch| *epoch >= 0),
        supported_features: supported.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_below_zero_and_an_upgrade_to_zero_are_refused() {
        for (level, upgrade_type, is_valid) in [
            (1, UpgradeType::Upgrade, true),
            (0, UpgradeType::Upgrade, false),
            (0, UpgradeType::SafeDowngrade, true),
            (0, UpgradeType::UnsafeDowngrade, true),
            (-1, UpgradeType::UnsafeDowngrade, false),
        ] {
            assert_eq!(FeatureUpdate::new(level, upgrade_type).is_ok(), is_valid, "{level} {upgrade_type:?}");
        }
    }

    #[test]
    fn an_epoch_that_is_not_known_is_none() {
        let epoch = |finalized_features_epoch| {
            let response = ApiVersionsResponse { finalized_features_epoch, ..ApiVersionsResponse::default() };
            feature_metadata(response).finalized_features_epoch
        };
        assert_eq!((epoch(-1), epoch(0), epoch(7)), (None, Some(0), Some(7)));
    }
}
