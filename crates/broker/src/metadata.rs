//! The metadata of the cluster: Kafka's records in `__cluster_metadata-0`, folded into an image.
//!
//! Handlers read the image. Who wants a change gives records; they are appended to the log, then
//! folded, then acted on, one writer after the other.

pub(crate) mod features;
pub(crate) mod image;
mod load;
pub(crate) mod quotas;
mod records;
pub(crate) mod scram;
mod store;
pub(crate) mod topic_name;

pub(crate) use records::{read_batch, write_batch};
pub(crate) use store::{Change, Committed, MetadataStore};
