//! The command line of `kafka-acls`: resources, and the entries that its options stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vltava_client::admin::acls::{
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, CLUSTER_NAME, PatternType, ResourceType, WILDCARD,
};

use crate::failure::Failure;
use crate::options::{OptionSpec, Options, flag, optional_value, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    value("bootstrap-server", "server to connect to", "Kafka brokers to connect to, host:port,host:port."),
    value("bootstrap-controller", "controller to connect to", "Controllers to connect to.").not_yet(),
    optional_value("command-config", "command-config", "Settings for the admin client, a properties file."),
    value("topic", "topic", "A topic whose entries are meant; '*' is all topics.").repeatable(),
    flag("cluster", "The entries of the cluster."),
    value("group", "group", "A group whose entries are meant; '*' is all groups.").repeatable(),
    value("transactional-id", "transactional-id", "A transactional id whose entries are meant; '*' is all of them.")
        .repeatable(),
    flag("idempotent", "With --producer: whether the producer may be idempotent without a transactional id."),
    value("delegation-token", "delegation-token", "A delegation token whose entries are meant; '*' is all of them.")
        .repeatable(),
    value(
        "resource-pattern-type",
        "ANY|MATCH|LITERAL|PREFIXED",
        "How the names of resources are meant: 'literal' or 'prefixed', to list or remove also 'any', or 'match' for all \
         entries that hold for a resource of the name.",
    )
    .default("LITERAL"),
    flag("add", "Add entries."),
    flag("remove", "Remove entries."),
    flag("list", "List the entries of resources, or all."),
    value(
        "operation",
        "String",
        "What is allowed or denied: Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, \
         AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens, TwoPhaseCommit or All.",
    )
    .repeatable()
    .default("All"),
    value("allow-principal", "allow-principal", "Who is allowed, as User:name; User:* is everybody.").repeatable(),
    value("deny-principal", "deny-principal", "Who is denied, which comes before what is allowed.").repeatable(),
    optional_value("principal", "principal", "With --list: only the entries of this principal.").repeatable(),
    value("allow-host", "allow-host", "From where it is allowed; from everywhere if none is given.").repeatable(),
    value("deny-host", "deny-host", "From where it is denied; from everywhere if none is given.").repeatable(),
    flag("producer", "The entries of a producer: Write, Describe and Create on topics, Write and Describe on its id."),
    flag("consumer", "The entries of a consumer: Read and Describe on topics, Read on groups."),
    flag("force", "Ask nothing, remove at once."),
    value("user-principal", "user-principal", "A user, whose tokens are meant.").repeatable(),
];

/// The resources that options name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResourceFilter {
    resource_type: ResourceType,
    name: String,
    pattern_type: PatternType,
}

/// As Java's `ResourcePattern` is printed.
impl fmt::Display for ResourceFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource_type, name, pattern_type } = self;
        write!(f, "ResourcePattern(resourceType={resource_type}, name={name}, patternType={pattern_type})")
    }
}

impl ResourceFilter {
    /// The pattern of an entry.
    pub(super) fn of(binding: &AclBinding) -> Self {
        Self {
            resource_type: binding.resource_type,
            name: binding.resource_name.clone(),
            pattern_type: binding.pattern_type,
        }
    }

    /// All entries of the resources.
    pub(super) fn all(&self) -> AclBindingFilter {
        AclBindingFilter {
            resource_type: self.resource_type,
            resource_name: Some(self.name.clone()),
            pattern_type: self.pattern_type,
            ..AclBindingFilter::ANY
        }
    }

    /// The entries of the resources that are like one.
    pub(super) fn only(&self, binding: &AclBinding) -> AclBindingFilter {
        AclBindingFilter {
            principal: Some(binding.principal.clone()),
            host: Some(binding.host.clone()),
            operation: binding.operation,
            permission_type: binding.permission_type,
            ..self.all()
        }
    }
}

fn usage<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(text.into()))
}

/// Refuses options that do not go together, in Kafka's order.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    if !options.has("bootstrap-server") {
        return usage("One of --bootstrap-server or --bootstrap-controller must be specified");
    }
    if ["add", "remove", "list"].iter().filter(|action| options.has(action)).count() != 1 {
        return usage("Command must include exactly one action: --list, --add, --remove. ");
    }
    let of_entries = ["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"];
    options.exclude("list", &of_entries)?;
    for role in ["producer", "consumer"] {
        options.exclude(role, &["operation", "deny-principal", "deny-host"])?;
    }
    if options.has("principal") && !options.has("list") {
        return usage("The --principal option is only available if --list is set");
    }
    if options.has("producer") && !options.has("topic") {
        return usage("With --producer you must specify a --topic");
    }
    if options.has("idempotent") && !options.has("producer") {
        return usage("The --idempotent option is only available if --producer is set");
    }
    let is_of_others = !options.has("producer") && (options.has("cluster") || options.has("transactional-id"));
    if options.has("consumer") && (!options.has("topic") || !options.has("group") || is_of_others) {
        return usage(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option \
             should be specified.",
        );
    }
    Ok(())
}

fn pattern_type(options: &Options) -> Result<PatternType, Failure> {
    let text = options.text("resource-pattern-type");
    let known = PatternType::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(text));
    match known.filter(|known| **known != PatternType::Unknown) {
        Some(known) => Ok(*known),
        // Kafka's tool reads it late, when it is at work.
        None => Err(Failure::Message(format!("Cannot parse argument '{text}' of option resource-pattern-type"))),
    }
}

/// The resources that are named.
pub(super) fn resources(options: &Options) -> Result<BTreeSet<ResourceFilter>, Failure> {
    let pattern_type = pattern_type(options)?;
    let mut resources = BTreeSet::new();
    for (option, resource_type) in [
        ("topic", ResourceType::Topic),
        ("group", ResourceType::Group),
        ("transactional-id", ResourceType::TransactionalId),
        ("delegation-token", ResourceType::DelegationToken),
        ("user-principal", ResourceType::User),
    ] {
        for name in options.values(option) {
            // As Kafka: of these a space may be a part.
            let name = if option == "transactional-id" { name } else { name.trim() };
            resources.insert(ResourceFilter { resource_type, name: name.to_owned(), pattern_type });
        }
    }
    if pattern_type == PatternType::Literal && (options.has("cluster") || options.has("idempotent")) {
        resources.insert(ResourceFilter {
            resource_type: ResourceType::Cluster,
            name: CLUSTER_NAME.to_owned(),
            pattern_type,
        });
    }
    Ok(resources)
}

/// The entries to add, by their resources.
pub(super) fn to_add(options: &Options) -> Result<BTreeMap<ResourceFilter, BTreeSet<AclBinding>>, Failure> {
    let pattern_type = pattern_type(options)?;
    if !matches!(pattern_type, PatternType::Literal | PatternType::Prefixed) {
        return usage(format!("A '--resource-pattern-type' value of '{pattern_type}' is not valid when adding acls."));
    }
    let by_resource = by_resource(options)?;
    if by_resource.values().any(BTreeSet::is_empty) {
        return usage("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.");
    }
    Ok(by_resource)
}

/// The entries that the options stand for, by their resources; none stand for all.
pub(super) fn by_resource(options: &Options) -> Result<BTreeMap<ResourceFilter, BTreeSet<AclBinding>>, Failure> {
    use AclOperation as Op;
    let resources = resources(options)?;
    if resources.is_empty() {
        return usage(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or \
             --delegation-token <Delegation Token ID>",
        );
    }
    let mut wanted: BTreeMap<ResourceFilter, BTreeSet<AclBinding>> = BTreeMap::new();
    for resource in resources {
        let mut operations: Vec<&[AclOperation]> = Vec::new();
        let named = operations_named(options);
        if !options.has("producer") && !options.has("consumer") {
            operations.push(&named);
        }
        if options.has("producer") {
            match resource.resource_type {
                ResourceType::Topic => operations.push(&[Op::Write, Op::Describe, Op::Create]),
                ResourceType::TransactionalId => operations.push(&[Op::Write, Op::Describe]),
                ResourceType::Cluster if options.has("idempotent") => operations.push(&[Op::IdempotentWrite]),
                _ => {}
            }
        }
        if options.has("consumer") {
            match resource.resource_type {
                ResourceType::Topic => operations.push(&[Op::Read, Op::Describe]),
                ResourceType::Group => operations.push(&[Op::Read]),
                _ => {}
            }
        }
        if !operations.is_empty() {
            wanted.insert(resource.clone(), bindings(options, &resource, &operations.concat())?);
        }
    }
    check_operations(&wanted)?;
    Ok(wanted)
}

fn operations_named(options: &Options) -> Vec<AclOperation> {
    let named: Vec<&str> = match options.values("operation") {
        [] => vec![options.text("operation")],
        given => given.iter().map(|name| name.trim()).collect(),
    };
    let operation = |name: &str| {
        let found = AclOperation::ALL.iter().find(|known| known.pascal_case().eq_ignore_ascii_case(name));
        found.copied().unwrap_or(AclOperation::Unknown)
    };
    named.into_iter().map(operation).collect()
}

fn check_operations(wanted: &BTreeMap<ResourceFilter, BTreeSet<AclBinding>>) -> Result<(), Failure> {
    for (resource, bindings) in wanted {
        let mut valid = vec![AclOperation::All];
        valid.extend(resource.resource_type.operations());
        if bindings.iter().any(|binding| !valid.contains(&binding.operation)) {
            let valid: Vec<&str> = valid.into_iter().map(AclOperation::name).collect();
            let resource_type = resource.resource_type;
            return usage(format!("ResourceType {resource_type} only supports operations [{}]", valid.join(", ")));
        }
    }
    Ok(())
}

/// The entries of a resource for everybody named, from everywhere named.
fn bindings(
    options: &Options,
    resource: &ResourceFilter,
    operations: &[AclOperation],
) -> Result<BTreeSet<AclBinding>, Failure> {
    let mut bindings = BTreeSet::new();
    for (who, from, permission_type) in [
        ("allow-principal", "allow-host", AclPermissionType::Allow),
        ("deny-principal", "deny-host", AclPermissionType::Deny),
    ] {
        let hosts: Vec<&str> = match options.values(from) {
            [] => vec![WILDCARD],
            given => given.iter().map(|host| host.trim()).collect(),
        };
        for principal in principals(options, who)? {
            for (host, operation) in hosts.iter().flat_map(|host| operations.iter().map(move |of| (*host, *of))) {
                bindings.insert(AclBinding {
                    resource_type: resource.resource_type,
                    resource_name: resource.name.clone(),
                    pattern_type: resource.pattern_type,
                    principal: principal.clone(),
                    host: host.to_owned(),
                    operation,
                    permission_type,
                });
            }
        }
    }
    Ok(bindings)
}

/// The principals that an option names.
pub(super) fn principals(options: &Options, option: &str) -> Result<BTreeSet<String>, Failure> {
    let principal = |text: &String| match text.trim() {
        text if text.contains(':') => Ok(text.to_owned()),
        text => {
            Err(Failure::Message(format!("expected a string in format principalType:principalName but got {text}")))
        }
    };
    options.values(option).iter().map(principal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words: Vec<String> = format!("--bootstrap-server b {line}").split(' ').map(str::to_owned).collect();
        Options::parse(OPTIONS, &words).unwrap()
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_kafkas_words() {
        for (line, refusal) in [
            ("--topic t", "Command must include exactly one action: --list, --add, --remove. "),
            ("--list --add", "Command must include exactly one action: --list, --add, --remove. "),
            ("--list --producer", "Option \"[list]\" can't be used with option \"[producer]\""),
            ("--add --producer --operation Read", "Option \"[producer]\" can't be used with option \"[operation]\""),
            ("--add --principal User:a", "The --principal option is only available if --list is set"),
            ("--add --producer", "With --producer you must specify a --topic"),
            ("--add --idempotent", "The --idempotent option is only available if --producer is set"),
            (
                "--add --consumer --topic t",
                "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option \
                 should be specified.",
            ),
        ] {
            assert_eq!(check(&options(line)).unwrap_err().message(), refusal, "{line}");
        }
        for (line, refusal) in [
            (
                "--add --topic t",
                "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.",
            ),
            (
                "--add --allow-principal User:a",
                "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or \
                 --delegation-token <Delegation Token ID>",
            ),
            (
                "--add --topic t --allow-principal User:a --resource-pattern-type match",
                "A '--resource-pattern-type' value of 'MATCH' is not valid when adding acls.",
            ),
            (
                "--add --group g --allow-principal User:a --operation Write",
                "ResourceType GROUP only supports operations [ALL, READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]",
            ),
            (
                "--add --topic t --resource-pattern-type some",
                "Cannot parse argument 'some' of option resource-pattern-type",
            ),
            (
                "--add --topic t --allow-principal a",
                "expected a string in format principalType:principalName but got a",
            ),
        ] {
            assert_eq!(to_add(&options(line)).unwrap_err().message(), refusal, "{line}");
        }
    }

    /// The entries that a command line stands for, in few words.
    fn wanted(line: &str) -> Vec<String> {
        let by_resource = to_add(&options(line)).unwrap();
        let of = |binding: &AclBinding| {
            let AclBinding { resource_type, resource_name, pattern_type, principal, host, .. } = binding;
            let (operation, permission) = (binding.operation, binding.permission_type);
            format!("{permission} {principal} {host} {operation} {resource_type} {pattern_type} {resource_name}")
        };
        by_resource.values().flatten().map(of).collect()
    }

    #[test]
    fn producers_and_consumers_have_what_they_need() {
        let producer = "--add --producer --topic t --transactional-id x --idempotent --allow-principal User:a";
        assert_eq!(
            wanted(producer),
            [
                "ALLOW User:a * WRITE TOPIC LITERAL t",
                "ALLOW User:a * CREATE TOPIC LITERAL t",
                "ALLOW User:a * DESCRIBE TOPIC LITERAL t",
                "ALLOW User:a * IDEMPOTENT_WRITE CLUSTER LITERAL kafka-cluster",
                "ALLOW User:a * WRITE TRANSACTIONAL_ID LITERAL x",
                "ALLOW User:a * DESCRIBE TRANSACTIONAL_ID LITERAL x",
            ]
        );
        let both = "--add --producer --consumer --topic t --group g --allow-principal User:a";
        assert_eq!(
            wanted(both),
            [
                "ALLOW User:a * READ TOPIC LITERAL t",
                "ALLOW User:a * WRITE TOPIC LITERAL t",
                "ALLOW User:a * CREATE TOPIC LITERAL t",
                "ALLOW User:a * DESCRIBE TOPIC LITERAL t",
                "ALLOW User:a * READ GROUP LITERAL g",
            ]
        );
    }

    #[test]
    fn everybody_named_has_every_operation_from_every_host() {
        let line = "--add --topic t --resource-pattern-type prefixed --operation alterconfigs --operation READ \
                    --allow-principal User:a --allow-host h --allow-host i --deny-principal User:b";
        assert_eq!(
            wanted(line),
            [
                "ALLOW User:a h READ TOPIC PREFIXED t",
                "ALLOW User:a h ALTER_CONFIGS TOPIC PREFIXED t",
                "ALLOW User:a i READ TOPIC PREFIXED t",
                "ALLOW User:a i ALTER_CONFIGS TOPIC PREFIXED t",
                "DENY User:b * READ TOPIC PREFIXED t",
                "DENY User:b * ALTER_CONFIGS TOPIC PREFIXED t",
            ]
        );
        assert_eq!(
            wanted("--add --cluster --deny-principal User:*"),
            ["DENY User:* * ALL CLUSTER LITERAL kafka-cluster"]
        );
    }
}
