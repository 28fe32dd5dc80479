//! A node of the topology before any task has made it.

use std::{any::TypeId, sync::Arc};

use crate::{error::Result, options::AutoOffsetReset, task::Pattern, topology::Instantiation};

/// Makes the node in a task.
pub(crate) type MakeNode = Arc<dyn Fn(&mut Instantiation<'_>) -> Result<()> + Send + Sync>;

/// The key and value types of records, to compare and to name.
#[derive(Clone, Copy)]
pub(crate) struct TypePair {
    id: TypeId,
    name: fn() -> &'static str,
}

impl TypePair {
    pub(crate) fn of<K: 'static, V: 'static>() -> Self {
        TypePair { id: TypeId::of::<(K, V)>(), name: std::any::type_name::<(K, V)> }
    }

    pub(crate) fn name(self) -> &'static str {
        (self.name)()
    }
}

impl PartialEq for TypePair {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

pub(crate) enum NodeKind {
    Source {
        topics: Vec<String>,
        pattern: Option<Pattern>,
        reset: Option<AutoOffsetReset>,
    },
    Processor {
        stores: Vec<usize>,
    },
    /// A sink to one topic, or to those that its extractor names.
    Sink {
        topic: Option<String>,
        extractor: String,
    },
}

pub(crate) struct NodeFactory {
    pub(crate) name: Arc<str>,
    pub(crate) predecessors: Vec<String>,
    pub(crate) kind: NodeKind,
    /// What it takes; `None` for sources.
    pub(crate) takes: Option<TypePair>,
    /// What it forwards; `None` for sinks and other ends.
    pub(crate) forwards: Option<TypePair>,
    pub(crate) make: MakeNode,
}
