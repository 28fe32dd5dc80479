//! `kafka-acls` as a process, against a broker in this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::Write;
use std::process::{Command, Stdio};

use vltava_broker::embedded;

/// A broker with an authorizer, to which the tool is a super user, or nobody.
fn broker(super_users: &str) -> embedded::Broker {
    let config = embedded::Config::default()
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", super_users);
    embedded::Broker::start(config).unwrap()
}

/// What the tool prints and its exit status, where somebody answers its questions.
fn answered(broker: &embedded::Broker, line: &str, answer: &str) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vltava"));
    command.args(["kafka-acls", "--bootstrap-server", broker.bootstrap_servers()]).args(line.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    (String::from_utf8(out.stdout).unwrap(), out.status.code().unwrap())
}

fn printed(broker: &embedded::Broker, line: &str) -> String {
    let (out, status) = answered(broker, line, "");
    assert_eq!(status, 0, "{line}: {out}");
    out
}

/// What Apache's tool prints, with the resources and entries in an order: Apache's have none.
#[test]
fn entries_are_added_listed_and_removed() {
    let broker = broker("User:ANONYMOUS");
    let acls = |line: &str| printed(&broker, line);
    let of_t = "ResourcePattern(resourceType=TOPIC, name=t, patternType=LITERAL)";
    let entry = "(principal=User:a, host=*, operation=ALL, permissionType=ALLOW)";
    let add = "--add --topic t --allow-principal User:a";
    assert_eq!(acls(add), format!("Adding ACLs for resource `{of_t}`: \n \t{entry}\n\n"));
    assert_eq!(acls(add), format!("Acl (pattern={of_t}, entry={entry}) already exists.\n"));
    assert_eq!(
        acls("--add --consumer --topic p --group g --resource-pattern-type prefixed --allow-principal User:c"),
        "Adding ACLs for resource `ResourcePattern(resourceType=TOPIC, name=p, patternType=PREFIXED)`: \n \
         \t(principal=User:c, host=*, operation=READ, permissionType=ALLOW)\n\
         \t(principal=User:c, host=*, operation=DESCRIBE, permissionType=ALLOW)\n\n\
         Adding ACLs for resource `ResourcePattern(resourceType=GROUP, name=g, patternType=PREFIXED)`: \n \
         \t(principal=User:c, host=*, operation=READ, permissionType=ALLOW)\n\n"
    );
    let of_p = "Current ACLs for resource `ResourcePattern(resourceType=TOPIC, name=p, patternType=PREFIXED)`:\n\
                \t(principal=User:c, host=*, operation=READ, permissionType=ALLOW)\n\
                \t(principal=User:c, host=*, operation=DESCRIBE, permissionType=ALLOW)\n\n";
    let of_g = "Current ACLs for resource `ResourcePattern(resourceType=GROUP, name=g, patternType=PREFIXED)`:\n\
                \t(principal=User:c, host=*, operation=READ, permissionType=ALLOW)\n\n";
    let of_t = format!("Current ACLs for resource `{of_t}`:\n\t{entry}\n\n");
    assert_eq!(acls("--list"), format!("{of_p}{of_t}{of_g}"));
    assert_eq!(acls("--list --topic pq --resource-pattern-type match"), of_p);
    assert_eq!(
        acls("--list --principal User:c --principal User:nobody"),
        format!("ACLs for principal `User:c`\n{of_p}{of_g}ACLs for principal `User:nobody`\n")
    );
    assert_eq!(acls("--list --topic none"), "");

    assert_eq!(acls("--remove --topic t --allow-principal User:a --operation Read --force"), "");
    assert_eq!(acls("--list --topic t"), of_t, "another operation");
    let question = format!(
        "Are you sure you want to remove ACLs: \n \t{entry}\n from resource filter `ResourcePattern(resourceType=TOPIC, \
         name=t, patternType=LITERAL)`? (y/n)\n"
    );
    let remove = "--remove --topic t --allow-principal User:a";
    assert_eq!(answered(&broker, remove, "n\n"), (question.clone(), 0));
    assert_eq!(acls("--list --topic t"), of_t, "it was refused");
    assert_eq!(answered(&broker, remove, "Y\n"), (question, 0));
    assert_eq!(acls("--list --topic t"), "");
    let all = "--remove --topic p --resource-pattern-type prefixed";
    let question = "Are you sure you want to delete all ACLs for resource filter `ResourcePattern(resourceType=TOPIC, \
                    name=p, patternType=PREFIXED)`? (y/n)\n";
    assert_eq!(answered(&broker, all, "y\n"), (question.to_owned(), 0));
    assert_eq!(acls("--list"), of_g);
}

#[test]
fn who_may_not_is_told_so() {
    let broker = broker("");
    let (out, status) = answered(&broker, "--list", "");
    let begin =
        "Error while executing ACL command: org.apache.kafka.common.errors.ClusterAuthorizationException: Request ";
    assert!(out.starts_with(begin) && out.ends_with(" needs DESCRIBE permission.\n"), "{out}");
    assert_eq!(status, 1);
    let open = embedded::Broker::start(embedded::Config::default()).unwrap();
    let security = "Error while executing ACL command: org.apache.kafka.common.errors.SecurityDisabledException: No \
                    Authorizer is configured on the broker\n";
    assert_eq!(answered(&open, "--list", ""), (security.to_owned(), 1));
    assert_eq!(answered(&open, "--add --topic t", ""), (String::new(), 1));
}
