//! `kafka-streams-groups --list`: names of groups, or a table with states.

use std::io::Write;

use vltava_client::Admin;
use vltava_client::admin::{GroupListing, ListGroupsOptions};

use super::failed_within;
use crate::failure::Failure;
use crate::java::hash_map_order;
use crate::options::Options;

/// The states that a streams group may have.
const STATES: [&str; 6] = ["Stable", "Dead", "Empty", "Assigning", "Reconciling", "NotReady"];

/// The names of all streams groups.
pub(super) async fn all(admin: &Admin) -> Result<Vec<String>, Failure> {
    Ok(listed(admin, Vec::new()).await?.into_iter().map(|group| group.group_id).collect())
}

/// Streams groups in the order in which Kafka's tool prints them.
pub(super) async fn listed(admin: &Admin, states: Vec<String>) -> Result<Vec<GroupListing>, Failure> {
    let wanted = ListGroupsOptions { states, types: vec!["streams".to_owned()], ..ListGroupsOptions::default() };
    let mut groups = admin.list_groups(&wanted).await.map_err(failed_within)?;
    hash_map_order(&mut groups, 16, |group| &group.group_id);
    Ok(groups)
}

pub(super) async fn list(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    if !options.has("state") {
        for group in all(admin).await? {
            writeln!(out, "{group}")?;
        }
        return Ok(());
    }
    let groups = listed(admin, states(options.text("state"))?).await?;
    let width = groups.iter().map(|group| group.group_id.chars().count()).fold(15, usize::max);
    writeln!(out, "{:<width$} STATE", "GROUP")?;
    for group in &groups {
        writeln!(out, "{:<width$} {}", group.group_id, group.state.as_deref().unwrap_or("Unknown"))?;
    }
    Ok(())
}

/// The states of a list between commas, all of them known.
fn states(text: &str) -> Result<Vec<String>, Failure> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let find = |word: &str| STATES.iter().find(|valid| valid.eq_ignore_ascii_case(word.trim()));
    let known: Option<Vec<String>> = text.split(',').map(|word| find(word).map(|found| (*found).to_owned())).collect();
    known.ok_or_else(|| Failure::Usage(format!("Invalid state list '{text}'. Valid states are: {}", STATES.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::states;

    #[test]
    fn states_are_known_in_any_case_and_others_refused() {
        assert_eq!(states("stable, NOTREADY").unwrap(), ["Stable", "NotReady"]);
        assert!(states("").unwrap().is_empty());
        let refused = states("PreparingRebalance").unwrap_err();
        assert!(refused.message().starts_with("Invalid state list 'PreparingRebalance'. Valid states are: "));
    }
}
