//! Queries of the driver's stores: what [`KafkaStreams::query`](crate::KafkaStreams::query) is for an application.

use super::TopologyTestDriver;
use crate::{
    error::{Error, Result},
    query::{
        FailureReason, Position, QueriedStore, Query, QueryFailure, QueryResult, StateQueryRequest, StateQueryResult,
    },
};

impl TopologyTestDriver {
    /// Runs a query on a store. There is one partition, 0, and everything is processed and flushed.
    ///
    /// ```
    /// use vltava_streams::{
    ///     Materialized, StreamsBuilder, TopologyTestDriver,
    ///     query::{RangeQuery, StateQueryRequest},
    /// };
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in").group_by_key().count_with(Materialized::named("counts"));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, String>("in").pipe("k".to_owned(), "v".to_owned())?;
    /// let query = RangeQuery::<String, i64>::with_no_bounds();
    /// let answers = driver.query(&StateQueryRequest::in_store("counts").with_query(query))?;
    /// let answer = answers.only_partition_result()?.expect("partition 0 answers");
    /// assert_eq!(answer.result().unwrap(), &[("k".to_owned(), 1)]);
    /// assert_eq!(answer.position().unwrap().offset("in", 0), Some(0));
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownStateStore`], or that the driver is closed.
    pub fn query<Q: Query>(&self, request: &StateQueryRequest<Q>) -> Result<StateQueryResult<Q::Result>> {
        let mut driver = self.at_work()?;
        let name = request.store_name();
        let unknown = || {
            Box::new(Error::UnknownStateStore(format!(
                "Cannot get state store {name} because no such store is registered in the topology."
            )))
        };
        let id = driver.store_names.iter().position(|known| known == name).ok_or_else(unknown)?;
        let mut position = Position::empty();
        for (topic, next) in driver.offsets.iter().filter(|(_, next)| **next > 0) {
            position.advance(topic.clone(), 0, next - 1);
        }
        let mut results = StateQueryResult::new();
        let is_global = driver.global_stores.iter().any(|global| global == name);
        let mut store = QueriedStore::of(driver.ctx_of(name), id).ok_or_else(unknown)?;
        if is_global || request.asks(0) {
            let mut result = request.run(&mut store, position);
            if request.execution_info_enabled() {
                result.add_execution_info(match is_global {
                    true => format!("Handled in global store {name}"),
                    false => format!("Handled in store {name} of task 0_0"),
                });
            }
            if is_global {
                results.set_global(result);
                return Ok(results);
            }
            results.add(0, result);
        }
        for partition in request.partitions().into_iter().flatten().filter(|partition| **partition != 0) {
            let message = "The requested partition was not present at the time of the query.";
            let failure = QueryFailure::new(FailureReason::NotPresent, message);
            results.add(*partition, QueryResult::new(Err(failure), None));
        }
        Ok(results)
    }
}
