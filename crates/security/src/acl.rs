//! Access control lists, as they stand in Kafka's messages, records and tools.

use std::fmt;

/// The name of the one resource of the type [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// The name of a literal pattern that matches every name, and the host that is every host.
pub const WILDCARD: &str = "*";

/// An enumeration of Kafka's with its codes and its names.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $code:literal, $upper:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant = $code),* }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one with this code; `Unknown` where there is none.
            #[must_use]
            pub fn from_code(code: i8) -> Self {
                match code { $($code => Self::$variant,)* _ => Self::Unknown }
            }

            /// The code on the wire and in the metadata log.
            #[must_use]
            pub const fn code(self) -> i8 {
                self as i8
            }

            /// Kafka's name, such as `ALTER_CONFIGS`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $upper),* }
            }

            /// The name as tools and the audit log write it, such as `AlterConfigs`.
            #[must_use]
            pub const fn pascal_case(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }

            /// By its name in either form, whatever the case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                let is_called = |known: &&Self| {
                    known.name().eq_ignore_ascii_case(name) || known.pascal_case().eq_ignore_ascii_case(name)
                };
                Self::ALL.iter().find(is_called).copied()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

codes! {
    /// What is done to a resource, as Kafka's `AclOperation`.
    AclOperation {
        /// None that is known.
        Unknown = 0, "UNKNOWN";
        /// Of a filter: every one.
        Any = 1, "ANY";
        /// All of them.
        All = 2, "ALL";
        /// Reading.
        Read = 3, "READ";
        /// Writing.
        Write = 4, "WRITE";
        /// Creating.
        Create = 5, "CREATE";
        /// Deleting.
        Delete = 6, "DELETE";
        /// Altering.
        Alter = 7, "ALTER";
        /// Describing.
        Describe = 8, "DESCRIBE";
        /// What brokers do among themselves.
        ClusterAction = 9, "CLUSTER_ACTION";
        /// Describing settings.
        DescribeConfigs = 10, "DESCRIBE_CONFIGS";
        /// Altering settings.
        AlterConfigs = 11, "ALTER_CONFIGS";
        /// Writing with a producer id.
        IdempotentWrite = 12, "IDEMPOTENT_WRITE";
        /// Creating delegation tokens for another user.
        CreateTokens = 13, "CREATE_TOKENS";
        /// Describing delegation tokens of another user.
        DescribeTokens = 14, "DESCRIBE_TOKENS";
        /// Taking part in a two-phase commit (KIP-939).
        TwoPhaseCommit = 15, "TWO_PHASE_COMMIT";
    }
}

codes! {
    /// Whether something is allowed, as Kafka's `AclPermissionType`.
    AclPermissionType {
        /// None that is known.
        Unknown = 0, "UNKNOWN";
        /// Of a filter: either.
        Any = 1, "ANY";
        /// It is not allowed, whatever else allows it.
        Deny = 2, "DENY";
        /// It is allowed.
        Allow = 3, "ALLOW";
    }
}

codes! {
    /// The type of what is protected, as Kafka's `ResourceType`.
    ResourceType {
        /// None that is known.
        Unknown = 0, "UNKNOWN";
        /// Of a filter: every one.
        Any = 1, "ANY";
        /// A topic.
        Topic = 2, "TOPIC";
        /// A group.
        Group = 3, "GROUP";
        /// The cluster.
        Cluster = 4, "CLUSTER";
        /// A transactional id.
        TransactionalId = 5, "TRANSACTIONAL_ID";
        /// A delegation token.
        DelegationToken = 6, "DELEGATION_TOKEN";
        /// A user.
        User = 7, "USER";
    }
}

impl ResourceType {
    /// The operations that there are on a resource of this type.
    #[must_use]
    pub const fn operations(self) -> &'static [AclOperation] {
        use AclOperation as Op;
        match self {
            Self::Topic => &[
                Op::Read,
                Op::Write,
                Op::Create,
                Op::Delete,
                Op::Alter,
                Op::Describe,
                Op::DescribeConfigs,
                Op::AlterConfigs,
            ],
            Self::Group => &[Op::Read, Op::Delete, Op::Describe, Op::DescribeConfigs, Op::AlterConfigs],
            Self::Cluster => &[
                Op::Create,
                Op::Alter,
                Op::Describe,
                Op::ClusterAction,
                Op::DescribeConfigs,
                Op::AlterConfigs,
                Op::IdempotentWrite,
            ],
            Self::TransactionalId => &[Op::Write, Op::Describe, Op::TwoPhaseCommit],
            Self::DelegationToken => &[Op::Describe],
            Self::User => &[Op::CreateTokens, Op::DescribeTokens],
            Self::Unknown | Self::Any => &[],
        }
    }
}

codes! {
    /// How a pattern's name is meant, as Kafka's `PatternType` (KIP-290).
    PatternType {
        /// None that is known.
        Unknown = 0, "UNKNOWN";
        /// Of a filter: every one.
        Any = 1, "ANY";
        /// Of a filter: every one that holds for a resource of the name.
        Match = 2, "MATCH";
        /// The name itself; `*` is every name.
        Literal = 3, "LITERAL";
        /// Every name that begins like this.
        Prefixed = 4, "PREFIXED";
    }
}

/// An entry of an access control list and the resources that it is for, as Kafka's `AclBinding`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AclBinding {
    /// The type of the resources.
    pub resource_type: ResourceType,
    /// Their name, or the beginning of their names.
    pub resource_name: String,
    /// How the name is meant.
    pub pattern_type: PatternType,
    /// Who, as `User:name`; `User:*` is everybody.
    pub principal: String,
    /// The address that they come from; `*` is every one.
    pub host: String,
    /// What they do.
    pub operation: AclOperation,
    /// Whether they may.
    pub permission_type: AclPermissionType,
}

/// In the form in which Kafka's authorizer logs one.
impl fmt::Display for AclBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StandardAcl[resourceType={}, resourceName={}, patternType={}, principal={}, host={}, operation={}, \
             permissionType={}]",
            self.resource_type,
            self.resource_name,
            self.pattern_type,
            self.principal,
            self.host,
            self.operation,
            self.permission_type
        )
    }
}

/// What bindings are meant, as Kafka's `AclBindingFilter`; a name, principal or host of `None` is any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AclBindingFilter {
    /// The type of the resources.
    pub resource_type: ResourceType,
    /// The pattern's name; of the pattern type [`PatternType::Match`] the name of a resource.
    pub resource_name: Option<String>,
    /// The pattern's type.
    pub pattern_type: PatternType,
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// What.
    pub operation: AclOperation,
    /// Whether they may.
    pub permission_type: AclPermissionType,
}

impl AclBindingFilter {
    /// Every binding there is.
    pub const ANY: Self = Self {
        resource_type: ResourceType::Any,
        resource_name: None,
        pattern_type: PatternType::Any,
        principal: None,
        host: None,
        operation: AclOperation::Any,
        permission_type: AclPermissionType::Any,
    };

    /// Whether a binding is meant.
    #[must_use]
    pub fn matches(&self, binding: &AclBinding) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        (self.resource_type == ResourceType::Any || self.resource_type == binding.resource_type)
            && self.matches_pattern(binding)
            && is(&self.principal, &binding.principal)
            && is(&self.host, &binding.host)
            && (self.operation == AclOperation::Any || self.operation == binding.operation)
            && (self.permission_type == AclPermissionType::Any || self.permission_type == binding.permission_type)
    }

    fn matches_pattern(&self, binding: &AclBinding) -> bool {
        let has = binding.resource_name.as_str();
        let wanted = self.resource_name.as_deref();
        match (self.pattern_type, binding.pattern_type) {
            (PatternType::Any, _) => wanted.is_none_or(|wanted| wanted == has),
            (PatternType::Match, PatternType::Literal) => wanted.is_none_or(|wanted| wanted == has || has == WILDCARD),
            (PatternType::Match, PatternType::Prefixed) => wanted.is_none_or(|wanted| wanted.starts_with(has)),
            (wanted_type, of) => wanted_type == of && wanted.is_none_or(|wanted| wanted == has),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(name: &str, pattern_type: PatternType) -> AclBinding {
        AclBinding {
            resource_type: ResourceType::Topic,
            resource_name: name.to_owned(),
            pattern_type,
            principal: "User:a".to_owned(),
            host: WILDCARD.to_owned(),
            operation: AclOperation::Read,
            permission_type: AclPermissionType::Allow,
        }
    }

    #[test]
    fn codes_and_names_are_kafkas() {
        for (code, operation) in (0_i8..).zip(AclOperation::ALL) {
            assert_eq!((operation.code(), AclOperation::from_code(code)), (code, *operation));
        }
        assert_eq!(AclOperation::from_code(99), AclOperation::Unknown);
        assert_eq!(AclOperation::from_name("AlterConfigs"), Some(AclOperation::AlterConfigs));
        assert_eq!(AclOperation::from_name("alter_configs"), Some(AclOperation::AlterConfigs));
        assert_eq!(AclOperation::from_name("Alter Configs"), None);
        assert_eq!(ResourceType::TransactionalId.name(), "TRANSACTIONAL_ID");
        assert_eq!(ResourceType::TransactionalId.pascal_case(), "TransactionalId");
    }

    #[test]
    fn a_filter_matches_names_as_its_pattern_type_says() {
        use PatternType::{Any, Literal, Match, Prefixed};
        let cases = [
            (Any, Some("foo"), "foo", Prefixed, true),
            (Any, Some("foobar"), "foo", Prefixed, false),
            (Any, Some("foo"), "*", Literal, false),
            (Match, Some("foobar"), "foo", Prefixed, true),
            (Match, Some("foobar"), "foo", Literal, false),
            (Match, Some("foobar"), "*", Literal, true),
            (Match, Some("foobar"), "*", Prefixed, false),
            (Match, None, "foo", Literal, true),
            (Literal, Some("foo"), "foo", Literal, true),
            (Literal, Some("foo"), "foo", Prefixed, false),
            (Literal, None, "foo", Literal, true),
            (Prefixed, None, "foo", Literal, false),
            (Prefixed, Some("foo"), "foo", Prefixed, true),
        ];
        for (pattern_type, wanted, name, of, matches) in cases {
            let filter =
                AclBindingFilter { pattern_type, resource_name: wanted.map(str::to_owned), ..AclBindingFilter::ANY };
            assert_eq!(filter.matches(&binding(name, of)), matches, "{filter:?} {name} {of}");
        }
    }

    #[test]
    fn a_filter_matches_only_what_is_like_it_in_all() {
        let of = binding("foo", PatternType::Literal);
        let any = AclBindingFilter::ANY;
        let yes = [
            AclBindingFilter { principal: Some("User:a".to_owned()), ..any.clone() },
            AclBindingFilter { host: Some(WILDCARD.to_owned()), operation: AclOperation::Read, ..any.clone() },
        ];
        let no = [
            AclBindingFilter { principal: Some("User:*".to_owned()), ..any.clone() },
            AclBindingFilter { host: Some("127.0.0.1".to_owned()), ..any.clone() },
            AclBindingFilter { operation: AclOperation::All, ..any.clone() },
            AclBindingFilter { permission_type: AclPermissionType::Deny, ..any.clone() },
            AclBindingFilter { resource_type: ResourceType::Group, ..any },
        ];
        assert!(yes.iter().all(|filter| filter.matches(&of)));
        assert!(no.iter().all(|filter| !filter.matches(&of)));
    }
}
