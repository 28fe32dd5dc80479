//! The topics of the cluster, as coordinators see them.

use std::sync::Arc;

use vltava_protocol::Uuid;
use vltava_security::acl::AclOperation;

use crate::coordinator::group::TopicMetadata;
use crate::metadata::MetadataStore;
use crate::metadata::image::MetadataImage;
use crate::request::RequestContext;
use crate::security::Resource;

/// The topics of the cluster, as consumer groups see them.
pub(crate) struct ClusterTopics<'a> {
    version: i64,
    image: Arc<MetadataImage>,
    /// Who asks, where they may not see every topic.
    context: Option<&'a RequestContext>,
}

impl TopicMetadata for ClusterTopics<'_> {
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
        let sees = |name: &str| match self.context {
            Some(context) => context.may_quietly(AclOperation::Describe, Resource::topic(name)),
            None => true,
        };
        self.image.topics().filter(|topic| sees(&topic.name)).map(|topic| topic.name.to_string()).collect()
    }
}

impl<'a> ClusterTopics<'a> {
    /// The topics as they are now.
    pub(crate) fn of(metadata: &MetadataStore) -> Self {
        let (image, version) = metadata.image_and_offset();
        Self { version, image, context: None }
    }

    /// The topics as they are now; those that the sender of a request may not see have no names in a list.
    pub(crate) fn seen_by(metadata: &MetadataStore, context: &'a RequestContext) -> Self {
        let context = context.is_judged().then_some(context);
        Self { context, ..Self::of(metadata) }
    }
}
