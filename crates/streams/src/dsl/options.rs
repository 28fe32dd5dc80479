//! What the longer forms of an operator take first.

use super::{
    Branched, Materialized, StreamJoined, TableJoined,
    materialized::{KeyValueStores, StoreFamily},
};
use crate::{
    options::{Consumed, Grouped, Joined, Produced, Repartitioned},
    store::StoreSet,
};

/// The name of an operator's node: Kafka's `Named`.
///
/// Stores and internal topics that the operator makes without a name of their own take part of theirs from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(String);

impl Named {
    /// A name. It must be one that a topic could have.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Named(name.into())
    }
    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

/// An option object.
#[doc(hidden)]
pub trait OptionObject {}
impl OptionObject for Named {}
impl<K, V> OptionObject for Consumed<K, V> {}
impl<K, V> OptionObject for Produced<K, V> {}
impl<K, V> OptionObject for Repartitioned<K, V> {}
impl<K, V> OptionObject for Grouped<K, V> {}
impl<K, V, V2> OptionObject for Joined<K, V, V2> {}
impl<K, V, V2> OptionObject for StreamJoined<K, V, V2> {}
impl<K, V> OptionObject for Branched<K, V> {}

/// What an operator with one option object takes: a `T`, or `()`, which chooses nothing. A `T` that is there or not may
/// be an `Option`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an option of this operator",
    label = "not `{T}`",
    note = "options come first: a `{T}`, or `()` where nothing is chosen"
)]
pub trait Options<T> {
    /// What was chosen.
    #[doc(hidden)]
    fn chosen(self) -> Option<T>;
}
impl<T: OptionObject> Options<T> for T {
    fn chosen(self) -> Option<T> {
        Some(self)
    }
}
impl<T: OptionObject> Options<T> for Option<T> {
    fn chosen(self) -> Option<T> {
        self
    }
}
impl<T: OptionObject> Options<T> for () {
    fn chosen(self) -> Option<T> {
        None
    }
}

/// The name that was given, if one was.
pub(crate) fn name_of(options: impl Options<Named>) -> Option<String> {
    options.chosen().map(Named::into_inner)
}

/// What an operator that makes a table takes: an `N` ([`Named`], for most), a [`Materialized`], both as `(N, Materialized)`,
/// or `()`, which chooses nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an option of this operator",
    label = "neither `{N}` nor `Materialized<{K}, {V}, {S}>`",
    note = "options come first: a `{N}`, a `Materialized<{K}, {V}, {S}>`, both as a tuple, or `()` where nothing is chosen"
)]
pub trait TableOptions<K, V, S: StoreFamily = KeyValueStores, N = Named> {
    /// What was chosen.
    #[doc(hidden)]
    fn chosen(self) -> (Option<N>, Option<Materialized<K, V, S>>);
}
impl<K, V, S: StoreFamily> TableOptions<K, V, S, Named> for Named {
    fn chosen(self) -> (Option<Named>, Option<Materialized<K, V, S>>) {
        (Some(self), None)
    }
}
impl<K, V, S: StoreFamily> TableOptions<K, V, S, Consumed<K, V>> for Consumed<K, V> {
    fn chosen(self) -> (Option<Consumed<K, V>>, Option<Materialized<K, V, S>>) {
        (Some(self), None)
    }
}
impl<K, V, S: StoreFamily, KO> TableOptions<K, V, S, TableJoined<K, KO>> for TableJoined<K, KO> {
    fn chosen(self) -> (Option<TableJoined<K, KO>>, Option<Materialized<K, V, S>>) {
        (Some(self), None)
    }
}
impl<K, V, S: StoreFamily, N> TableOptions<K, V, S, N> for Materialized<K, V, S> {
    fn chosen(self) -> (Option<N>, Option<Materialized<K, V, S>>) {
        (None, Some(self))
    }
}
impl<K, V, S: StoreFamily, N> TableOptions<K, V, S, N> for (N, Materialized<K, V, S>) {
    fn chosen(self) -> (Option<N>, Option<Materialized<K, V, S>>) {
        (Some(self.0), Some(self.1))
    }
}
impl<K, V, S: StoreFamily, N> TableOptions<K, V, S, N> for (Option<N>, Option<Materialized<K, V, S>>) {
    fn chosen(self) -> (Option<N>, Option<Materialized<K, V, S>>) {
        self
    }
}
impl<K, V, S: StoreFamily, N> TableOptions<K, V, S, N> for () {
    fn chosen(self) -> (Option<N>, Option<Materialized<K, V, S>>) {
        (None, None)
    }
}

/// The name and the store that were given, if they were.
pub(crate) fn named_table<K, V, S: StoreFamily>(
    options: impl TableOptions<K, V, S>,
) -> (Option<String>, Option<Materialized<K, V, S>>) {
    let (named, materialized) = options.chosen();
    (named.map(Named::into_inner), materialized)
}

/// What an operator of application code takes: stores to be connected with (one, or a tuple), a [`Named`], or both as
/// `(Named, stores)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an option of this operator",
    label = "neither stores nor a `Named`",
    note = "options come first: a store that `add_state_store` gave, a tuple of them, a `Named`, or `(Named, stores)`"
)]
pub trait ProcessorOptions {
    /// The stores.
    type Stores: StoreSet;
    /// What was chosen.
    #[doc(hidden)]
    fn chosen(self) -> (Option<Named>, Self::Stores);
}
impl<S: StoreSet> ProcessorOptions for S {
    type Stores = S;
    fn chosen(self) -> (Option<Named>, S) {
        (None, self)
    }
}
impl ProcessorOptions for Named {
    type Stores = ();
    fn chosen(self) -> (Option<Named>, ()) {
        (Some(self), ())
    }
}
impl<S: StoreSet> ProcessorOptions for (Named, S) {
    type Stores = S;
    fn chosen(self) -> (Option<Named>, S) {
        (Some(self.0), self.1)
    }
}

/// What `transform_values` takes: what other application code does ([`ProcessorOptions`]), a [`Materialized`], or both,
/// the `Materialized` last.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an option of this operator",
    label = "neither stores, nor a `Named`, nor a `Materialized<{K}, {V}>`",
    note = "options come first: stores, a `Named`, a `Materialized`, or several as a tuple in the order `(Named, stores, Materialized)`"
)]
pub trait TransformOptions<K, V> {
    /// The stores.
    type Stores: StoreSet;
    /// What was chosen.
    #[doc(hidden)]
    fn chosen(self) -> (Option<Named>, Self::Stores, Option<Materialized<K, V>>);
}
impl<K, V, P: ProcessorOptions> TransformOptions<K, V> for P {
    type Stores = P::Stores;
    fn chosen(self) -> (Option<Named>, P::Stores, Option<Materialized<K, V>>) {
        let (named, stores) = self.chosen();
        (named, stores, None)
    }
}
impl<K, V> TransformOptions<K, V> for Materialized<K, V> {
    type Stores = ();
    fn chosen(self) -> (Option<Named>, (), Option<Materialized<K, V>>) {
        (None, (), Some(self))
    }
}
impl<K, V, P: ProcessorOptions> TransformOptions<K, V> for (P, Materialized<K, V>) {
    type Stores = P::Stores;
    fn chosen(self) -> (Option<Named>, P::Stores, Option<Materialized<K, V>>) {
        let (named, stores) = self.0.chosen();
        (named, stores, Some(self.1))
    }
}
impl<K, V, S: StoreSet> TransformOptions<K, V> for (Named, S, Materialized<K, V>) {
    type Stores = S;
    fn chosen(self) -> (Option<Named>, S, Option<Materialized<K, V>>) {
        (Some(self.0), self.1, Some(self.2))
    }
}
