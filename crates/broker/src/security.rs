//! What may be done.

pub(crate) mod operations;
