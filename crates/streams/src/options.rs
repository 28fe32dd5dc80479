//! The option objects of the operators, under Kafka's names; [`Materialized`](crate::Materialized) and others have files of their own.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    data::ErasedSerde,
    processing::{ExtractorRef, PartitionerRef, StreamPartitioner, TimestampExtractor},
    serdes::{Serde, SerdeRef},
};

/// Where a source without a committed offset starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// Nowhere: a missing offset is an error.
    None,
    /// At the first record that is not older than this.
    ByDuration(Duration),
}

type Types<K, V, V2> = PhantomData<fn() -> (K, V, V2)>;

/// Optional serdes for keys and values, and for those of another side.
pub(crate) struct Serdes<K, V, V2 = ()> {
    pub(crate) key: Option<ErasedSerde>,
    pub(crate) value: Option<ErasedSerde>,
    pub(crate) other_value: Option<ErasedSerde>,
    types: Types<K, V, V2>,
}

impl<K, V, V2> Clone for Serdes<K, V, V2> {
    fn clone(&self) -> Self {
        Serdes {
            key: self.key.clone(),
            value: self.value.clone(),
            other_value: self.other_value.clone(),
            types: PhantomData,
        }
    }
}
impl<K, V, V2> Default for Serdes<K, V, V2> {
    fn default() -> Self {
        Serdes { key: None, value: None, other_value: None, types: PhantomData }
    }
}

pub(crate) fn erase<T: 'static>(serde: impl Serde<T>) -> ErasedSerde {
    ErasedSerde::new(Arc::new(serde) as SerdeRef<T>)
}

/// What every option object with serdes has; those of joins (`other`) have serdes for the values of both sides.
macro_rules! options {
    ($type:ident) => {
        options!(@common $type<K, V>);
        impl<K: 'static, V: 'static> $type<K, V> {
            /// Serdes for keys and values.
            #[must_use]
            pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
                Self::default().with_key_serde(key).with_value_serde(value)
            }
        }
    };
    ($type:ident, other) => {
        options!(@common $type<K, V, V2>);
        impl<K: 'static, V: 'static, V2: 'static> $type<K, V, V2> {
            /// Serdes for keys and for the values of both sides.
            #[must_use]
            pub fn with(key: impl Serde<K>, value: impl Serde<V>, other: impl Serde<V2>) -> Self {
                Self::default().with_key_serde(key).with_value_serde(value).with_other_value_serde(other)
            }
            /// A serde for the other side's values.
            #[must_use]
            pub fn with_other_value_serde(mut self, serde: impl Serde<V2>) -> Self {
                self.serdes.other_value = Some(erase(serde));
                self
            }
        }
    };
    (@common $type:ident<$($of:ident),*>) => {
        impl<$($of),*> Clone for $type<$($of),*> {
            fn clone(&self) -> Self {
                $type { serdes: self.serdes.clone(), rest: self.rest.clone() }
            }
        }
        impl<$($of),*> Default for $type<$($of),*> {
            fn default() -> Self {
                $type { serdes: Serdes::default(), rest: Default::default() }
            }
        }
        impl<$($of),*> fmt::Debug for $type<$($of),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let (key, value) = (&self.serdes.key, &self.serdes.value);
                f.debug_struct(stringify!($type)).field("key", key).field("value", value).finish_non_exhaustive()
            }
        }
        impl<$($of: 'static),*> $type<$($of),*> {
            /// Nothing chosen: everything is inherited or by default.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
            /// A serde for keys.
            #[must_use]
            pub fn with_key_serde(mut self, serde: impl Serde<K>) -> Self {
                self.serdes.key = Some(erase(serde));
                self
            }
            /// A serde for values.
            #[must_use]
            pub fn with_value_serde(mut self, serde: impl Serde<V>) -> Self {
                self.serdes.value = Some(erase(serde));
                self
            }
            #[allow(dead_code, reason = "not every option object is asked for both")]
            pub(crate) fn key_serde(&self) -> Option<ErasedSerde> {
                self.serdes.key.clone()
            }
            #[allow(dead_code, reason = "not every option object is asked for both")]
            pub(crate) fn value_serde(&self) -> Option<ErasedSerde> {
                self.serdes.value.clone()
            }
        }
    };
}
pub(crate) use options;

/// How a source reads its topics: serdes, timestamps, where it begins, its name.
///
/// `K` and `V` are the plain types; nulls need no serde.
pub struct Consumed<K, V> {
    serdes: Serdes<K, V>,
    rest: ConsumedRest<K, V>,
}
pub(crate) struct ConsumedRest<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) extractor: Option<ExtractorRef<K, V>>,
    pub(crate) reset: Option<AutoOffsetReset>,
}
impl<K, V> Clone for ConsumedRest<K, V> {
    fn clone(&self) -> Self {
        ConsumedRest { name: self.name.clone(), extractor: self.extractor.clone(), reset: self.reset }
    }
}
impl<K, V> Default for ConsumedRest<K, V> {
    fn default() -> Self {
        ConsumedRest { name: None, extractor: None, reset: None }
    }
}
options!(Consumed);
impl<K: 'static, V: 'static> Consumed<K, V> {
    /// With a name for the source.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// The source's name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest.name = Some(name.into());
        self
    }
    /// Where timestamps come from. Default: `default.timestamp.extractor`.
    #[must_use]
    pub fn with_timestamp_extractor(mut self, extractor: impl TimestampExtractor<K, V> + 'static) -> Self {
        self.rest.extractor = Some(Arc::new(extractor));
        self
    }
    /// Where to begin without a committed offset, or with one that the topic does not have. Default: the consumer's
    /// `auto.offset.reset`. With [`AutoOffsetReset::None`] the thread fails there, with an error that names the topic.
    #[must_use]
    pub fn with_offset_reset_policy(mut self, reset: AutoOffsetReset) -> Self {
        self.rest.reset = Some(reset);
        self
    }
    pub(crate) fn rest(&self) -> &ConsumedRest<K, V> {
        &self.rest
    }
}

/// How a sink writes: serdes, partitioner, its name.
pub struct Produced<K, V> {
    serdes: Serdes<K, V>,
    rest: ProducedRest<K, V>,
}
pub(crate) struct ProducedRest<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) partitioner: Option<PartitionerRef<K, V>>,
}
impl<K, V> Clone for ProducedRest<K, V> {
    fn clone(&self) -> Self {
        ProducedRest { name: self.name.clone(), partitioner: self.partitioner.clone() }
    }
}
impl<K, V> Default for ProducedRest<K, V> {
    fn default() -> Self {
        ProducedRest { name: None, partitioner: None }
    }
}
options!(Produced);
impl<K: 'static, V: 'static> Produced<K, V> {
    /// With a name for the sink.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// The sink's name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest.name = Some(name.into());
        self
    }
    /// Who chooses partitions. Default: the hash of the key's bytes.
    #[must_use]
    pub fn with_stream_partitioner(mut self, partitioner: impl StreamPartitioner<K, V> + 'static) -> Self {
        self.rest.partitioner = Some(Arc::new(partitioner));
        self
    }
    pub(crate) fn rest(&self) -> &ProducedRest<K, V> {
        &self.rest
    }
}

/// How a repartition topic is made: name, number of partitions, serdes, partitioner.
pub struct Repartitioned<K, V> {
    serdes: Serdes<K, V>,
    rest: RepartitionedRest<K, V>,
}
pub(crate) struct RepartitionedRest<K, V> {
    pub(crate) name: Option<String>,
    pub(crate) partitioner: Option<PartitionerRef<K, V>>,
    pub(crate) partitions: Option<i32>,
}
impl<K, V> Clone for RepartitionedRest<K, V> {
    fn clone(&self) -> Self {
        let (name, partitioner) = (self.name.clone(), self.partitioner.clone());
        RepartitionedRest { name, partitioner, partitions: self.partitions }
    }
}
impl<K, V> Default for RepartitionedRest<K, V> {
    fn default() -> Self {
        RepartitionedRest { name: None, partitioner: None, partitions: None }
    }
}
options!(Repartitioned);
impl<K: 'static, V: 'static> Repartitioned<K, V> {
    /// With a name for the topic, `APPLICATION-NAME-repartition`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// A name for the topic, `APPLICATION-NAME-repartition`.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest.name = Some(name.into());
        self
    }
    /// The number of partitions, at least 1. Default: the most of any topic upstream.
    #[must_use]
    pub fn with_number_of_partitions(mut self, partitions: i32) -> Self {
        self.rest.partitions = Some(partitions);
        self
    }
    /// Who chooses partitions. Default: the hash of the key's bytes.
    #[must_use]
    pub fn with_stream_partitioner(mut self, partitioner: impl StreamPartitioner<K, V> + 'static) -> Self {
        self.rest.partitioner = Some(Arc::new(partitioner));
        self
    }
    pub(crate) fn rest(&self) -> &RepartitionedRest<K, V> {
        &self.rest
    }
}

/// How a grouping repartitions, if it must: a name for the topic, serdes.
pub struct Grouped<K, V> {
    serdes: Serdes<K, V>,
    rest: Option<String>,
}
options!(Grouped);
impl<K: 'static, V: 'static> Grouped<K, V> {
    /// With a name for the repartition topic. Its serdes hide those from upstream, as Kafka's do.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// A name for the repartition topic.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest = Some(name.into());
        self
    }
    pub(crate) fn from_erased(key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        Grouped { serdes: Serdes { key, value, ..Serdes::default() }, rest: None }
    }
    pub(crate) fn name(&self) -> Option<&str> {
        self.rest.as_deref()
    }
}

/// How a stream is joined with a table: a name, serdes for repartitioning, a grace period.
pub struct Joined<K, V, V2> {
    serdes: Serdes<K, V, V2>,
    rest: JoinedRest,
}
#[derive(Clone, Default)]
struct JoinedRest {
    name: Option<String>,
    grace: Option<Duration>,
}
options!(Joined, other);
impl<K: 'static, V: 'static, V2: 'static> Joined<K, V, V2> {
    /// With a name for the operator, and for the repartition topic if there is one.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::default().with_name(name)
    }
    /// A name for the operator, and for the repartition topic if there is one.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.rest.name = Some(name.into());
        self
    }
    /// How long a record waits for the table's rows of its time; the table must be versioned (KIP-923).
    #[must_use]
    pub fn with_grace_period(mut self, grace: Duration) -> Self {
        self.rest.grace = Some(grace);
        self
    }
    pub(crate) fn name(&self) -> Option<&str> {
        self.rest.name.as_deref()
    }
    pub(crate) fn grace(&self) -> Option<Duration> {
        self.rest.grace
    }
}
