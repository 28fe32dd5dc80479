//! `kafka-acls`: adds, removes and lists access control entries.

mod command_line;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use vltava_client::admin::acls::{AclBinding, AclBindingFilter};
use vltava_client::{Admin, AdminConfig, ClientError};

use self::command_line::{OPTIONS, ResourceFilter, principals};
use crate::failure::{Failure, exception};
use crate::options::Options;
use crate::properties;
use crate::tool::{Tool, block_on};

/// The tool.
pub(crate) const TOOL: Tool = Tool {
    name: "kafka-acls",
    about: "This tool helps to manage acls on kafka.",
    options: OPTIONS,
    has_commands: false,
    run,
};

fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    command_line::check(options)?;
    match manage(options, out) {
        // Kafka's tool, too, tells of it on standard output.
        Err(Failure::Message(message)) => {
            writeln!(out, "Error while executing ACL command: {message}")?;
            Err(Failure::Reported)
        }
        done => done,
    }
}

fn manage(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let config = AdminConfig::from_properties(properties::of_admin(options)?)?;
    block_on(async {
        let admin = Admin::new(config)?;
        if options.has("add") {
            add(&admin, command_line::to_add(options)?, out).await
        } else if options.has("remove") {
            remove(&admin, options, out).await
        } else {
            list(&admin, options, out).await
        }
    })
}

/// What a broker says, in Java's words for a call that has failed.
fn told(error: &ClientError) -> Failure {
    Failure::Message(exception(error))
}

async fn add(
    admin: &Admin,
    wanted: BTreeMap<ResourceFilter, BTreeSet<AclBinding>>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for (resource, bindings) in wanted {
        let there = admin.describe_acls(&resource.all()).await.map_err(|error| told(&error))?;
        let (known, new): (Vec<_>, Vec<_>) = bindings.into_iter().partition(|binding| there.contains(binding));
        for binding in known {
            let entry = entry(&binding);
            writeln!(out, "Acl (pattern={resource}, entry={entry}) already exists.")?;
        }
        if new.is_empty() {
            continue;
        }
        writeln!(out, "Adding ACLs for resource `{resource}`: \n {}\n", entries(&new))?;
        for result in admin.create_acls(new).await.into_values() {
            result.map_err(|error| told(&error))?;
        }
    }
    Ok(())
}

async fn remove(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    for (resource, bindings) in command_line::by_resource(options)? {
        let bindings: Vec<AclBinding> = bindings.into_iter().collect();
        let question = match bindings.as_slice() {
            [] => format!("Are you sure you want to delete all ACLs for resource filter `{resource}`? (y/n)"),
            some => format!(
                "Are you sure you want to remove ACLs: \n {}\n from resource filter `{resource}`? (y/n)",
                entries(some)
            ),
        };
        if !is_confirmed(options, &question, out)? {
            continue;
        }
        let filters = match bindings.as_slice() {
            [] => vec![resource.all()],
            some => some.iter().map(|binding| resource.only(binding)).collect(),
        };
        for result in admin.delete_acls(filters).await.into_values() {
            result.map_err(|error| told(&error))?;
        }
    }
    Ok(())
}

async fn list(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let resources = command_line::resources(options)?;
    let filters: Vec<AclBindingFilter> = match resources.is_empty() {
        true => vec![AclBindingFilter::ANY],
        false => resources.iter().map(ResourceFilter::all).collect(),
    };
    let mut found: BTreeMap<ResourceFilter, BTreeSet<AclBinding>> = BTreeMap::new();
    for filter in &filters {
        for binding in admin.describe_acls(filter).await.map_err(|error| told(&error))? {
            found.entry(ResourceFilter::of(&binding)).or_default().insert(binding);
        }
    }
    let wanted = principals(options, "principal")?;
    if wanted.is_empty() {
        return print(&found, |_| true, out);
    }
    for principal in wanted {
        writeln!(out, "ACLs for principal `{principal}`")?;
        print(&found, |binding| binding.principal == principal, out)?;
    }
    Ok(())
}

fn print(
    found: &BTreeMap<ResourceFilter, BTreeSet<AclBinding>>,
    is_wanted: impl Fn(&AclBinding) -> bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    for (resource, bindings) in found {
        let bindings: Vec<AclBinding> = bindings.iter().filter(|binding| is_wanted(binding)).cloned().collect();
        if !bindings.is_empty() {
            writeln!(out, "Current ACLs for resource `{resource}`:\n{}\n", entries(&bindings))?;
        }
    }
    Ok(())
}

/// The entries, one on a line.
fn entries(bindings: &[AclBinding]) -> String {
    let lines: Vec<String> = bindings.iter().map(|binding| format!("\t{}", entry(binding))).collect();
    lines.join("\n")
}

/// As Java's `AccessControlEntry` is printed.
fn entry(binding: &AclBinding) -> String {
    let AclBinding { principal, host, operation, permission_type, .. } = binding;
    format!("(principal={principal}, host={host}, operation={operation}, permissionType={permission_type})")
}

/// Asks on standard output and reads the answer from standard input; nobody there says no.
fn is_confirmed(options: &Options, question: &str, out: &mut dyn Write) -> Result<bool, Failure> {
    if options.has("force") {
        return Ok(true);
    }
    writeln!(out, "{question}")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']).eq_ignore_ascii_case("y"))
}
