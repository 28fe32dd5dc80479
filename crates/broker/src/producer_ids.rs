//! Producer ids, given one by one from blocks that are recorded before they are used.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use vltava_protocol::ErrorCode;
use vltava_protocol::records::metadata::{MetadataRecord, ProducerIdsRecord};

use crate::node::Node;
use crate::request::ApiError;

/// As many as Kafka gives a broker at once.
const BLOCK_SIZE: i64 = 1000;

/// What is left of this broker's block.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    left: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// The next id. A block that was begun before a restart is not gone on with.
    pub(crate) fn next(&self, node: &Arc<Node>) -> Result<i64, ErrorCode> {
        let mut left = self.left.lock();
        if let Some(id) = left.next() {
            return Ok(id);
        }
        let claimed = node.update_metadata(|image| {
            let first = image.next_producer_id();
            let next = first.checked_add(BLOCK_SIZE).ok_or(ErrorCode::UnknownServerError)?;
            let record = ProducerIdsRecord {
                broker_id: node.config.node_id,
                broker_epoch: node.broker_epoch(),
                next_producer_id: next,
                ..ProducerIdsRecord::default()
            };
            Ok((vec![MetadataRecord::ProducerIds(record)], first..next))
        });
        *left = claimed.map_err(|error: ApiError| error.code)?;
        left.next().ok_or(ErrorCode::UnknownServerError)
    }
}
