//! What a store with a typed engine is made from: who makes the engine, serdes, the form of its changelog.

use std::{marker::PhantomData, sync::Arc};

use super::{
    StoreInit,
    changelog::{Changelog, Format},
    key_value::ValueAndTimestampSerde,
    with_headers::{AggregationWithHeadersSerde, ValueTimestampHeadersSerde},
};
use crate::{
    data::{Data, ErasedSerde, Flow},
    error::Result,
    record::{AggregationWithHeaders, ValueAndTimestamp, ValueTimestampHeaders},
    serdes::SerdeRef,
    state::StoreSupplier,
};

/// Who makes a store's engine, and under which name.
pub(crate) struct Supply<S> {
    pub(super) name: String,
    pub(super) supplier: Arc<dyn Fn(&StoreInit<'_>) -> S + Send + Sync>,
    /// Whether `dsl.store.format` decides about headers.
    of_dsl: bool,
}

impl<S: StoreSupplier> Supply<S> {
    /// A supplier of the application's.
    pub(crate) fn by(supplier: S) -> Self {
        let name = supplier.store_name().to_owned();
        Supply { name, supplier: Arc::new(move |_| supplier.clone()), of_dsl: false }
    }

    /// A supplier of the application's, or else what the DSL makes.
    pub(crate) fn or_dsl(
        name: String,
        supplied: Option<S>,
        of_dsl: impl Fn(&StoreInit<'_>) -> S + Send + Sync + 'static,
    ) -> Self {
        match supplied {
            Some(supplier) => Supply { name, ..Self::by(supplier) },
            None => Supply { name, supplier: Arc::new(of_dsl), of_dsl: true },
        }
    }
}

/// The serdes that were chosen for keys and values.
pub(crate) type ChosenSerdes = (Option<ErasedSerde>, Option<ErasedSerde>);

type ValueSerde<V> = Arc<dyn Fn(&StoreInit<'_>) -> Option<SerdeRef<V>> + Send + Sync>;

/// What a store is made from; `S` makes the engine.
pub(crate) struct StoreSpec<S, K, V> {
    pub(super) supply: Supply<S>,
    key_serde: Option<ErasedSerde>,
    value_serde: ValueSerde<V>,
    pub(super) format: Format,
    types: PhantomData<fn() -> K>,
}

impl<S, K: Data, V: Flow> StoreSpec<S, K, V> {
    /// A store of values that `wrap` makes of those that have the serde; it is told whether `dsl.store.format` is that of
    /// headers.
    pub(super) fn wrapped<T: Data>(
        supply: Supply<S>,
        (key_serde, value): ChosenSerdes,
        format: Format,
        wrap: impl Fn(SerdeRef<T>, bool) -> SerdeRef<V> + Send + Sync + 'static,
    ) -> Self {
        let of_dsl = supply.of_dsl;
        let value_serde: ValueSerde<V> = Arc::new(move |init| {
            let headers_format = of_dsl && init.config.fields().headers_format;
            Some(wrap(init.resolve(value.as_ref(), false)?, headers_format))
        });
        StoreSpec { supply, key_serde, value_serde, format, types: PhantomData }
    }

    /// The name, as stores have it.
    pub(super) fn name(&self) -> Arc<str> {
        Arc::from(self.supply.name.as_str())
    }

    pub(super) fn serdes(&self, init: &StoreInit<'_>) -> Result<(SerdeRef<K>, SerdeRef<V>)> {
        let name = &self.supply.name;
        let value_serde = (self.value_serde)(init);
        Ok((init.serde(name, self.key_serde.as_ref(), true)?, value_serde.ok_or_else(|| init.missing::<V>(name))?))
    }

    pub(super) fn changelog(&self, init: &StoreInit<'_>) -> Changelog {
        let headers_format = self.supply.of_dsl && init.config.fields().headers_format;
        Changelog { partition: init.changelog.clone(), format: self.format, headers_format }
    }
}

impl<S, K: Data, V: Data> StoreSpec<S, K, V> {
    /// A store of plain values.
    pub(crate) fn plain(supply: Supply<S>, serdes: ChosenSerdes) -> Self {
        Self::wrapped(supply, serdes, Format::Plain, |serde, _| serde)
    }
}

impl<S, K: Data, V: Data> StoreSpec<S, K, ValueAndTimestamp<V>> {
    /// A store of values with their timestamps.
    pub(crate) fn timestamped(supply: Supply<S>, serdes: ChosenSerdes) -> Self {
        Self::wrapped(supply, serdes, Format::Timestamped, |serde, _| Arc::new(ValueAndTimestampSerde::<V>(serde)))
    }
}

impl<S, K: Data, V: Data> StoreSpec<S, K, ValueTimestampHeaders<V>> {
    /// A store of values with their timestamps and headers.
    pub(crate) fn with_headers(supply: Supply<S>, serdes: ChosenSerdes) -> Self {
        let format = Format::TimestampedWithHeaders;
        Self::wrapped(supply, serdes, format, |serde, _| Arc::new(ValueTimestampHeadersSerde::<V>(serde)))
    }
}

impl<S, K: Data, V: Data> StoreSpec<S, K, AggregationWithHeaders<V>> {
    /// A store of aggregates with their headers.
    pub(crate) fn with_headers_of_sessions(supply: Supply<S>, serdes: ChosenSerdes) -> Self {
        Self::wrapped(supply, serdes, Format::WithHeaders, |serde, _| Arc::new(AggregationWithHeadersSerde::<V>(serde)))
    }
}
