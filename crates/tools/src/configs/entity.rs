//! What has settings.

use vltava_client::admin::ResourceType;

/// A kind of entity whose settings can be described and altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Topic,
    Broker,
    BrokerLogger,
    Group,
    /// What clients are asked to measure.
    ClientMetrics,
    /// Who has quotas, and credentials of SCRAM, in the place of settings.
    User,
    /// Who has quotas.
    Client,
    /// The same.
    Ip,
}

/// What a command line speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// One kind, or users and clients.
    pub(super) kinds: Vec<Kind>,
    /// As many at the most; an empty name is the default.
    pub(super) names: Vec<String>,
}

impl Asked {
    /// The first entity.
    pub(super) fn head(&self) -> Entity {
        // The command line was refused without a kind.
        let kind = self.kinds.first().copied().unwrap_or(Kind::Topic);
        Entity { kind, name: self.names.first().cloned() }
    }
}

/// One entity, or with `None` all of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    /// Empty for the default of all.
    pub(super) name: Option<String>,
}

impl Kind {
    /// The kind of `--entity-type`, if it is one.
    pub(super) fn of(entity_type: &str) -> Option<Self> {
        let kinds = [
            Self::Topic,
            Self::Broker,
            Self::BrokerLogger,
            Self::Group,
            Self::ClientMetrics,
            Self::User,
            Self::Client,
            Self::Ip,
        ];
        kinds.into_iter().find(|kind| kind.plural() == entity_type)
    }

    /// Kafka's word for the kind.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Topic => "topics",
            Self::Broker => "brokers",
            Self::BrokerLogger => "broker-loggers",
            Self::Group => "groups",
            Self::ClientMetrics => "client-metrics",
            Self::User => "users",
            Self::Client => "clients",
            Self::Ip => "ips",
        }
    }

    /// Kafka's word for one of the kind.
    pub(super) fn singular(self) -> &'static str {
        let plural = self.plural();
        plural.strip_suffix('s').unwrap_or(plural)
    }

    /// Whether its entities have quotas in the place of settings.
    pub(super) fn has_quotas(self) -> bool {
        matches!(self, Self::User | Self::Client | Self::Ip)
    }

    /// What the requests for settings call it; who has quotas has none.
    pub(super) fn resource_type(self) -> Option<ResourceType> {
        match self {
            Self::Topic => Some(ResourceType::Topic),
            Self::Broker => Some(ResourceType::Broker),
            Self::BrokerLogger => Some(ResourceType::BrokerLogger),
            Self::Group => Some(ResourceType::Group),
            Self::ClientMetrics => Some(ResourceType::ClientMetrics),
            Self::User | Self::Client | Self::Ip => None,
        }
    }
}
