//! The topics of the cluster, as coordinators see them.

use std::sync::Arc;

use vltava_protocol::Uuid;

use crate::coordinator::group::TopicMetadata;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;

/// The topics of the cluster, as consumer groups see them.
pub(crate) struct ClusterTopics {
    version: i64,
    image: Arc<MetadataImage>,
}

impl TopicMetadata for ClusterTopics {
    fn version(&self) -> i64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        let topic = self.image.topic(name)?;
        Some((topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.image.topic_by_id(id).map(|topic| topic.name.to_string())
    }

    fn names(&self) -> Vec<String> {
        self.image.topics().map(|topic| topic.name.to_string()).collect()
    }
}

impl ClusterTopics {
    /// The topics as they are now.
    pub(crate) fn of(metadata: &MetadataStore) -> Self {
        let (image, version) = metadata.image_and_offset();
        Self { version, image }
    }
}
