//! How who sends a record hears of it.

use std::sync::Arc;

use super::batch::Batch;
use super::delivery::{Callback, Delivery};
use super::tags::RecordTag;

/// How a record's sender wants to hear of it.
pub(crate) trait Observe {
    /// What he gets.
    type Tag;
    /// Makes it for the record with this index of the batch.
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Self::Tag;
}

/// By a future.
pub(crate) struct ByDelivery;

impl Observe for ByDelivery {
    type Tag = Delivery;

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Delivery {
        Delivery::new(Arc::clone(&batch.completion), index, timestamp)
    }
}

/// Not at all.
pub(crate) struct ByFlush;

impl Observe for ByFlush {
    type Tag = ();

    #[inline]
    fn observe(self, batch: &mut Batch, _: u32, _: i64) {
        batch.completion.set_unobserved();
    }
}

/// By a call.
pub(crate) struct ByCallback(pub(crate) Callback);

impl Observe for ByCallback {
    type Tag = ();

    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) {
        batch.completion.add_callback(index, timestamp, self.0);
    }
}

/// If it fails: with this tag.
pub(crate) struct ByTag(pub(crate) RecordTag);

impl Observe for ByTag {
    type Tag = ();

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, _: i64) {
        batch.tags.push(index, self.0);
    }
}

/// By a future, and with this tag if it fails.
pub(crate) struct ByDeliveryAndTag(pub(crate) RecordTag);

impl Observe for ByDeliveryAndTag {
    type Tag = Delivery;

    #[inline]
    fn observe(self, batch: &mut Batch, index: u32, timestamp: i64) -> Delivery {
        batch.tags.push(index, self.0);
        Delivery::new(Arc::clone(&batch.completion), index, timestamp)
    }
}
