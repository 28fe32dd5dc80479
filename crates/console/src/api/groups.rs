//! `/api/groups`: all groups.

use serde_json::{Value, json};
use vltava_client::admin::{GroupListing, ListGroupsOptions};

use super::Problem;
use crate::clock::now_ms;
use crate::console::Shared;

pub(super) async fn groups(shared: &Shared) -> Result<Value, Problem> {
    let groups = shared.admin.list_groups(&ListGroupsOptions::default()).await?;
    let group = |group: &GroupListing| {
        json!({
            "id": group.group_id,
            "type": group.group_type,
            "protocol": group.protocol_type,
            "state": group.state,
        })
    };
    Ok(json!({"at": now_ms(), "groups": groups.iter().map(group).collect::<Vec<_>>()}))
}
