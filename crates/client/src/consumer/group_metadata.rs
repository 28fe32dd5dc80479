//! A member's place in its group.

/// The group, member and generation of a consumer, as transactions need it to commit offsets
/// (KIP-447).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    group_id: String,
    generation_id: i32,
    member_id: String,
    group_instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// Metadata of a member of the given generation.
    #[must_use]
    pub fn new(
        group_id: impl Into<String>,
        generation_id: i32,
        member_id: impl Into<String>,
        group_instance_id: Option<String>,
    ) -> Self {
        Self { group_id: group_id.into(), generation_id, member_id: member_id.into(), group_instance_id }
    }

    /// Metadata of a consumer that is not a member of its group: generation -1, no member id.
    #[must_use]
    pub fn unknown_member(group_id: impl Into<String>) -> Self {
        Self::new(group_id, -1, "", None)
    }

    /// The `group.id`.
    #[must_use]
    pub fn group_id(&self) -> &str {
        &self.group_id
    }

    /// The generation of the group, under `group.protocol=consumer` the member epoch; -1 if the consumer has not joined.
    #[must_use]
    pub fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// The member's id in the group, empty if the consumer has not joined.
    #[must_use]
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    /// The `group.instance.id` of a static member.
    #[must_use]
    pub fn group_instance_id(&self) -> Option<&str> {
        self.group_instance_id.as_deref()
    }
}
