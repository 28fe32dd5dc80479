//! Kafka's StandardAuthorizer: super users, then the access control lists, then what holds where there are none. Each
//! decision is told to the audit log.

use std::collections::HashSet;

use tracing::{Level, debug, enabled, info, trace};
use vltava_protocol::ApiKey;
use vltava_security::KafkaPrincipal;
use vltava_security::acl::{AclBinding, AclOperation, ResourceType};

use super::access::{Logged, Resource};
use super::acls::{Acls, Requester, Verdict, host_address};

/// Where the audit log goes: Kafka's logger of this name.
macro_rules! audit_target {
    () => {
        "kafka.authorizer.logger"
    };
}

/// The authorizer that is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Authorizer {
    /// `super.users`.
    pub(crate) super_users: HashSet<KafkaPrincipal>,
    /// `allow.everyone.if.no.acl.found`.
    pub(crate) allow_everyone_if_no_acl_found: bool,
}

/// Why something is allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule<'a> {
    SuperUser,
    Acl(&'a AclBinding),
    Default,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action<'a> {
    pub(crate) api: ApiKey,
    pub(crate) operation: AclOperation,
    pub(crate) resource: Resource<'a>,
    /// How many times the request names the resource.
    pub(crate) references: usize,
    pub(crate) logged: Logged,
}

impl Authorizer {
    /// Whether `who` may do it.
    pub(crate) fn authorize(&self, acls: &Acls, who: Requester<'_>, action: Action<'_>) -> bool {
        let Resource { resource_type, name } = action.resource;
        let (is_allowed, rule) = if self.is_super_user(who.principal) {
            (true, Rule::SuperUser)
        } else {
            self.judge(acls.decide(who, action.operation, resource_type, name))
        };
        audit(who, action, is_allowed, rule);
        is_allowed
    }

    /// Whether `who` may do it with some resource of a type.
    pub(crate) fn authorize_by_resource_type(
        &self,
        acls: &Acls,
        who: Requester<'_>,
        api: ApiKey,
        operation: AclOperation,
        resource_type: ResourceType,
    ) -> bool {
        let (name, verdict) = acls.decide_any(who, operation, resource_type);
        let (is_allowed, rule) = match self.is_super_user(who.principal) {
            true => (true, Rule::SuperUser),
            false => self.judge(verdict),
        };
        let resource = Resource { resource_type, name };
        let action = Action { api, operation, resource, references: 0, logged: Logged::IfAllowed };
        audit(who, action, is_allowed, rule);
        is_allowed || acls.allows_some(who, operation, resource_type)
    }

    fn is_super_user(&self, principal: &KafkaPrincipal) -> bool {
        self.super_users.contains(principal)
    }

    fn judge<'a>(&self, verdict: Verdict<'a>) -> (bool, Rule<'a>) {
        match verdict {
            Verdict::Denied(binding) => (false, Rule::Acl(binding)),
            Verdict::Allowed(binding) => (true, Rule::Acl(binding)),
            Verdict::OthersOnly => (false, Rule::Default),
            Verdict::NoAcl => (self.allow_everyone_if_no_acl_found, Rule::Default),
        }
    }
}

/// Names are as somebody else has given them: none ends a line of the log and begins another.
pub(crate) fn one_line(line: String) -> String {
    if !line.contains(char::is_control) {
        return line;
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match c.is_control() {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Logs a decision: what is denied at INFO, what is allowed at DEBUG, and what was only looked at at TRACE.
fn audit(who: Requester<'_>, action: Action<'_>, is_allowed: bool, rule: Rule<'_>) {
    let message = || {
        let Resource { resource_type, name } = action.resource;
        let rule = match (rule, is_allowed) {
            (Rule::SuperUser, _) => "SuperUser".to_owned(),
            (Rule::Acl(binding), _) => format!("MatchingAcl(acl={binding})"),
            (Rule::Default, true) => "DefaultAllow".to_owned(),
            (Rule::Default, false) => "DefaultDeny".to_owned(),
        };
        let line = format!(
            "Principal = {} is {} operation = {} from host = {} on resource = {}:LITERAL:{name} for request = {} with \
             resourceRefCount = {} based on rule {rule}",
            who.principal,
            if is_allowed { "Allowed" } else { "Denied" },
            action.operation,
            host_address(who.host),
            resource_type.pascal_case(),
            action.api,
            action.references,
        );
        one_line(line)
    };
    let is_logged = match (action.logged, is_allowed) {
        (Logged::Always, _) => true,
        (Logged::IfAllowed, is_allowed) => is_allowed,
        (Logged::Never, _) => false,
    };
    match (is_logged, is_allowed) {
        (true, false) if enabled!(target: audit_target!(), Level::INFO) => {
            info!(target: audit_target!(), "{}", message());
        }
        (true, true) if enabled!(target: audit_target!(), Level::DEBUG) => {
            debug!(target: audit_target!(), "{}", message());
        }
        (false, _) if enabled!(target: audit_target!(), Level::TRACE) => {
            trace!(target: audit_target!(), "{}", message());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
