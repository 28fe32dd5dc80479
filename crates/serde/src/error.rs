//! The one error of this crate.

use std::{error::Error as StdError, fmt, sync::Arc};

/// Why a serde could not write or read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SerdeError(Arc<dyn StdError + Send + Sync>);

impl SerdeError {
    /// From a message or from another error.
    pub fn new(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        SerdeError(Arc::from(why.into()))
    }
}

impl fmt::Display for SerdeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for SerdeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
