//! The group coordinator: the shards of groups on the [runtime](crate::coordinator::runtime) of coordinators.

use std::sync::Arc;

use vltava_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};
use vltava_protocol::{ErrorCode, invariant};

use super::config::GroupCoordinatorConfig;
use super::shard::{Caller, GroupCoordinatorShard, GroupReply};
use crate::coordinator::log::CoordinatorLog;
use crate::coordinator::runtime::{Coordinator, RuntimeConfig};

/// The group coordinator of a broker.
pub(crate) type GroupCoordinator = Coordinator<GroupCoordinatorShard>;

impl GroupCoordinator {
    /// Makes the coordinator of groups on a log of `__consumer_offsets`.
    pub(crate) fn of_groups(config: GroupCoordinatorConfig, log: Arc<dyn CoordinatorLog>) -> Self {
        let runtime = RuntimeConfig {
            compression: config.offsets_topic_compression,
            max_batch_bytes: config.max_batch_bytes,
            load_buffer_bytes: config.offsets_load_buffer_bytes,
            write_timeout_ms: config.offsets_commit_timeout_ms,
        };
        Self::new(runtime, Arc::new(config), log, Box::new(|_, never| match never {}))
    }

    /// Joins a group; waits until the group has its next generation.
    ///
    /// Cancel-safe: if the caller goes away its member stays, until its session ends.
    pub(crate) async fn join_group(&self, caller: &Caller, request: JoinGroupRequest) -> JoinGroupResponse {
        let (group_id, member_id) = (request.group_id.clone(), request.member_id.clone());
        let asked = self.ask(&group_id, |shard, now, token| shard.join_group(now, caller, request, token));
        let error = match asked.await {
            Ok(GroupReply::Join(response)) => return response,
            Ok(GroupReply::Sync(_)) => another_answer(),
            Err(error) => error,
        };
        JoinGroupResponse { error_code: error.code(), member_id, ..JoinGroupResponse::default() }
    }

    /// Asks for the assignment of a member; waits until the leader has given it.
    ///
    /// Cancel-safe, as [`GroupCoordinator::join_group`].
    pub(crate) async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let group_id = request.group_id.clone();
        let error = match self.ask(&group_id, |shard, now, token| shard.sync_group(now, request, token)).await {
            Ok(GroupReply::Sync(response)) => return response,
            Ok(GroupReply::Join(_)) => another_answer(),
            Err(error) => error,
        };
        SyncGroupResponse { error_code: error.code(), ..SyncGroupResponse::default() }
    }
}

/// A token of a join was answered as a sync, or the other way round.
fn another_answer() -> ErrorCode {
    invariant!(false, "a request to a group is answered by what was asked");
    ErrorCode::UnknownServerError
}

#[cfg(test)]
mod tests;
