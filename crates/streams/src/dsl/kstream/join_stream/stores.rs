//! The names and stores of a join.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use super::Outer;
use crate::{
    builder::Graph,
    data::Data,
    dsl::{JoinWindows, StoreType, StreamJoined, materialized::in_memory, stream_joined::StoresOfJoin},
    error::Error,
    record::ValueTimestampHeaders,
    state::WindowSupplier,
    store::{ChosenSerdes, OuterJoinSpec, StoreFactory, StoreKind, StoreSpec, Supply},
};

/// The names of a join's nodes, and those that its stores are named after.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) this_window: Arc<str>,
    pub(super) other_window: Arc<str>,
    pub(super) this_join: Arc<str>,
    pub(super) other_join: Arc<str>,
    pub(super) merge: Arc<str>,
    /// The generated names of the joining nodes: stores have them even where the nodes have not.
    this_generated: String,
    other_generated: String,
}

const JOIN_THIS: &str = "KSTREAM-JOINTHIS-";
const JOIN_OTHER: &str = "KSTREAM-JOINOTHER-";
const OUTER_THIS: &str = "KSTREAM-OUTERTHIS-";
const OUTER_OTHER: &str = "KSTREAM-OUTEROTHER-";
const OUTER_SHARED: &str = "KSTREAM-OUTERSHARED-";
const WINDOWED: &str = "KSTREAM-WINDOWED-";

/// What the names of both sides end with.
fn suffixes(outer: Outer) -> (&'static str, &'static str) {
    let this = if outer.right { "-outer-this-join" } else { "-this-join" };
    (this, if outer.left { "-outer-other-join" } else { "-other-join" })
}

impl Names {
    /// Consumes five numbers, whether or not they are used.
    pub(super) fn new(graph: &mut Graph, name: Option<&str>, outer: Outer) -> Self {
        let (this, other) = suffixes(outer);
        let this_window = graph.name_with_suffix_or(name, "-this-windowed", WINDOWED);
        let other_window = graph.name_with_suffix_or(name, "-other-windowed", WINDOWED);
        let this_generated = graph.new_processor_name(if outer.right { OUTER_THIS } else { JOIN_THIS });
        let other_generated = graph.new_processor_name(if outer.left { OUTER_OTHER } else { JOIN_OTHER });
        let or_named = |generated: &str, suffix: &str| match name {
            Some(name) => format!("{name}{suffix}").into(),
            None => generated.into(),
        };
        Names {
            this_window: this_window.into(),
            other_window: other_window.into(),
            this_join: or_named(&this_generated, this),
            other_join: or_named(&other_generated, other),
            merge: graph.name_with_suffix_or(name, "-merge", "KSTREAM-MERGE-").into(),
            this_generated,
            other_generated,
        }
    }
}

/// The stores of both sides, and of what has met no other yet.
pub(super) struct JoinStores {
    pub(super) this: StoreFactory,
    pub(super) other: StoreFactory,
    pub(super) unjoined: Option<StoreFactory>,
}

impl JoinStores {
    pub(super) fn new<K: Data, A: Data, B: Data>(
        graph: &mut Graph,
        joined: &StreamJoined<K, A, B>,
        windows: JoinWindows,
        names: &Names,
        outer: Outer,
    ) -> Self {
        let given = &joined.stores;
        check_suppliers(graph, given, windows);
        let (this_suffix, other_suffix) = suffixes(outer);
        let base = |generated: &str, suffix: &str| match &given.name {
            Some(name) => format!("{name}{suffix}-store"),
            None => format!("{generated}-store"),
        };
        let (this, other) = (base(&names.this_generated, this_suffix), base(&names.other_generated, other_suffix));
        let (key, left, right) = (joined.key_serde(), joined.value_serde(), joined.other_value_serde());
        let this =
            window_store::<K, A>(graph, given, windows, (this, &given.this_supplier), (key.clone(), left.clone()));
        let other =
            window_store::<K, B>(graph, given, windows, (other, &given.other_supplier), (key.clone(), right.clone()));
        let unjoined = outer.left.then(|| {
            let spec = OuterJoinSpec::<K, A, B> {
                name: unjoined_name(given, &names.this_generated, outer),
                in_memory: match (&given.store_type, &given.this_supplier) {
                    (Some(store_type), _) => Some(*store_type == StoreType::InMemory),
                    (None, Some(supplier)) => supplier.in_memory_kind(),
                    (None, None) => None,
                },
                key_serde: key,
                left_serde: left,
                right_serde: right,
                types: PhantomData,
            };
            StoreFactory {
                id: graph.store_id(&spec.name),
                name: spec.name.clone(),
                kind: StoreKind::KeyValue,
                logging: given.logging,
                log_config: given.log_config.clone(),
                caching: false,
                builder: Some(graph.new_builder()),
                make: Arc::new(move |init| spec.make(init)),
            }
        });
        if given.name.is_none() {
            for store in [Some(&this), Some(&other), unjoined.as_ref()].into_iter().flatten() {
                graph.implicit.stores.push(store.name.clone());
                if store.logging {
                    graph.implicit.changelogs.push(format!("{}-changelog", store.name));
                }
            }
        }
        // Without it left and outer joins do not wait for the end of a window.
        JoinStores { this, other, unjoined: unjoined.filter(|_| windows.waits()) }
    }
}

fn unjoined_name(given: &StoresOfJoin, this_generated: &str, outer: Outer) -> String {
    let suffix = if outer.right { "-outer-shared-join" } else { "-left-shared-join" };
    let supplied = given.this_supplier.as_ref().map(WindowSupplier::name).filter(|name| !name.is_empty());
    match supplied.or(given.name.as_deref()) {
        Some(name) => format!("{name}{suffix}-store"),
        None => {
            let prefix = if outer.right { OUTER_THIS } else { JOIN_THIS };
            format!("{OUTER_SHARED}{}-store", this_generated.strip_prefix(prefix).unwrap_or(this_generated))
        }
    }
}

/// One side's records: as supplied, or by the settings of the join.
fn window_store<K: Data, V: Data>(
    graph: &mut Graph,
    given: &StoresOfJoin,
    windows: JoinWindows,
    (name, supplier): (String, &Option<WindowSupplier>),
    serdes: ChosenSerdes,
) -> StoreFactory {
    let supplied = supplier.is_some();
    let name = supplier.as_ref().map_or(name, |supplier| supplier.name().to_owned());
    let (retention, size) = (windows.retention(), windows.size_ms());
    let (store, in_memory) = (name.clone(), in_memory(given.store_type));
    let supply = Supply::or_dsl(name.clone(), supplier.clone(), move |init| {
        WindowSupplier::of_dsl(store.clone(), in_memory(init), false, retention, size, true)
    });
    let spec = StoreSpec::<_, K, ValueTimestampHeaders<V>>::joined(supply, serdes);
    let mut log_config = if supplied { BTreeMap::new() } else { given.log_config.clone() };
    // Every record has a key of its own: compaction would find nothing.
    log_config.remove("cleanup.policy");
    StoreFactory {
        id: graph.store_id(&name),
        name,
        kind: StoreKind::Window { retention, delete_only: !supplied },
        logging: supplied || given.logging,
        log_config,
        caching: false,
        builder: Some(graph.new_builder()),
        make: Arc::new(move |init| spec.make(init)),
    }
}

/// Supplied stores must fit the join.
fn check_suppliers(graph: &mut Graph, given: &StoresOfJoin, windows: JoinWindows) {
    let (this, other) = (&given.this_supplier, &given.other_supplier);
    if let (Some(this), Some(other)) = (this, other)
        && this.name() == other.name()
    {
        let why = format!("both stores of a join are named {}: their names must differ", this.name());
        graph.fail(Error::streams(why));
    }
    for supplier in [this, other].into_iter().flatten() {
        let name = supplier.name();
        if !supplier.retain_duplicates() {
            graph.fail(Error::streams(format!("the store {name} of a join must retain duplicates")));
        }
        let (size, retention) = (supplier.window_size(), supplier.retention_period());
        if size != windows.size_ms() || retention != windows.retention() {
            graph.fail(Error::streams(format!(
                "the windows of {size} ms and the retention of {retention} ms of the store {name} are not those of the join: {windows}"
            )));
        }
    }
}
