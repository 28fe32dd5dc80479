//! `kafka-consumer-groups --list`: names of groups, or a table with types and states.

use std::io::Write;

use vltava_client::Admin;
use vltava_client::admin::{GroupListing, ListGroupsOptions};

use super::failed;
use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;

/// The states that a group of consumers may have.
const STATES: [&str; 7] =
    ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
/// The types that a group of consumers may have.
const TYPES: [&str; 2] = ["Classic", "Consumer"];

/// The names of all groups of consumers.
pub(super) async fn all(admin: &Admin) -> Result<Vec<String>, Failure> {
    let groups = listed(admin, ListGroupsOptions::default()).await?;
    Ok(groups.into_iter().map(|group| group.group_id).collect())
}

/// Groups of consumers in the order in which Kafka's tool prints them.
async fn listed(admin: &Admin, wanted: ListGroupsOptions) -> Result<Vec<GroupListing>, Failure> {
    let types = if wanted.types.is_empty() { vec!["classic".into(), "consumer".into()] } else { wanted.types };
    let protocol_types = vec![String::new(), "consumer".into()];
    let wanted = ListGroupsOptions { types, protocol_types, states: wanted.states };
    let mut groups = admin.list_groups(&wanted).await.map_err(failed)?;
    hash_map_order(&mut groups, 16, |group| &group.group_id);
    Ok(groups)
}

pub(super) async fn list(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let wanted = ListGroupsOptions {
        states: states(options.text("state"))?,
        types: types(options.text("type"))?,
        ..ListGroupsOptions::default()
    };
    let groups = listed(admin, wanted).await?;
    let (types, states) = (options.has("type"), options.has("state"));
    if !types && !states {
        for group in groups {
            writeln!(out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let width = groups.iter().map(|group| group.group_id.chars().count()).fold(15, usize::max) + 10;
    let mut row = |group: &str, kind: &str, state: &str| -> Result<(), Failure> {
        write!(out, "{group:<width$}")?;
        if types {
            write!(out, " {kind:<20}")?;
        }
        if states {
            write!(out, " {state:<20}")?;
        }
        Ok(writeln!(out)?)
    };
    row("GROUP", "TYPE", "STATE")?;
    for group in &groups {
        row(
            &group.group_id,
            group.group_type.as_deref().unwrap_or("Unknown"),
            group.state.as_deref().unwrap_or("Unknown"),
        )?;
    }
    Ok(())
}

/// The states of a list between commas, all of them known.
fn states(text: &str) -> Result<Vec<String>, Failure> {
    known(text, &STATES)
        .ok_or_else(|| Failure::Usage(format!("Invalid state list '{text}'. Valid states are: {}", STATES.join(", "))))
}

/// The types of a list between commas, all of them known.
fn types(text: &str) -> Result<Vec<String>, Failure> {
    known(text, &TYPES)
        .ok_or_else(|| Failure::Usage(format!("Invalid types list '{text}'. Valid types are: {}", TYPES.join(", "))))
}

/// The words of a list in the case of those that are valid; `None` when one is not among them.
fn known(text: &str, valid: &[&str]) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let find = |word: &str| valid.iter().find(|valid| valid.eq_ignore_ascii_case(word.trim()));
    text.split(',').map(|word| find(word).map(|found| (*found).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::{states, types};
    use crate::failure::Failure;

    #[test]
    fn states_and_types_are_known_in_any_case() {
        assert_eq!(states("stable, EMPTY").unwrap(), ["Stable", "Empty"]);
        assert_eq!(types("consumer").unwrap(), ["Consumer"]);
        assert!(states("").unwrap().is_empty());
    }

    #[test]
    fn others_are_refused_with_the_valid_ones() {
        let Err(Failure::Usage(text)) = types("classic,share") else { panic!("a share group is none of consumers") };
        assert_eq!(text, "Invalid types list 'classic,share'. Valid types are: Classic, Consumer");
        assert!(matches!(states("NotReady"), Err(Failure::Usage(_))));
        assert!(matches!(states("stable,"), Err(Failure::Usage(_))));
    }
}
