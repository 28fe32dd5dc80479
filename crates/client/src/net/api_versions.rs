//! What a broker speaks, and the choice of versions.

use std::collections::BTreeMap;

use vltava_protocol::ApiKey;
use vltava_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use vltava_protocol::wire::Request;

use crate::error::ClientError;

/// Asks for what a broker speaks, and tells who asks (KIP-511).
pub(crate) fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "vltava".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ApiVersionsRequest::default()
    }
}

/// The requests that a broker knows with their versions, and the features it has finalized.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
    finalized: BTreeMap<String, i16>,
}

impl ApiVersions {
    pub(crate) fn from_response(response: &ApiVersionsResponse) -> Self {
        Self {
            ranges: response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect(),
            finalized: response
                .finalized_features
                .iter()
                .map(|feature| (feature.name.clone(), feature.max_version_level))
                .collect(),
        }
    }

    /// Lowest and highest version of a request that the broker speaks.
    #[must_use]
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.ranges.get(&api.code()).copied()
    }

    /// All requests that the broker tells of, in order of their keys: key, lowest and highest version.
    pub fn ranges(&self) -> impl Iterator<Item = (i16, i16, i16)> {
        let mut ranges: Vec<_> =
            self.ranges.iter().map(|(code, (lowest, highest))| (*code, *lowest, *highest)).collect();
        ranges.sort_unstable();
        ranges.into_iter()
    }

    /// The level at which the cluster has finalized a feature, such as `transaction.version`; 0 without.
    #[must_use]
    pub fn feature_level(&self, feature: &str) -> i16 {
        self.finalized.get(feature).copied().unwrap_or(0)
    }

    /// The highest version of `R` that both sides speak, at most `cap`.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`] if there is none.
    pub fn pick<R: Request>(&self, cap: Option<i16>) -> Result<i16, ClientError> {
        let client_max = cap.unwrap_or(i16::MAX).min(R::API_KEY.max_stable_version());
        let broker = self.range(R::API_KEY);
        match broker {
            Some((min, max)) if min <= client_max && max >= R::MIN_VERSION => Ok(max.min(client_max)),
            _ => {
                Err(ClientError::UnsupportedVersion { api: R::API_KEY, client_min: R::MIN_VERSION, client_max, broker })
            }
        }
    }
}
