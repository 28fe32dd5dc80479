//! The option objects of the operators, under Kafka's names; [`Materialized`](crate::Materialized) and others have files of their own.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    data::ErasedSerde,
    processing::{ExtractorRef, PartitionerRef, StreamPartitioner, TimestampExtractor},
    serdes::Serde,
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

/// Makes an option object: serdes, for joins (`V2`) for the values of both sides, a name for something, and what is its own,
/// with defaults.
macro_rules! options {
    (
        $(#[$doc:meta])*
        $type:ident<$($of:ident),*>, $(new as $new:ident,)? name of $named:literal { $($field:ident: $holds:ty = $default:expr,)* }
    ) => {
        $(#[$doc])*
        pub struct $type<$($of),*> {
            serdes: Serdes<$($of),*>,
            pub(crate) name: Option<String>,
            $(pub(crate) $field: $holds,)*
        }
        impl<$($of),*> Clone for $type<$($of),*> {
            fn clone(&self) -> Self {
                $type {
                    serdes: self.serdes.clone(),
                    name: self.name.clone(),
                    $($field: Clone::clone(&self.$field),)*
                }
            }
        }
        impl<$($of),*> Default for $type<$($of),*> {
            fn default() -> Self {
                $type { serdes: Serdes::default(), name: None, $($field: $default,)* }
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
            $(
                #[doc = concat!("With a name for ", $named, ".")]
                #[must_use]
                pub fn $new(name: impl Into<String>) -> Self {
                    Self::default().with_name(name)
                }
            )?
            #[doc = concat!("A name for ", $named, ".")]
            #[must_use]
            pub fn with_name(mut self, name: impl Into<String>) -> Self {
                self.name = Some(name.into());
                self
            }
            /// A serde for keys.
            #[must_use]
            pub fn with_key_serde(mut self, serde: impl Serde<K>) -> Self {
                self.serdes.key = Some(ErasedSerde::of(serde));
                self
            }
            /// A serde for values.
            #[must_use]
            pub fn with_value_serde(mut self, serde: impl Serde<V>) -> Self {
                self.serdes.value = Some(ErasedSerde::of(serde));
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
        options!(@with $type<$($of),*>);
    };
    (@with $type:ident<K, V>) => {
        impl<K: 'static, V: 'static> $type<K, V> {
            /// Serdes for keys and values.
            #[must_use]
            pub fn with(key: impl Serde<K>, value: impl Serde<V>) -> Self {
                Self::default().with_key_serde(key).with_value_serde(value)
            }
        }
    };
    (@with $type:ident<K, V, V2>) => {
        impl<K: 'static, V: 'static, V2: 'static> $type<K, V, V2> {
            /// Serdes for keys and for the values of both sides.
            #[must_use]
            pub fn with(key: impl Serde<K>, value: impl Serde<V>, other: impl Serde<V2>) -> Self {
                Self::default().with_key_serde(key).with_value_serde(value).with_other_value_serde(other)
            }
            /// A serde for the other side's values.
            #[must_use]
            pub fn with_other_value_serde(mut self, serde: impl Serde<V2>) -> Self {
                self.serdes.other_value = Some(ErasedSerde::of(serde));
                self
            }
        }
    };
}
pub(crate) use options;

options! {
    /// How a source reads its topics: serdes, timestamps, where it begins, its name.
    ///
    /// `K` and `V` are the plain types; nulls need no serde.
    Consumed<K, V>, new as named, name of "the source" {
        extractor: Option<ExtractorRef<K, V>> = None,
        reset: Option<AutoOffsetReset> = None,
    }
}
impl<K: 'static, V: 'static> Consumed<K, V> {
    /// Where timestamps come from. Default: `default.timestamp.extractor`.
    #[must_use]
    pub fn with_timestamp_extractor(mut self, extractor: impl TimestampExtractor<K, V> + 'static) -> Self {
        self.extractor = Some(Arc::new(extractor));
        self
    }
    /// Where to begin without a committed offset, or with one that the topic does not have. Default: the consumer's
    /// `auto.offset.reset`. With [`AutoOffsetReset::None`] the thread fails there, with an error that names the topic.
    #[must_use]
    pub fn with_offset_reset_policy(mut self, reset: AutoOffsetReset) -> Self {
        self.reset = Some(reset);
        self
    }
}

options! {
    /// How a sink writes: serdes, partitioner, its name.
    Produced<K, V>, new as named, name of "the sink" {
        partitioner: Option<PartitionerRef<K, V>> = None,
    }
}
impl<K: 'static, V: 'static> Produced<K, V> {
    /// Who chooses partitions. Default: the hash of the key's bytes.
    #[must_use]
    pub fn with_stream_partitioner(mut self, partitioner: impl StreamPartitioner<K, V> + 'static) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
}

options! {
    /// How a repartition topic is made: name, number of partitions, serdes, partitioner.
    Repartitioned<K, V>, new as named, name of "the topic, `APPLICATION-NAME-repartition`" {
        partitioner: Option<PartitionerRef<K, V>> = None,
        partitions: Option<i32> = None,
    }
}
impl<K: 'static, V: 'static> Repartitioned<K, V> {
    /// The number of partitions, at least 1. Default: the most of any topic upstream.
    #[must_use]
    pub fn with_number_of_partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }
    /// Who chooses partitions. Default: the hash of the key's bytes.
    #[must_use]
    pub fn with_stream_partitioner(mut self, partitioner: impl StreamPartitioner<K, V> + 'static) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
}

options! {
    /// How a grouping repartitions, if it must: a name for the topic, serdes. Its serdes hide those from upstream, as
    /// Kafka's do.
    Grouped<K, V>, new as named, name of "the repartition topic" {}
}
impl<K: 'static, V: 'static> Grouped<K, V> {
    pub(crate) fn from_erased(key: Option<ErasedSerde>, value: Option<ErasedSerde>) -> Self {
        Grouped { serdes: Serdes { key, value, ..Serdes::default() }, name: None }
    }
}

options! {
    /// How a stream is joined with a table: a name, serdes for repartitioning, a grace period.
    Joined<K, V, V2>, new as named, name of "the operator, and for the repartition topic if there is one" {
        grace: Option<Duration> = None,
    }
}
impl<K: 'static, V: 'static, V2: 'static> Joined<K, V, V2> {
    /// How long a record waits for the table's rows of its time; the table must be versioned (KIP-923).
    #[must_use]
    pub fn with_grace_period(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}
