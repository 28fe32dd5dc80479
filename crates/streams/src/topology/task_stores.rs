//! From the topology to the stores of one task.

use std::sync::Arc;

use super::Topology;
use crate::{
    error::{Error, Result},
    state::{EngineContext, OpenMark, RestoredFrom, Sharing, TaskDirectory},
    store::{AnyStore, KeptStores, StoreFactory, StoreInit},
    task::TaskCtx,
    task_id::TaskId,
};

/// Makes a store. One whose damage shows only when its first rows are read is made a second time, empty.
pub(super) fn make_store(factory: &StoreFactory, init: &StoreInit<'_>) -> Result<Box<dyn AnyStore>> {
    let make = || -> Result<_> {
        let store = (factory.make)(init)?;
        store.committed_offset()?;
        store.committed_partitions()?;
        Ok(store)
    };
    match make() {
        Err(error) if error.is_corrupted_store() => make(),
        made => made,
    }
}

/// Marks a store of the application's own that is on disk. One that nobody has closed may have something of a transaction
/// that came to nothing: under exactly-once it is emptied, and will be restored.
fn mark(store: &mut dyn AnyStore, engine: &EngineContext) -> Result<Option<OpenMark>> {
    let Some(task) = engine.state_dir.as_ref().filter(|_| store.persistent()) else { return Ok(None) };
    if store.forget()? {
        return Ok(None);
    }
    let (mark, was_open) = OpenMark::set(&task.path, store.name()).map_err(|error| {
        let message = format!("marking it as open in {}: {error}", task.path.display());
        Box::new(Error::Store { store: store.name().to_owned(), message })
    })?;
    if was_open && engine.transactional {
        let name = store.name();
        tracing::warn!(
            task = engine.task_id,
            store = name,
            "restored anew: it was not closed, and cannot tell what was committed"
        );
        store.clear()?;
    }
    Ok(Some(mark))
}

/// Makes the stores of some nodes, but for those that were kept; returns them in the order of their registration.
pub(super) fn make_stores(
    topology: &Topology,
    nodes: &[usize],
    ctx: &mut TaskCtx,
    state_dir: Option<TaskDirectory>,
    mut kept: KeptStores,
) -> Result<(Vec<usize>, Vec<OpenMark>)> {
    let config = ctx.rt.config.clone();
    let task_id = ctx.rt.task_id.to_string();
    let transactional = config.is_exactly_once();
    let (mut order, mut marks) = (Vec::new(), Vec::new());
    ctx.stores = topology.store_names.iter().map(|_| None).collect();
    for node in nodes {
        for id in topology.stores_of(*node) {
            let Some(factory) = topology.stores.get(&id).filter(|_| !order.contains(&id)) else { continue };
            let changelog =
                if factory.logging { topology.changelog_topic(factory, config.application_id()) } else { None };
            let restored_from = match (&changelog, topology.changelog_topic(factory, config.application_id())) {
                (Some(_), _) => RestoredFrom::Changelog,
                // A source topic that serves as one.
                (None, Some(_)) => RestoredFrom::Topic,
                (None, None) => RestoredFrom::Nothing,
            };
            let (task_id, state_dir) = (task_id.clone(), state_dir.clone());
            let engine = EngineContext { task_id, state_dir, restored_from, transactional };
            let init = StoreInit {
                config: &config,
                engine: &engine,
                changelog: changelog.map(|topic| (Arc::from(topic), ctx.rt.task_id.partition)),
                caching: factory.caching && config.fields().cache_max_bytes > 0,
                sharing: Sharing::Own,
            };
            ctx.rt.cache.caches += usize::from(init.caching);
            let store = match kept.take(&factory.name) {
                Some(store) => store,
                None => {
                    let mut store = make_store(factory, &init)?;
                    marks.extend(mark(&mut *store, &engine)?);
                    store
                }
            };
            if let Some(place) = ctx.stores.get_mut(id) {
                *place = Some(store);
            }
            order.push(id);
        }
    }
    Ok((order, marks))
}

/// Opens the global stores: in the task that fills them its own, in every other to read.
pub(super) fn open_global_stores(
    topology: &Topology,
    ctx: &mut TaskCtx,
    sharing: Sharing<'_>,
    state_dir: Option<TaskDirectory>,
) -> Result<()> {
    let config = ctx.rt.config.clone();
    let (task_id, restored_from) = (TaskId::GLOBAL.to_string(), RestoredFrom::Topic);
    // What a global store has was committed.
    let engine = EngineContext { task_id, state_dir, restored_from, transactional: false };
    ctx.stores.resize_with(topology.store_names.len(), || None);
    for global in &topology.global_stores {
        let init = StoreInit { config: &config, engine: &engine, changelog: None, caching: false, sharing };
        let store = make_store(&global.factory, &init)?;
        ctx.global_stores.push(global.factory.id);
        if let Some(place) = ctx.stores.get_mut(global.factory.id) {
            *place = Some(store);
        }
    }
    Ok(())
}
