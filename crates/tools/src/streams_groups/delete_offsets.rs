//! `kafka-streams-groups --delete-offsets`: forget what a group has committed for topics that it reads.

use std::collections::BTreeSet;
use std::io::Write;

use vltava_client::{Admin, TopicPartition};

use super::reset::input_offsets;
use crate::consumer_groups::delete_offsets::{Deletion, delete, partitions_of, tell};
use crate::failure::Failure;
use crate::options::Options;

pub(super) async fn delete_offsets(admin: &Admin, options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let group = options.text("group");
    let mut deletions: Vec<Deletion> = Vec::new();
    let partitions: BTreeSet<TopicPartition> = match options.has("all-input-topics") {
        true => input_offsets(admin, group).await?.into_iter().collect(),
        false => partitions_of(admin, options.values("input-topic"), &mut deletions).await?,
    };
    let outcome = match partitions.is_empty() {
        // Then nothing asks the coordinator, and yet the group may be missing.
        true => {
            let described = admin.describe_streams_groups([group]).await;
            described.into_values().try_for_each(|result| result.map(drop))
        }
        false => delete(admin, group, partitions, &mut deletions).await,
    };
    tell(group, outcome, deletions, out)
}
