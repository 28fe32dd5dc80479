//! ApiVersions (18), versions 0–4.
//!
//! Names every API served with its versions, and the features of the cluster. A version above 4
//! is answered in version 0 with `UNSUPPORTED_VERSION` and the range of this API, so that the
//! client tries again (KIP-511). From version 3 the client names its software, which has to look
//! like a name.
//!
//! Kafka 4.3 names more, which the list of APIs has as lacking, with the features `share.version` and `kraft.version`.
//! None of them is served, so none is named.
//!
//! Versions: 1 throttle time · 3 flexible, software name, features (KIP-511, KIP-584) · 4 features
//! whose lowest version is 0.

use vltava_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use vltava_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use vltava_protocol::{ApiKey, ErrorCode};

use crate::apis::SERVED;
use crate::metadata::MetadataStore;
use crate::metadata::features::SUPPORTED_FEATURES;
use crate::request::RequestContext;

pub(crate) fn handle(
    metadata: &MetadataStore,
    context: &RequestContext,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.version >= 3 && !(is_name(&request.client_software_name) && is_name(&request.client_software_version)) {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..ApiVersionsResponse::default() };
    }
    let mut response = ApiVersionsResponse { api_keys: served(), ..ApiVersionsResponse::default() };
    if context.version >= 3 {
        let image = metadata.image();
        // Before version 4 a client takes a lowest version of 0 for an error.
        let told = SUPPORTED_FEATURES.iter().filter(|f| context.version >= 4 || f.min_version > 0);
        response.supported_features = told
            .map(|feature| SupportedFeatureKey {
                name: feature.name.to_owned(),
                min_version: feature.min_version,
                max_version: feature.max_version,
                ..SupportedFeatureKey::default()
            })
            .collect();
        response.finalized_features_epoch = metadata.end_offset().saturating_sub(1);
        response.finalized_features = image
            .features()
            .iter()
            .map(|(name, level)| FinalizedFeatureKey {
                name: name.clone(),
                max_version_level: *level,
                min_version_level: *level,
                ..FinalizedFeatureKey::default()
            })
            .collect();
    }
    response
}

/// The answer to a version that is not known, to be written in version 0.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    let own = served().into_iter().filter(|api| api.api_key == ApiKey::ApiVersions as i16);
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: own.collect(),
        ..ApiVersionsResponse::default()
    }
}

fn served() -> Vec<ApiVersion> {
    let told = SERVED.iter().map(|served| ApiVersion {
        api_key: served.api as i16,
        min_version: served.told_from,
        max_version: served.max_version,
        ..ApiVersion::default()
    });
    told.collect()
}

/// KIP-511: letters, digits, and `-` and `.` in between.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_look_like_names() {
        for (name, fine) in [("apache-kafka-java", true), ("4.3.1", true), ("", false), ("-a", false), ("a b", false)] {
            assert_eq!(is_name(name), fine, "{name}");
        }
    }
}
