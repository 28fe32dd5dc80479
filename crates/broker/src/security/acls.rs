//! The access control lists and what they say: the rules of Kafka's `StandardAuthorizerData`.
//!
//! The lists of a name, those of its beginnings and those of `*` are each found by one lookup in a map, so that what a
//! decision costs depends on the lists that are about its resource alone.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_security::KafkaPrincipal;
use vltava_security::acl::{
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, PatternType, ResourceType, WILDCARD,
};

/// The name of a resource that stands for any of its type, as Kafka asks about them.
const ANY_NAME: &str = "hardcode";

/// All entries that there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acls {
    bindings: BTreeMap<Uuid, Arc<AclBinding>>,
    resources: BTreeMap<ResourceType, Resources>,
}

/// The entries about resources of one type.
#[derive(Debug, Clone, Default)]
struct Resources {
    literal: HashMap<Box<str>, Vec<Entry>>,
    prefixed: HashMap<Box<str>, Vec<Entry>>,
    /// How many prefixes of each length there are.
    prefix_lengths: BTreeMap<usize, usize>,
}

/// An entry, ready to be compared.
#[derive(Debug, Clone)]
struct Entry {
    /// `None` is everybody.
    principal: Option<KafkaPrincipal>,
    host: Host,
    binding: Arc<AclBinding>,
}

/// Where somebody comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Any,
    Address(IpAddr),
    /// Not an address in the form in which Kafka compares it: nobody comes from there.
    Nowhere,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester<'a> {
    pub(crate) principal: &'a KafkaPrincipal,
    pub(crate) host: IpAddr,
}

/// What the lists say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Denied(&'a AclBinding),
    Allowed(&'a AclBinding),
    /// There are entries about the resource, and none of them is about this.
    OthersOnly,
    /// There is no entry about the resource.
    NoAcl,
}

impl Acls {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.bindings.len()
    }

    /// The entries that a filter means, with their ids.
    pub(crate) fn matching<'a>(
        &'a self,
        filter: &'a AclBindingFilter,
    ) -> impl Iterator<Item = (Uuid, &'a Arc<AclBinding>)> {
        self.bindings.iter().filter(|(_, binding)| filter.matches(binding)).map(|(id, binding)| (*id, binding))
    }

    /// Whether there is an entry just like this.
    pub(crate) fn contains(&self, binding: &AclBinding) -> bool {
        let of_name = self.resources.get(&binding.resource_type).and_then(|resources| {
            resources.of(binding.pattern_type).and_then(|names| names.get(binding.resource_name.as_str()))
        });
        of_name.is_some_and(|entries| entries.iter().any(|entry| *entry.binding == *binding))
    }

    /// Adds an entry; one of the same id is replaced.
    pub(crate) fn add(&mut self, id: Uuid, binding: AclBinding) {
        self.remove(id);
        let binding = Arc::new(binding);
        self.resources.entry(binding.resource_type).or_default().add(Entry::new(Arc::clone(&binding)));
        self.bindings.insert(id, binding);
    }

    /// Removes an entry; false if there is none of this id.
    pub(crate) fn remove(&mut self, id: Uuid) -> bool {
        let Some(binding) = self.bindings.remove(&id) else { return false };
        if let Some(resources) = self.resources.get_mut(&binding.resource_type) {
            resources.remove(&binding);
        }
        true
    }

    /// What the lists say about an operation on a resource. What denies comes before what allows.
    pub(crate) fn decide(
        &self,
        who: Requester<'_>,
        operation: AclOperation,
        resource_type: ResourceType,
        name: &str,
    ) -> Verdict<'_> {
        let Some(resources) = self.resources.get(&resource_type) else { return Verdict::NoAcl };
        let mut verdict = Verdict::NoAcl;
        for entry in resources.about(name) {
            if let Verdict::NoAcl = verdict {
                verdict = Verdict::OthersOnly;
            }
            if !entry.is_about(who) {
                continue;
            }
            match entry.binding.permission_type {
                AclPermissionType::Allow if allows(entry.binding.operation, operation) => {
                    verdict = Verdict::Allowed(&entry.binding);
                }
                AclPermissionType::Allow => {}
                _ if denies(entry.binding.operation, operation) => return Verdict::Denied(&entry.binding),
                _ => {}
            }
        }
        verdict
    }

    /// Whether an operation may be allowed on some resource of a type: one is allowed, and nothing denies as much.
    /// Operations that imply another are not looked at, as in Kafka's `Authorizer.authorizeByResourceType`.
    pub(crate) fn allows_some(&self, who: Requester<'_>, operation: AclOperation, resource_type: ResourceType) -> bool {
        let Some(resources) = self.resources.get(&resource_type) else { return false };
        let says = |entries: &[Entry], permission: AclPermissionType| {
            entries.iter().any(|entry| {
                entry.binding.permission_type == permission
                    && denies(entry.binding.operation, operation)
                    && entry.is_about(who)
            })
        };
        let is_allowed = |entries: &[Entry]| says(entries, AclPermissionType::Allow);
        let is_denied =
            |entries: Option<&Vec<Entry>>| entries.is_some_and(|entries| says(entries, AclPermissionType::Deny));
        let wildcard = resources.literal.get(WILDCARD);
        if is_denied(wildcard) {
            return false;
        }
        if wildcard.is_some_and(|entries| is_allowed(entries)) {
            return true;
        }
        let is_free = |name: &str| resources.prefixes_of(name).all(|entries| !is_denied(Some(entries)));
        let literal = resources.literal.iter();
        let prefixed = resources.prefixed.iter();
        literal
            .filter(|(name, entries)| ***name != *WILDCARD && is_allowed(entries) && !is_denied(Some(entries)))
            .any(|(name, _)| is_free(name))
            || prefixed.filter(|(_, entries)| is_allowed(entries)).any(|(name, _)| is_free(name))
    }

    /// What is decided about a resource that stands for any of its type: to be asked before [`Self::allows_some`].
    pub(crate) fn decide_any(
        &self,
        who: Requester<'_>,
        operation: AclOperation,
        resource_type: ResourceType,
    ) -> (&'static str, Verdict<'_>) {
        (ANY_NAME, self.decide(who, operation, resource_type, ANY_NAME))
    }
}

/// Whether an entry that allows `of` allows `operation`, too.
fn allows(of: AclOperation, operation: AclOperation) -> bool {
    use AclOperation as Op;
    denies(of, operation)
        || match operation {
            Op::Describe => matches!(of, Op::Read | Op::Write | Op::Delete | Op::Alter),
            Op::DescribeConfigs => of == Op::AlterConfigs,
            _ => false,
        }
}

/// Whether an entry that denies `of` denies `operation`: nothing follows from it.
fn denies(of: AclOperation, operation: AclOperation) -> bool {
    of == AclOperation::All || of == operation
}

impl Resources {
    fn of(&self, pattern_type: PatternType) -> Option<&HashMap<Box<str>, Vec<Entry>>> {
        match pattern_type {
            PatternType::Literal => Some(&self.literal),
            PatternType::Prefixed => Some(&self.prefixed),
            _ => None,
        }
    }

    /// The entries about a resource, in the order in which Kafka looks at them: those of longer names first, and last
    /// those of every name.
    fn about(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let literal = self.literal.get(name);
        let prefixed = self.prefixes_of(name);
        let wildcard = self.literal.get(WILDCARD).filter(|_| name != WILDCARD);
        literal.into_iter().chain(prefixed).chain(wildcard).flatten()
    }

    /// The entries of every beginning of a name that has some, the longest first.
    fn prefixes_of(&self, name: &str) -> impl Iterator<Item = &Vec<Entry>> {
        let lengths = self.prefix_lengths.range(..=name.len()).rev();
        lengths.filter_map(|(length, _)| self.prefixed.get(name.get(..*length)?))
    }

    fn add(&mut self, entry: Entry) {
        let name = entry.binding.resource_name.as_str();
        let names = match entry.binding.pattern_type {
            PatternType::Literal => &mut self.literal,
            PatternType::Prefixed => &mut self.prefixed,
            // Nothing is of such a pattern.
            _ => return,
        };
        let entries = names.entry(name.into()).or_default();
        if entry.binding.pattern_type == PatternType::Prefixed && entries.is_empty() {
            *self.prefix_lengths.entry(name.len()).or_default() += 1;
        }
        let at = entries.partition_point(|other| other.order() <= entry.order());
        entries.insert(at, entry);
    }

    fn remove(&mut self, binding: &Arc<AclBinding>) {
        let names = match binding.pattern_type {
            PatternType::Literal => &mut self.literal,
            PatternType::Prefixed => &mut self.prefixed,
            _ => return,
        };
        let name = binding.resource_name.as_str();
        let Some(entries) = names.get_mut(name) else { return };
        entries.retain(|entry| !Arc::ptr_eq(&entry.binding, binding));
        if !entries.is_empty() {
            return;
        }
        names.remove(name);
        if binding.pattern_type == PatternType::Prefixed
            && let Some(count) = self.prefix_lengths.get_mut(&name.len())
        {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&name.len());
            }
        }
    }
}

impl Entry {
    fn new(binding: Arc<AclBinding>) -> Self {
        let principal = match binding.principal.split_once(':') {
            Some((kind, name)) if (kind, name) != (KafkaPrincipal::USER_TYPE, WILDCARD) => {
                Some(KafkaPrincipal::new(kind, name))
            }
            Some(_) => None,
            // No principal looks like this: it is about nobody.
            None => Some(KafkaPrincipal::new(&binding.principal, "")),
        };
        Self { principal, host: Host::of(&binding.host), binding }
    }

    fn is_about(&self, who: Requester<'_>) -> bool {
        let is_host = match self.host {
            Host::Any => true,
            Host::Address(address) => address == who.host,
            Host::Nowhere => false,
        };
        is_host && self.principal.as_ref().is_none_or(|principal| principal == who.principal)
    }

    /// Kafka's order of entries about the same names.
    fn order(&self) -> (AclOperation, &str, &str, AclPermissionType) {
        let AclBinding { operation, principal, host, permission_type, .. } = &*self.binding;
        (*operation, principal, host, *permission_type)
    }
}

impl Host {
    fn of(text: &str) -> Self {
        match text.parse() {
            _ if text == WILDCARD => Self::Any,
            Ok(address) if host_address(address) == text => Self::Address(address),
            _ => Self::Nowhere,
        }
    }
}

/// An address in the form of Java's `getHostAddress`, in which Kafka compares and logs it: that of IPv6 is not shortened.
pub(crate) fn host_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join(":"),
    }
}

#[cfg(test)]
mod tests;
