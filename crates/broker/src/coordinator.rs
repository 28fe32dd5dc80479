//! The coordinators.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "its callers are the handlers, which follow"))]
pub(crate) mod group;
