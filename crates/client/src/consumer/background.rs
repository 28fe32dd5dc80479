//! What goes on between calls: requests in flight, heartbeats, metadata.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::inner::{Inner, State};
use super::membership::classic::{GroupRequest, GroupResponse};
use super::offset_commit::{self, Offsets};
use crate::ClientError;
use crate::net::{ConnectionKey, CoordinatorType, SendOptions};

/// How much longer than the rebalance timeout a join may go without an answer.
const JOIN_LAPSE: std::time::Duration = std::time::Duration::from_secs(5);

impl Inner {
    /// Lets time pass and metadata change until the consumer is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut metadata = self.cluster.subscribe();
        while !self.closed.load(Ordering::Acquire) {
            let deadline = {
                let mut state = self.state.lock();
                let now = Instant::now();
                self.take_metadata(&mut state);
                if let Some(membership) = &mut state.membership {
                    let rejoin = membership.rejoin_needed();
                    membership.tick(now);
                    if membership.rejoin_needed() != rejoin {
                        self.touch();
                    }
                }
                if state.fetcher.next_deadline().is_some_and(|at| at <= now) {
                    state.fetch_wanted = true;
                }
                self.send_group_requests(&mut state);
                self.look_up_positions(&mut state, now);
                if std::mem::take(&mut state.fetch_wanted) {
                    self.send_fetches(&mut state, now);
                }
                state.next_deadline()
            };
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.deadlines.notified() => {}
                changed = metadata.changed() => {
                    self.touch();
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends what the membership has to say.
    pub(crate) fn send_group_requests(self: &Arc<Self>, state: &mut State) {
        let Some(membership) = &mut state.membership else { return };
        while let Some((token, request)) = membership.poll_request() {
            let node = membership.coordinator();
            let inner = Arc::clone(self);
            self.cluster.runtime().spawn(async move {
                let answer = inner.ask_coordinator(node, request).await;
                let mut state = inner.state.lock();
                let now = Instant::now();
                if let Some(membership) = &mut state.membership {
                    membership.on_response(now, token, answer);
                }
                inner.drive(&mut state, now);
                inner.touch();
            });
        }
    }

    pub(super) async fn ask_coordinator(
        &self,
        node: Option<i32>,
        request: GroupRequest,
    ) -> Result<GroupResponse, ClientError> {
        let group_id = self.group_id()?;
        let Some(node) = node else {
            // The coordinator was given up: what is remembered of it is wrong.
            self.forget_coordinator();
            let node = self.cluster.coordinator(CoordinatorType::Group, group_id).await?;
            return Ok(GroupResponse::Coordinator(node.id));
        };
        let key = ConnectionKey::coordinator(node);
        let options = SendOptions::default();
        match request {
            GroupRequest::FindCoordinator => Ok(GroupResponse::Coordinator(node)),
            GroupRequest::Join(join) => {
                let wait = self.config.max_poll_interval.saturating_add(JOIN_LAPSE);
                let timeout = Some(wait.max(self.config.common.request_timeout));
                let options = SendOptions { timeout, ..options };
                Ok(GroupResponse::Join(self.cluster.send_with(key, &join, options).await?))
            }
            GroupRequest::Sync(sync) => Ok(GroupResponse::Sync(self.cluster.send_with(key, &sync, options).await?)),
            GroupRequest::Heartbeat(heartbeat) => {
                Ok(GroupResponse::Heartbeat(self.cluster.send_with(key, &heartbeat, options).await?))
            }
            GroupRequest::Leave(leave) => Ok(GroupResponse::Leave(self.cluster.send_with(key, &leave, options).await?)),
        }
    }

    /// Sends fetches to all brokers that can be asked.
    pub(crate) fn send_fetches(self: &Arc<Self>, state: &mut State, now: Instant) {
        if state.closing {
            return;
        }
        let metadata = self.cluster.metadata();
        let State { fetcher, subscription, .. } = state;
        let (calls, news) = fetcher.build_requests(now, subscription, &metadata);
        if news.update_metadata {
            self.cluster.request_update();
        }
        for call in calls {
            let inner = Arc::clone(self);
            self.cluster.runtime().spawn(async move {
                let options = SendOptions { max_version: call.max_version, ..SendOptions::default() };
                let key = ConnectionKey::fetch(call.node);
                let answer = inner.cluster.send_with(key, &call.request, options).await;
                let mut state = inner.state.lock();
                let now = Instant::now();
                let State { fetcher, subscription, .. } = &mut *state;
                let news = fetcher.on_response(now, call.node, answer, subscription);
                if !news.leaders.is_empty() {
                    inner.cluster.update_leaders(&news.leaders, &news.nodes);
                    inner.take_metadata(&mut state);
                }
                if news.update_metadata {
                    inner.cluster.request_update();
                }
                state.fetch_wanted = true;
                inner.drive(&mut state, now);
                if state.fetcher.has_data() {
                    inner.touch();
                }
            });
        }
    }

    /// Commits what is queued, one after the other.
    pub(crate) async fn work_on_commits(self: Arc<Self>) {
        loop {
            let next = self.state.lock().commits.next();
            let Some(job) = next else {
                self.touch();
                return;
            };
            let result = self.commit(&job.offsets, job.retry, job.deadline).await;
            let mut state = self.state.lock();
            state.commits.complete(job, result);
            self.send_group_requests(&mut state);
            drop(state);
            self.touch();
            self.deadlines.notify_one();
        }
    }

    async fn commit(&self, offsets: &Offsets, retry: bool, deadline: Instant) -> Result<(), ClientError> {
        let mut attempt = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let result = tokio::time::timeout(left, self.try_commit(offsets))
                .await
                .unwrap_or_else(|_| Err(self.cluster.timed_out("commit of offsets".to_owned(), left)));
            let Err(error) = result else { return Ok(()) };
            let pause = self.config.common.retry_pause(attempt);
            if !retry || !error.is_retriable() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, attempt, "commit of offsets failed, trying again");
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_commit(&self, offsets: &Offsets) -> Result<(), ClientError> {
        let group_id = self.group_id()?;
        let node = self.cluster.coordinator(CoordinatorType::Group, group_id).await?;
        let (generation, request) = {
            let state = self.state.lock();
            let membership = state.membership.as_ref().ok_or(ClientError::Closed)?;
            let generation = offset_commit::generation_for_commit(state.subscription.is_subscribed(), membership)?;
            let request = offset_commit::build_request(membership, &generation, offsets)?;
            (generation, request)
        };
        let options =
            SendOptions { max_version: Some(offset_commit::LAST_VERSION_WITH_NAMES), ..SendOptions::default() };
        let answer = self.cluster.send_with(ConnectionKey::coordinator(node.id), &request, options).await;
        let mut state = self.state.lock();
        let membership = state.membership.as_mut().ok_or(ClientError::Closed)?;
        let result = match &answer {
            Ok(response) => offset_commit::judge(membership, &generation, response),
            Err(error) => {
                membership.coordinator_unknown(&error.to_string());
                Err(error.clone())
            }
        };
        if membership.coordinator().is_none() {
            self.forget_coordinator();
        }
        result
    }
}
