//! Who may do what: every API in its lowest and its highest version, sent by somebody without its rights, with them on other
//! resources, with one of them denied, with all but one of them, and with all.
//!
//! Who is asked about comes from 127.0.0.2, who sets the rights from 127.0.0.1, where everything is allowed.

mod asks;
pub(crate) mod lists;
mod rows;
mod streams_groups;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::Ipv4Addr;

use vltava_protocol::messages::create_acls_request::AclCreation;
use vltava_protocol::messages::delete_acls_request::DeleteAclsFilter;
use vltava_protocol::messages::{
    ApiVersionsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, DescribeAclsResponse,
};
use vltava_protocol::wire::Request;
use vltava_protocol::{ApiKey, Uuid};
use vltava_security::acl::{
    AclBinding, AclOperation, AclPermissionType, CLUSTER_NAME, PatternType, ResourceType, WILDCARD,
};

use crate::support::Client;
use crate::transcript::Session;

const ADMIN: &str = "127.0.0.1";
const SUBJECT: &str = "127.0.0.2";

/// A right: an operation on a resource. The names of resources that end with `-` are beginnings.
type Right = (AclOperation, ResourceType, &'static str);

/// An API and what it needs.
struct Row {
    what: &'static str,
    api: ApiKey,
    versions: [i16; 2],
    rights: &'static [Right],
    ask: fn(&mut Asking<'_>, i16) -> String,
}

/// Who asks, and what there is to ask about.
struct Asking<'a> {
    session: &'a mut Session,
    client: Client,
    /// The id of the topic `t`.
    topic_id: Uuid,
    /// The id of the topic `doomed`.
    doomed_id: Uuid,
    /// Which of the states of rights this is.
    state: usize,
}

impl Asking<'_> {
    /// Sends a request and gives its answer on one line, without what differs each time.
    fn ask<R>(&mut self, version: i16, request: &R, tidy: impl FnOnce(&mut R::Response)) -> String
    where
        R: Request<Response: Debug>,
    {
        self.client.send(version, request);
        let Some(mut response) = self.client.receive_if_open::<R>(version) else {
            self.client = subject(self.session.address());
            return "the connection is closed".to_owned();
        };
        tidy(&mut response);
        one_line(&format!("{response:#?}"))
    }
}

fn subject(address: &str) -> Client {
    Client::connect_from(SUBJECT.parse::<Ipv4Addr>().unwrap(), address)
}

/// Puts an answer on one line, without what is the same in every one.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let mut line = String::new();
    while let Some(part) = lines.next() {
        if part.starts_with("unknown_tagged_fields") {
            lines.nth(1);
        } else if !part.starts_with("throttle_time_ms") {
            line.push_str(part);
            line.push(' ');
        }
    }
    // How Kafka prints the request is of no meaning.
    while let Some(begin) = line.find("Request Request(") {
        let end = line[begin..].find(") needs ").unwrap() + begin;
        line.replace_range(begin..=end, "<the request>");
    }
    line.trim_end().to_owned()
}

/// Everything with nothing, with rights elsewhere, with denials, with all but one, and with all of them.
fn states(rights: &[Right]) -> Vec<(String, Vec<AclBinding>)> {
    let allow = |right: &Right| entry(right, AclPermissionType::Allow, SUBJECT);
    let all: Vec<AclBinding> = rights.iter().map(allow).collect();
    let elsewhere = rights.iter().map(|(operation, resource_type, name)| match resource_type {
        // There is only one cluster.
        ResourceType::Cluster => allow(&(AclOperation::All, ResourceType::Topic, "elsewhere")),
        _ if name.ends_with('-') => allow(&(*operation, *resource_type, "elsewhere-")),
        _ => allow(&(*operation, *resource_type, "elsewhere")),
    });
    let mut states = vec![
        ("without rights".to_owned(), Vec::new()),
        ("with rights elsewhere".to_owned(), elsewhere.collect::<BTreeSet<_>>().into_iter().collect()),
    ];
    for right in rights {
        let denied = all.iter().cloned().chain([entry(right, AclPermissionType::Deny, SUBJECT)]);
        states.push((format!("denied {}", described(right)), denied.collect()));
    }
    for (index, right) in rights.iter().enumerate().filter(|_| rights.len() > 1) {
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, entry)| entry.clone());
        states.push((format!("without {}", described(right)), others.collect()));
    }
    states.push(("with all rights".to_owned(), all));
    states
}

fn described((operation, resource_type, name): &Right) -> String {
    format!("{operation} of {resource_type} {name}")
}

fn entry((operation, resource_type, name): &Right, permission_type: AclPermissionType, host: &str) -> AclBinding {
    AclBinding {
        resource_type: *resource_type,
        resource_name: (*name).to_owned(),
        pattern_type: if name.ends_with('-') { PatternType::Prefixed } else { PatternType::Literal },
        principal: "User:ANONYMOUS".to_owned(),
        host: host.to_owned(),
        operation: *operation,
        permission_type,
    }
}

fn creation(binding: &AclBinding) -> AclCreation {
    AclCreation {
        resource_type: binding.resource_type.code(),
        resource_name: binding.resource_name.clone(),
        resource_pattern_type: binding.pattern_type.code(),
        principal: binding.principal.clone(),
        host: binding.host.clone(),
        operation: binding.operation.code(),
        permission_type: binding.permission_type.code(),
        ..Default::default()
    }
}

/// Makes the given entries the only ones of the subject, and waits until the broker knows.
fn set(session: &mut Session, entries: &[AclBinding]) {
    let any = DeleteAclsFilter {
        resource_type_filter: ResourceType::Any.code(),
        resource_name_filter: None,
        pattern_type_filter: PatternType::Any.code(),
        principal_filter: None,
        host_filter: Some(SUBJECT.to_owned()),
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    };
    session.quietly(3, &DeleteAclsRequest { filters: vec![any], ..Default::default() });
    add(session, entries);
    let wanted: BTreeSet<AclBinding> = entries.iter().cloned().collect();
    session.until(3, &describe(SUBJECT), |answer| told(answer) == wanted);
}

fn add(session: &mut Session, entries: &[AclBinding]) {
    let creations = entries.iter().map(creation).collect();
    let created = session.quietly(3, &CreateAclsRequest { creations, ..Default::default() });
    assert!(created.results.iter().all(|result| result.error_code == 0), "{created:?}");
}

fn describe(host: &str) -> DescribeAclsRequest {
    DescribeAclsRequest {
        resource_type_filter: ResourceType::Any.code(),
        resource_name_filter: None,
        pattern_type_filter: PatternType::Any.code(),
        principal_filter: None,
        host_filter: Some(host.to_owned()),
        operation: AclOperation::Any.code(),
        permission_type: AclPermissionType::Any.code(),
        ..Default::default()
    }
}

fn told(answer: &DescribeAclsResponse) -> BTreeSet<AclBinding> {
    let entries = answer.resources.iter().flat_map(|resource| {
        resource.acls.iter().map(|entry| AclBinding {
            resource_type: ResourceType::from_code(resource.resource_type),
            resource_name: resource.resource_name.clone(),
            pattern_type: PatternType::from_code(resource.pattern_type),
            principal: entry.principal.clone(),
            host: entry.host.clone(),
            operation: AclOperation::from_code(entry.operation),
            permission_type: AclPermissionType::from_code(entry.permission_type),
        })
    });
    entries.collect()
}

/// Everything for who sets the rights; so that there are entries about every resource, nothing for others.
fn begin(session: &mut Session) {
    let all = [
        (ResourceType::Cluster, CLUSTER_NAME),
        (ResourceType::Topic, WILDCARD),
        (ResourceType::Group, WILDCARD),
        (ResourceType::TransactionalId, WILDCARD),
    ];
    let entries: Vec<AclBinding> = all
        .into_iter()
        .map(|(resource_type, name)| entry(&(AclOperation::All, resource_type, name), AclPermissionType::Allow, ADMIN))
        .collect();
    add(session, &entries);
    let wanted: BTreeSet<AclBinding> = entries.into_iter().collect();
    session.until(3, &describe(ADMIN), |answer| told(answer) == wanted);
}

pub(crate) fn matrix(session: &mut Session) {
    begin(session);
    let (topic_id, doomed_id) = asks::prepare(session);
    let client = subject(session.address());
    let mut asking = Asking { session, client, topic_id, doomed_id, state: 0 };
    check_rows(&mut asking);
    for row in rows::ROWS {
        asking.session.about(row.what);
        let mut answers: BTreeMap<i16, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for (state, (name, entries)) in states(row.rights).into_iter().enumerate() {
            set(asking.session, &entries);
            asking.state = state;
            for version in row.versions.into_iter().collect::<BTreeSet<_>>() {
                let answer = (row.ask)(&mut asking, version);
                let of_version = answers.entry(version).or_default();
                match of_version.iter_mut().find(|(other, _)| *other == answer) {
                    Some((_, states)) => states.push(name.clone()),
                    None => of_version.push((answer, vec![name.clone()])),
                }
            }
        }
        for (version, answers) in answers {
            for (answer, states) in answers {
                asking.session.line(&format!("-- v{version} {}\n{answer}", states.join(", ")));
            }
        }
    }
    set(asking.session, &[]);
}

/// No API of the broker is without a row, in its lowest and in its highest version.
fn check_rows(asking: &mut Asking<'_>) {
    let request = ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let served = asking.client.call(4, &request).api_keys;
    for api in served.iter().filter_map(|api| ApiKey::from_code(api.api_key)) {
        let rows = rows::ROWS.iter().filter(|row| row.api == api);
        let versions: BTreeSet<i16> = rows.flat_map(|row| row.versions).collect();
        let is_free = matches!(api, ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
        let is_ours = crate::cluster::serves(api.code());
        let both = [api.min_version(), api.max_stable_version()].iter().all(|version| versions.contains(version));
        assert!(is_free || !is_ours || both, "{api} has no row in its lowest or its highest version");
    }
}
