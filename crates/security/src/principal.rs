//! Who sends a request.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Who sends a request, as Kafka's `KafkaPrincipal`: a type, which is `User` for all but own principal builders, and a name.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KafkaPrincipal {
    kind: Arc<str>,
    name: Arc<str>,
}

impl KafkaPrincipal {
    /// The type of nearly all principals.
    pub const USER_TYPE: &'static str = "User";

    /// The user called `name`.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self::new(Self::USER_TYPE, name)
    }

    /// The principal of this type and name.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }

    /// Who has not been asked who they are: `User:ANONYMOUS`.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// The type, such as `User`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `User:name`, as it stands in ACLs and in `super.users`.
impl fmt::Display for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl FromStr for KafkaPrincipal {
    type Err = ();

    /// From `Type:name`, as Kafka's `SecurityUtils.parseKafkaPrincipal`: the first colon ends the type.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() => Ok(Self::new(kind, name)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_ends_the_type() {
        let with_colon: KafkaPrincipal = "User:CN=a:b".parse().unwrap();
        assert_eq!((with_colon.kind(), with_colon.name()), ("User", "CN=a:b"));
        assert_eq!(with_colon.to_string(), "User:CN=a:b");
        assert_eq!("nobody".parse::<KafkaPrincipal>(), Err(()));
        assert_eq!(KafkaPrincipal::anonymous().to_string(), "User:ANONYMOUS");
    }
}
