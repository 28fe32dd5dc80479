//! The coordinators.

#[allow(dead_code, unused_imports, reason = "its callers are the handlers, which follow")]
pub(crate) mod group;
