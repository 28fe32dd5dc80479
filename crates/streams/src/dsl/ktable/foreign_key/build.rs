//! The part of the graph that a foreign-key join adds: ten nodes, two topics and a store, in Kafka's order.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Functions,
    nodes::{CombinedKey, ForeignTableJoinNode, ReceiveNode, ResponseJoinNode, SendNode, Side, SubscriptionJoinNode},
    wrapper::{
        Subscription, SubscriptionResponseWrapper, SubscriptionResponseWrapperSerde, SubscriptionWrapper,
        SubscriptionWrapperSerde,
    },
};
use crate::{
    builder::{Graph, GraphNode, Written},
    data::{Data, ErasedSerde, Nullable},
    dsl::{
        kstream,
        ktable::{
            KTable, ValueGetter,
            materialize::Materialized as TableStoreSpec,
            source::{self, SourceTable},
        },
        materialized::{Materialized, MaterializedStore},
        table_joined::{KeyPartitioner, TableJoined},
    },
    error::{
        Result,
        SerdeOrigin::{Key, Value},
    },
    processing::PartitionerRef,
    record::Change,
    serdes::SerdeRef,
    store::{StoreFactory, StoreHandle, StoreKind, StoreRef, SubscriptionStore},
    topology::{
        Instantiation, MakeNode, Topology,
        physical::{self, Extractor, SinkSpec, SinkTopic, SourceSpec},
    },
};

/// All names of a join: each takes its number from the graph's counter, in this order.
struct Names {
    registration: String,
    send: String,
    sink: String,
    source: String,
    store: String,
    receive: String,
    join: String,
    foreign_join: String,
    response: String,
    response_sink: String,
    response_source: String,
    resolver: String,
    result: String,
}

impl Names {
    fn new(graph: &mut Graph, name: Option<&str>) -> Self {
        const REGISTRATION: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-";
        const PROCESSOR: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
        const RESPONSE: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-";
        const RESOLVER: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-";
        const STORE: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-";
        const SINK: &str = "KTABLE-SINK-";
        const SOURCE: &str = "KTABLE-SOURCE-";
        let mut of = |suffix, prefix| graph.name_with_suffix_or(name, suffix, prefix);
        Names {
            registration: of("-subscription-registration", REGISTRATION) + "-topic",
            send: of("-subscription-registration-processor", REGISTRATION),
            sink: of("-subscription-registration-sink", SINK),
            source: of("-subscription-registration-source", SOURCE),
            store: of("-subscription-store", STORE),
            receive: of("-subscription-receive", PROCESSOR),
            join: of("-subscription-join-foreign", PROCESSOR),
            foreign_join: of("-foreign-join-subscription", PROCESSOR),
            response: of("-subscription-response", RESPONSE) + "-topic",
            response_sink: of("-subscription-response-sink", SINK),
            response_source: of("-subscription-response-source", SOURCE),
            resolver: of("-subscription-response-resolver", RESOLVER),
            result: of("-result", OUTPUT),
        }
    }

    fn key_topic(&self) -> String {
        format!("{}-pk", self.registration)
    }

    fn foreign_key_topic(&self) -> String {
        format!("{}-fk", self.registration)
    }

    fn hash_topic(&self) -> String {
        format!("{}-vh", self.registration)
    }
}

const OUTPUT: &str = "KTABLE-FK-JOIN-OUTPUT-";

/// What the nodes of one join share.
struct Join<'a, K, V, KO, VO> {
    this: &'a KTable<K, V>,
    other: &'a KTable<KO, VO>,
    names: Names,
    store: StoreFactory,
    /// Serdes of the two topics' values.
    wrapper: Option<ErasedSerde>,
    response: Option<ErasedSerde>,
}

pub(super) fn join<K: Data, V: Data, KO: Data, VO: Data, R: Data>(
    this: &KTable<K, V>,
    other: &KTable<KO, VO>,
    functions: Functions<K, V, KO, VO, R>,
    joined: TableJoined<K, KO>,
    materialized: Option<Materialized<K, R>>,
) -> KTable<K, R> {
    other.enable_sending_old_values(true);
    this.enable_sending_old_values(true);
    let shared = this.graph.clone();
    let mut graph = shared.borrow_mut();
    let TableJoined { name, partitioner, other_partitioner } = joined;
    let join = Join::new(this, other, Names::new(&mut graph, name.as_deref()), &mut graph);
    let Names { sink, source, registration, response, response_sink, response_source, .. } = &join.names;
    let (key_serde, foreign_key_serde) = (&this.key_serde, &other.key_serde);

    let send = graph.add(&[this.node], join.send(&functions));
    let serdes = (foreign_key_serde.clone(), join.wrapper.clone());
    let by = other_partitioner.map(by_key);
    let sink = graph.add(&[send], sink_node::<Option<KO>, SubscriptionWrapper<K>>(sink, registration, &serdes, by));
    let node = source_node::<Option<KO>, SubscriptionWrapper<K>>(source, registration, &serdes);
    let source_id = graph.add(&[sink], node);
    graph.copartition(other.sources.iter().chain([source]).cloned());
    let receive = graph.add(&[source_id], join.receive());
    let subscription_join = graph.add(&[receive], join.subscription_join());
    let foreign_join = graph.add(&[other.node], join.foreign_join());

    let serdes = (key_serde.clone(), join.response.clone());
    let by = partitioner.map_or_else(to_where_it_was_asked, by_key);
    let node = sink_node::<K, SubscriptionResponseWrapper<VO>>(response_sink, response, &serdes, Some(by));
    let sink = graph.add(&[subscription_join, foreign_join], node);
    let node = source_node::<K, SubscriptionResponseWrapper<VO>>(response_source, response, &serdes);
    let source = graph.add(&[sink], node);
    let sources: std::collections::BTreeSet<_> = this.sources.iter().chain([response_source]).cloned().collect();
    graph.copartition(sources.clone());
    let resolver = graph.add(&[source], join.resolver(functions));

    let store = MaterializedStore::new(&mut graph, &materialized.unwrap_or_default(), OUTPUT);
    let store = store.or_serdes(key_serde.clone(), None);
    let (value_serde, queryable) = (store.value_serde.clone(), store.queryable.then(|| store.store.clone()));
    let table = TableStoreSpec::on_demand(&mut graph, store);
    let result = graph.add(&[resolver], result_node(&join.names.result, &table));
    KTable::new(&shared, result, &join.names.result, Rc::new(sources), Arc::new(SourceTable(table)))
        .with_serdes(key_serde.clone(), value_serde)
        .with_queryable(queryable)
}

impl<'a, K: Data, V: Data, KO: Data, VO: Data> Join<'a, K, V, KO, VO> {
    fn new(this: &'a KTable<K, V>, other: &'a KTable<KO, VO>, names: Names, graph: &mut Graph) -> Self {
        let key_serde = this.key_serde.as_ref().and_then(ErasedSerde::get::<K>).or_else(K::default_serde);
        let topic: Arc<str> = names.key_topic().into();
        let wrapper = key_serde.map(|key_serde| {
            let serde: SerdeRef<SubscriptionWrapper<K>> = Arc::new(SubscriptionWrapperSerde { key_serde, topic });
            ErasedSerde::new(serde)
        });
        let response = other.value_serde.as_ref().and_then(ErasedSerde::get::<VO>).map(|serde| {
            let serde: SerdeRef<SubscriptionResponseWrapper<VO>> = Arc::new(SubscriptionResponseWrapperSerde(serde));
            ErasedSerde::new(serde)
        });
        let name: Arc<str> = names.store.as_str().into();
        let store = StoreFactory {
            id: graph.store_id(&name),
            name: name.to_string(),
            kind: StoreKind::KeyValue,
            logging: true,
            log_config: Default::default(),
            caching: false,
            builder: Some(graph.new_builder()),
            make: Arc::new(move |init| SubscriptionStore::make(&name, init)),
        };
        Join { this, other, names, store, wrapper, response }
    }

    fn handle(&self) -> StoreHandle<SubscriptionStore> {
        StoreRef::new(self.store.id).handle()
    }

    fn send<R>(&self, functions: &Functions<K, V, KO, VO, R>) -> GraphNode {
        let (extractor, left) = (functions.extractor.clone(), functions.left);
        let (foreign_key, value) = (self.other.key_serde.clone(), self.this.value_serde.clone());
        let (foreign_key_topic, hash_topic) = (self.names.foreign_key_topic(), self.names.hash_topic());
        let versioned = Arc::new(AtomicBool::new(false));
        let told = versioned.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let node = SendNode {
                extractor: extractor.clone(),
                left,
                versioned: versioned.load(Ordering::Relaxed),
                foreign_key: Side::<KO>::new(making, foreign_key.as_ref(), &foreign_key_topic, Key)?,
                value: Side::<V>::new(making, value.as_ref(), &hash_topic, Value)?,
                children: making.children()?,
                buffers: Default::default(),
                id: making.node_id(),
            };
            making.place::<K, Change<V>>(node, false);
            Ok(())
        };
        let node =
            processor::<K, Change<V>, Option<KO>, SubscriptionWrapper<K>>(&self.names.send, Arc::new(make), |_, _| {
                Ok(())
            });
        GraphNode { versioned_semantics: Some(Rc::new(move |on, _| told.store(on, Ordering::Relaxed))), ..node }
    }

    fn receive(&self) -> GraphNode {
        let (store, wrapper) = (self.handle(), self.wrapper.clone());
        let (foreign_key, key) = (self.other.key_serde.clone(), self.this.key_serde.clone());
        let (foreign_key_topic, key_topic) = (self.names.foreign_key_topic(), self.names.key_topic());
        let make = move |making: &mut Instantiation<'_>| {
            let node = ReceiveNode {
                store,
                foreign_key: Side::<KO>::new(making, foreign_key.as_ref(), &foreign_key_topic, Key)?,
                primary_key: Side::<K>::new(making, key.as_ref(), &key_topic, Key)?,
                wrapper: making.serde(wrapper.as_ref(), false)?,
                children: making.children()?,
                buffers: Default::default(),
                id: making.node_id(),
            };
            making.place::<Option<KO>, SubscriptionWrapper<K>>(node, false);
            Ok(())
        };
        let factory = self.store.clone();
        processor::<Option<KO>, SubscriptionWrapper<K>, CombinedKey<KO, K>, Subscription>(
            &self.names.receive,
            Arc::new(make),
            move |topology, node| topology.add_state_store(factory.clone(), &[node]),
        )
    }

    fn subscription_join(&self) -> GraphNode {
        let getter = self.other.supplier.view();
        let of = getter.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let (getter, children, id) = (of.clone(), making.children()?, making.node_id());
            let node = SubscriptionJoinNode::<K, KO, VO> { getter, children, id };
            making.place::<CombinedKey<KO, K>, Subscription>(node, false);
            Ok(())
        };
        processor::<CombinedKey<KO, K>, Subscription, K, SubscriptionResponseWrapper<VO>>(
            &self.names.join,
            Arc::new(make),
            move |topology, node| connect(topology, node, &*getter),
        )
    }

    fn foreign_join(&self) -> GraphNode {
        let store = self.handle();
        let (foreign_key, key) = (self.other.key_serde.clone(), self.this.key_serde.clone());
        let (foreign_key_topic, key_topic) = (self.names.foreign_key_topic(), self.names.key_topic());
        let versioned = Arc::new(AtomicBool::new(false));
        let told = versioned.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let node = ForeignTableJoinNode::<K, KO, VO> {
                store,
                versioned: versioned.load(Ordering::Relaxed),
                foreign_key: Side::new(making, foreign_key.as_ref(), &foreign_key_topic, Key)?,
                primary_key: Side::new(making, key.as_ref(), &key_topic, Key)?,
                children: making.children()?,
                prefix: Vec::new(),
                id: making.node_id(),
            };
            making.place::<KO, Change<VO>>(node, false);
            Ok(())
        };
        let factory = self.store.clone();
        let node = processor::<KO, Change<VO>, K, SubscriptionResponseWrapper<VO>>(
            &self.names.foreign_join,
            Arc::new(make),
            move |topology, node| topology.add_state_store(factory.clone(), &[node]),
        );
        GraphNode { versioned_semantics: Some(Rc::new(move |on, _| told.store(on, Ordering::Relaxed))), ..node }
    }

    fn resolver<R: Data>(&self, functions: Functions<K, V, KO, VO, R>) -> GraphNode {
        let Functions { joiner, left, .. } = functions;
        let (value, hash_topic) = (self.this.value_serde.clone(), self.names.hash_topic());
        let getter = self.this.supplier.view();
        let of = getter.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let node = ResponseJoinNode::<K, V, VO, R> {
                getter: of.clone(),
                value: Side::new(making, value.as_ref(), &hash_topic, Value)?,
                joiner: joiner.clone(),
                left,
                children: making.children()?,
                buffer: Vec::new(),
                id: making.node_id(),
            };
            making.place::<K, SubscriptionResponseWrapper<VO>>(node, false);
            Ok(())
        };
        processor::<K, SubscriptionResponseWrapper<VO>, K, Option<R>>(
            &self.names.resolver,
            Arc::new(make),
            move |topology, node| connect(topology, node, &*getter),
        )
    }
}

fn result_node<K: Data, R: Data>(name: &str, table: &TableStoreSpec<K, R>) -> GraphNode {
    let (of, node_name) = (table.clone(), Arc::<str>::from(name));
    let write = move |written: &Written<'_>, topology: &mut Topology| {
        topology.add_node(source::node::<K, Option<R>>(&node_name, written.parents.clone(), &of))?;
        of.add_store(topology, &node_name)
    };
    GraphNode { output_versioned: Some(table.is_versioned()), ..GraphNode::new(name, Rc::new(write)) }
}

/// A processor, and what connects it with its stores.
fn processor<K: 'static, V: 'static, KOut: 'static, VOut: 'static>(
    name: &str,
    make: MakeNode,
    connect: impl Fn(&mut Topology, &str) -> Result<()> + 'static,
) -> GraphNode {
    let node_name = Arc::<str>::from(name);
    let write = move |written: &Written<'_>, topology: &mut Topology| {
        topology.add_node(kstream::factory::<K, V, KOut, VOut>(&node_name, written.parents.clone(), make.clone()))?;
        connect(topology, &node_name)
    };
    GraphNode::new(name, Rc::new(write))
}

fn connect<K, V>(topology: &mut Topology, node: &str, getter: &dyn ValueGetter<K, V>) -> Result<()> {
    let mut ids = Vec::new();
    getter.stores(&mut ids);
    ids.into_iter().try_for_each(|id| topology.connect(node, id))
}

/// Serdes of a topic's keys and values.
type TopicSerdes = (Option<ErasedSerde>, Option<ErasedSerde>);

fn sink_node<K: Nullable, V: Nullable>(
    name: &str,
    topic: &str,
    serdes: &TopicSerdes,
    partitioner: Option<PartitionerRef<K::Some, V::Some>>,
) -> GraphNode {
    let (node_name, topic, (key_serde, value_serde)) = (name.to_owned(), topic.to_owned(), serdes.clone());
    let write = move |written: &Written<'_>, topology: &mut Topology| {
        topology.add_internal_topic(topic.clone(), None);
        let spec = SinkSpec::<K, V> {
            name: node_name.clone(),
            topic: SinkTopic::Static(topic.clone()),
            key_serde: key_serde.clone(),
            value_serde: value_serde.clone(),
            partitioner: partitioner.clone(),
            by_own_key: true,
        };
        topology.add_node(physical::sink::<K, V>(spec, written.parents.clone()))
    };
    GraphNode::new(name, Rc::new(write))
}

fn source_node<K: Nullable, V: Nullable>(name: &str, topic: &str, serdes: &TopicSerdes) -> GraphNode {
    let (node_name, topic, (key_serde, value_serde)) = (name.to_owned(), topic.to_owned(), serdes.clone());
    let write = move |_: &Written<'_>, topology: &mut Topology| {
        topology.add_source(physical::source::<K, V>(SourceSpec {
            name: node_name.clone(),
            topics: vec![topic.clone()],
            pattern: None,
            reset: None,
            key_serde: key_serde.clone(),
            value_serde: value_serde.clone(),
            extractor: Extractor::Default,
        }))
    };
    GraphNode::new(name, Rc::new(write))
}

fn by_key<K: 'static, V: 'static>(partitioner: KeyPartitioner<K>) -> PartitionerRef<K, V> {
    Arc::new(move |topic: &str, key: Option<&K>, _: Option<&V>, count: i32| {
        partitioner(topic, key, count).map(|partition| vec![partition])
    })
}

/// The partition that the subscription came from; that of the key's hash for subscriptions that do not tell.
fn to_where_it_was_asked<K: 'static, VO: 'static>() -> PartitionerRef<K, SubscriptionResponseWrapper<VO>> {
    Arc::new(|_: &str, _: Option<&K>, response: Option<&SubscriptionResponseWrapper<VO>>, _: i32| {
        response.and_then(|response| response.primary_partition).map(|partition| vec![partition])
    })
}
