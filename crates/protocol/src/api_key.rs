mod generated;

pub use generated::ApiKey;

/// What Kafka 4.3 has of an API.
struct Info {
    name: &'static str,
    min_version: i16,
    max_version: i16,
    request_flexible_since: i16,
    response_flexible_since: i16,
    latest_version_unstable: bool,
    on_broker: bool,
    on_controller: bool,
}

impl ApiKey {
    /// All APIs, by rising number; those that Kafka 4 has dropped are among them.
    pub const ALL: &'static [Self] = generated::ALL;

    /// Returns the API of a number.
    pub fn from_code(code: i16) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied()
    }

    /// Returns the API's number.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Returns Kafka's name of the API, such as `ListOffsets`.
    pub fn name(self) -> &'static str {
        self.info().map_or("", |info| info.name)
    }

    /// Returns the lowest version that Kafka 4.3 knows.
    pub fn min_version(self) -> i16 {
        self.info().map_or(0, |info| info.min_version)
    }

    /// Returns the highest version that Kafka 4.3 knows, -1 for an API that was dropped.
    pub fn max_version(self) -> i16 {
        self.info().map_or(-1, |info| info.max_version)
    }

    /// Returns the highest version that Kafka 4.3 offers by default: the last one may be unstable.
    pub fn max_stable_version(self) -> i16 {
        self.max_version() - i16::from(self.is_latest_version_unstable())
    }

    /// Returns whether the highest version is for development only.
    pub fn is_latest_version_unstable(self) -> bool {
        self.info().is_some_and(|info| info.latest_version_unstable)
    }

    /// Returns whether the version is one that Kafka 4.3 knows.
    pub fn has_version(self, version: i16) -> bool {
        (self.min_version()..=self.max_version()).contains(&version)
    }

    /// Returns whether brokers serve the API to clients.
    pub fn is_on_broker(self) -> bool {
        self.info().is_some_and(|info| info.on_broker)
    }

    /// Returns whether controllers serve the API.
    pub fn is_on_controller(self) -> bool {
        self.info().is_some_and(|info| info.on_controller)
    }

    /// Returns the version of the header in front of a request of that version.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.info().is_some_and(|info| version >= info.request_flexible_since) { 2 } else { 1 }
    }

    /// Returns the version of the header in front of an answer of that version.
    pub fn response_header_version(self, version: i16) -> i16 {
        // KIP-511: a client that asks too new a broker, or too old a one, must still understand this one.
        if self == Self::ApiVersions {
            return 0;
        }
        i16::from(self.info().is_some_and(|info| version >= info.response_flexible_since))
    }

    fn info(self) -> Option<&'static Info> {
        generated::TABLE.get(self as usize)
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_kafkas() {
        for (code, name) in
            [(0, "Produce"), (18, "ApiVersions"), (68, "ConsumerGroupHeartbeat"), (88, "StreamsGroupHeartbeat")]
        {
            let api = ApiKey::from_code(code).unwrap();
            assert_eq!((api.code(), api.name()), (code, name));
        }
        assert_eq!(ApiKey::from_code(-1), None);
        assert_eq!(ApiKey::from_code(i16::MAX), None);
        assert!(ApiKey::ALL.iter().all(|api| ApiKey::from_code(api.code()) == Some(*api)));
    }

    #[test]
    fn headers_follow_the_flexible_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(8), 0);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(4), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
    }

    #[test]
    fn version_ranges_are_those_of_kafka_4_3() {
        assert_eq!((ApiKey::Fetch.min_version(), ApiKey::Fetch.max_version()), (4, 18));
        assert_eq!(ApiKey::InitProducerId.max_version(), 6);
        assert_eq!(ApiKey::InitProducerId.max_stable_version(), 5);
        assert!(!ApiKey::LeaderAndIsr.has_version(0));
    }
}
