//! Producer ids, given one by one from blocks that are recorded before they are used.

use std::ops::Range;
use std::sync::Arc;

use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::{MetadataRecord, ProducerIdsRecord};

use super::Controller;
use crate::request::ApiError;

/// As many as Kafka gives a broker at once.
const BLOCK_SIZE: i64 = 1000;

/// What is left of this broker's block.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    controller: Arc<Controller>,
    left: tokio::sync::Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(crate) fn new(controller: Arc<Controller>) -> Self {
        Self { controller, left: tokio::sync::Mutex::default() }
    }

    /// The next id. A block that was begun before a restart is not gone on with.
    ///
    /// Cancel-safe: a block that was claimed for a caller that went away is left unused.
    pub(crate) async fn next(&self) -> Result<i64, ErrorCode> {
        let mut left = self.left.lock().await;
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let (broker_id, broker_epoch) = (self.controller.config.node_id, self.controller.broker_epoch());
        let claimed = self.controller.commit(move |image| {
            let first = image.next_producer_id();
            let next = first.checked_add(BLOCK_SIZE).ok_or(ErrorCode::UnknownServerError)?;
            let record =
                ProducerIdsRecord { broker_id, broker_epoch, next_producer_id: next, ..ProducerIdsRecord::default() };
            Ok((vec![MetadataRecord::ProducerIds(record)], first..next))
        });
        *left = claimed.await.map_err(|error: ApiError| error.code)?;
        left.next().ok_or(ErrorCode::UnknownServerError)
    }
}
