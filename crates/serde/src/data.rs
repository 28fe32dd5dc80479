//! What may be a key or a value: plain data, and `Option` of it where null may occur.

use std::{any::Any, sync::Arc};

use crate::{Serde, SerdeRef};

/// What every key and value needs to flow: `Clone` because a node may have several children.
pub trait Flow: Clone + Send + 'static {}
impl<T: Clone + Send + 'static> Flow for T {}

/// A type that knows its bytes; one line makes a type of yours one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no default serde",
    label = "its bytes are needed here",
    note = "implement `DefaultSerde` for `{Self}`, wrap it as `Json<{Self}>`, or name a serde with the `_with` form of this method",
    note = "the key of a windowed table is `Windowed`: name its serde (`TimeWindowedSerde`, `SessionWindowedSerde`), or `map` it to a key of your own first"
)]
pub trait DefaultSerde: Flow {
    /// The serde of this type.
    type Serde: Serde<Self> + Default;
}

/// A plain (never null) type. Implied by [`DefaultSerde`]; `impl Data for T {}` for a type without bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known as stream data",
    note = "implement `DefaultSerde` for `{Self}` (it can be read and written), or `impl Data for {Self} {{}}` (it stays in memory)"
)]
pub trait Data: Flow {
    /// The default serde where there is one: what `build()` asks when bytes turn out to be needed.
    fn default_serde() -> Option<SerdeRef<Self>> {
        None
    }
}
impl<T: DefaultSerde> Data for T {
    fn default_serde() -> Option<SerdeRef<Self>> {
        Some(Arc::new(T::Serde::default()))
    }
}
impl<A: Flow, B: Flow> Data for (A, B) {}

/// `T` or `Option<T>`: what may stand as key or value of a stream where nulls matter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key or a value here",
    note = "implement `DefaultSerde` for `{Self}` (it can be read and written), or `impl Data for {Self} {{}}` (it stays in memory)"
)]
pub trait Nullable: Flow {
    /// The type without its null.
    type Some: Data;
    /// The value, or `None` if it is null.
    fn into_some(self) -> Option<Self::Some>;
    /// A look at the value, or `None` if it is null.
    fn as_some(&self) -> Option<&Self::Some>;
    /// Back from [`into_some`](Nullable::into_some); `None` where this type has no null: the record is dropped.
    fn from_option(value: Option<Self::Some>) -> Option<Self>;
    /// The value with no null in it.
    fn from_some(value: Self::Some) -> Self;
}
impl<T: Data> Nullable for T {
    type Some = T;
    #[inline]
    fn into_some(self) -> Option<T> {
        Some(self)
    }
    #[inline]
    fn as_some(&self) -> Option<&T> {
        Some(self)
    }
    #[inline]
    fn from_option(value: Option<T>) -> Option<T> {
        value
    }
    #[inline]
    fn from_some(value: T) -> T {
        value
    }
}
impl<T: Data> Nullable for Option<T> {
    type Some = T;
    #[inline]
    fn into_some(self) -> Option<T> {
        self
    }
    #[inline]
    fn as_some(&self) -> Option<&T> {
        self.as_ref()
    }
    #[inline]
    fn from_option(value: Option<T>) -> Option<Self> {
        Some(value)
    }
    #[inline]
    fn from_some(value: T) -> Self {
        Some(value)
    }
}

/// A serde whose type a handle carries along without naming it.
#[derive(Clone)]
pub struct ErasedSerde(Arc<dyn Any + Send + Sync>);

impl ErasedSerde {
    /// Forgets the type.
    #[must_use]
    pub fn new<T: 'static>(serde: SerdeRef<T>) -> Self {
        ErasedSerde(Arc::new(serde))
    }

    /// The same of a serde that nobody shares yet.
    #[must_use]
    pub fn of<T: 'static>(serde: impl Serde<T>) -> Self {
        Self::new(Arc::new(serde) as SerdeRef<T>)
    }

    /// The serde, if it is one of `T`.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<SerdeRef<T>> {
        self.0.downcast_ref::<SerdeRef<T>>().cloned()
    }
}

impl std::fmt::Debug for ErasedSerde {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Serde")
    }
}
