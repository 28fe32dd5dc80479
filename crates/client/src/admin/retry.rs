//! Trying again, entity by entity.

use std::future::Future;
use std::time::{Duration, Instant};

use vltava_protocol::ErrorCode;
use vltava_protocol::wire::Request;

use super::{Admin, Results};
use crate::error::ClientError;
use crate::net::{ConnectionKey, CoordinatorType, SendOptions};

/// One answer of an attempt.
pub(super) type Answers<K, T> = Vec<(K, Result<T, ClientError>)>;

/// Whether the same request may succeed in a moment. An unknown topic is an answer here and not a passing state.
pub(super) fn may_pass(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::NotController
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotCoordinator
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::BrokerNotAvailable
                | ErrorCode::NetworkException
                | ErrorCode::ConcurrentTransactions
                | ErrorCode::ThrottlingQuotaExceeded
        ),
        None => error.is_retriable(),
    }
}

/// How long it takes until a quota lets go on, where one was exceeded.
fn throttle_time(error: &ClientError) -> Option<Duration> {
    match error {
        ClientError::ThrottlingQuotaExceeded { throttle_time, .. } => Some(*throttle_time),
        _ => None,
    }
}

impl Admin {
    /// Repeats `attempt` until it succeeds, fails for good, or the time or the retries are used up.
    pub(super) async fn retry<T, F, Fut>(&self, mut attempt: F) -> Result<T, ClientError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let limit = self.cluster.config().api_timeout;
        let deadline = Instant::now() + limit;
        let within = self.cluster.within(deadline, limit, || "request of the admin client".to_owned());
        let mut tries = 0;
        loop {
            let error = match within.wait(attempt()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let pause = self.cluster.config().retry_pause(tries);
            if !may_pass(&error) || tries >= self.retries || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tries += 1;
            self.cluster.request_update();
            tokio::time::sleep(pause).await;
        }
    }

    /// What `call` answers for each key, each of them tried again by itself.
    pub(super) async fn for_each<K, T, F, Fut>(
        &self,
        keys: impl IntoIterator<Item = impl Into<K>>,
        call: F,
    ) -> Results<K, T>
    where
        K: Ord + Clone,
        F: Fn(K) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let mut results = Results::new();
        for key in keys {
            let key = key.into();
            let result = self.retry(|| call(key.clone())).await;
            results.insert(key, result);
        }
        results
    }

    /// Asks a broker, again where that may help; `code` is where its answer has the error.
    pub(super) async fn ask<R: Request>(
        &self,
        broker: i32,
        request: &R,
        code: fn(&R::Response) -> i16,
    ) -> Result<R::Response, ClientError> {
        self.retry(async || {
            self.await_broker(broker).await?;
            let response = self.cluster.send(broker, request).await?;
            ClientError::check(code(&response), None).map(|()| response)
        })
        .await
    }

    /// The ids of all brokers, as the cluster has them now.
    pub(super) async fn all_brokers(&self) -> Result<Vec<i32>, ClientError> {
        Ok(self.retry(async || self.cluster.refresh().await).await?.brokers.keys().copied().collect())
    }

    /// Makes sure that a broker is in the metadata if the cluster has it.
    pub(super) async fn await_broker(&self, broker: i32) -> Result<(), ClientError> {
        if !self.cluster.metadata().brokers.contains_key(&broker) {
            self.cluster.refresh().await?;
        }
        Ok(())
    }

    /// Repeats `attempt` for the entities whose failure may pass; an attempt that fails as a whole fails for each.
    pub(super) async fn retry_each<K, T, F, Fut>(&self, entities: Vec<K>, attempt: F) -> Results<K, T>
    where
        K: Ord + Clone,
        F: FnMut(Vec<K>) -> Fut,
        Fut: Future<Output = Result<Answers<K, T>, ClientError>>,
    {
        self.retry_each_on_quota(entities, true, attempt).await
    }

    /// As [`retry_each`](Self::retry_each); without `on_quota` what exceeds a quota is not tried again. With it, it is when
    /// its time is over, if that is before the call's.
    pub(super) async fn retry_each_on_quota<K, T, F, Fut>(
        &self,
        entities: Vec<K>,
        on_quota: bool,
        mut attempt: F,
    ) -> Results<K, T>
    where
        K: Ord + Clone,
        F: FnMut(Vec<K>) -> Fut,
        Fut: Future<Output = Result<Answers<K, T>, ClientError>>,
    {
        let limit = self.cluster.config().api_timeout;
        let deadline = Instant::now() + limit;
        let within = self.cluster.within(deadline, limit, || "request of the admin client".to_owned());
        let mut results = Results::new();
        let mut pending = entities;
        let mut tries = 0;
        while !pending.is_empty() {
            let answers = match within.wait(attempt(pending.clone())).await {
                Ok(answers) => answers,
                Err(error) => pending.iter().map(|entity| (entity.clone(), Err(error.clone()))).collect(),
            };
            let throttle = answers.iter().filter_map(|(_, answer)| throttle_time(answer.as_ref().err()?)).max();
            let pause = self.cluster.config().retry_pause(tries);
            let pause = throttle.map_or(pause, |throttle| pause.max(throttle));
            let passes = |error: &ClientError| may_pass(error) && (on_quota || throttle_time(error).is_none());
            let give_up = tries >= self.retries || Instant::now() + pause >= deadline;
            let asked = std::mem::take(&mut pending);
            for (entity, result) in answers {
                match &result {
                    Err(error) if passes(error) && !give_up => pending.push(entity),
                    _ => drop(results.insert(entity, result)),
                }
            }
            for entity in asked.into_iter().filter(|entity| !pending.contains(entity)) {
                let missing = || Err(ClientError::unexpected("the answer leaves out what was asked for"));
                results.entry(entity).or_insert_with(missing);
            }
            if !pending.is_empty() {
                tries += 1;
                self.cluster.request_update();
                tokio::time::sleep(pause).await;
            }
        }
        results
    }

    /// Sends a request to a group's coordinator, looked up anew after an error that shows that it is another.
    pub(super) async fn send_to_group<R: Request>(&self, group: &str, request: &R) -> Result<R::Response, ClientError> {
        Ok(self.send_to_coordinator(CoordinatorType::Group, group, request).await?.1)
    }

    /// The same for any coordinator; says which broker has answered.
    pub(super) async fn send_to_coordinator<R: Request>(
        &self,
        kind: CoordinatorType,
        key: &str,
        request: &R,
    ) -> Result<(i32, R::Response), ClientError> {
        let coordinator = self.cluster.coordinator(kind, key).await?;
        let connection = ConnectionKey::coordinator(coordinator.id);
        let result = self.cluster.send_with(connection, request, SendOptions::default()).await;
        if result.is_err() {
            self.cluster.forget_coordinator(kind, key);
        }
        Ok((coordinator.id, result?))
    }

    /// The error of a group coordinator's answer; one that names another coordinator makes it be looked up again.
    pub(super) fn check_group(&self, group: &str, code: i16, message: Option<&str>) -> Result<(), ClientError> {
        self.check_coordinator(CoordinatorType::Group, group, code, message)
    }

    /// The same for any coordinator.
    pub(super) fn check_coordinator(
        &self,
        kind: CoordinatorType,
        key: &str,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), ClientError> {
        let checked = ClientError::check(code, message);
        let moved = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable];
        if moved.contains(&ErrorCode::from(code)) {
            self.cluster.forget_coordinator(kind, key);
        }
        checked
    }
}
