//! What clients are told of this broker.

use std::collections::HashMap;

/// The broker and the addresses at which it is reached.
#[derive(Debug)]
pub(crate) struct Advertised {
    pub(crate) cluster_id: String,
    pub(crate) node_id: i32,
    pub(crate) rack: Option<String>,
    /// Host and port by the name of the listener.
    pub(crate) endpoints: HashMap<String, (String, u16)>,
}

impl Advertised {
    /// The address that a client of a listener is told, if the listener is advertised.
    pub(crate) fn endpoint(&self, listener: &str) -> Option<(String, u16)> {
        self.endpoints.get(listener).cloned()
    }
}
