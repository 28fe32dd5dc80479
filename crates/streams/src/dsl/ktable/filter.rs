//! `filter` and `filter_not` of tables.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    KTable, ValueGetter,
    derived::{Derivation, Derived, Mapper},
};
use crate::{
    data::Data,
    dsl::{TableOptions, UserError, materialized::Materialized, options::named_table, sure, user},
    error::Result,
};

impl<K: Data, V: Data> KTable<K, V> {
    /// The rows that satisfy a predicate. A row that stops to do so is deleted. Where old values are not known, a row that
    /// never satisfied it is deleted too, as in Kafka: those below see deletions of what was not there.
    ///
    /// ```
    /// # use vltava_streams::{StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder.table::<String, i64>("in").filter(|_, n| *n > 1).to_stream().to("out");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 2)?;
    /// input.pipe("k".to_owned(), 1)?;
    /// let out = driver.output_topic::<String, Option<i64>>("out");
    /// assert_eq!(out.read_values()?, [Some(2), None]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_with((), predicate)
    }

    /// [`filter`](Self::filter) with a name, or into a store of this make.
    pub fn filter_with(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_with`](Self::filter_with) with a predicate that may fail; its error goes to the processing exception handler.
    pub fn try_filter<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(named_table(options), move |k, v| predicate(k, v).map_err(user))
    }

    /// The rows that do not satisfy a predicate.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filter_not_with((), predicate)
    }

    /// [`filter_not`](Self::filter_not) with a name, or into a store of this make.
    pub fn filter_not_with(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_filter_not(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`filter_not_with`](Self::filter_not_with) with a predicate that may fail.
    pub fn try_filter_not<E: Into<UserError>>(
        &self,
        options: impl TableOptions<K, V>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        self.keep(named_table(options), move |k, v| predicate(k, v).map(|keep| !keep).map_err(user))
    }

    fn keep(
        &self,
        options: (Option<String>, Option<Materialized<K, V>>),
        predicate: impl Fn(&K, &V) -> Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let mapper: Mapper<K, V, V> = Arc::new(move |key, value| Ok(predicate(key, &value)?.then_some(value)));
        let versioned = Arc::new(AtomicBool::new(false));
        let told = versioned.clone();
        let derived = Derived {
            value_serde: self.value_serde.clone(),
            send_old: self.enable_sending_old_values(false),
            versioned_semantics: Some(Rc::new(move |on, _| told.store(on, Ordering::Relaxed))),
            ..Derived::new("KTABLE-FILTER-", Filter { mapper, versioned })
        };
        self.derive(options, derived)
    }
}

struct Filter<K, V> {
    mapper: Mapper<K, V, V>,
    /// Whether the table above keeps versions; then no change may be swallowed.
    versioned: Arc<AtomicBool>,
}

impl<K: Data, V: Data> Derivation<K, V, V> for Filter<K, V> {
    type Deriver = Mapper<K, V, V>;

    fn deriver(&self) -> Self::Deriver {
        self.mapper.clone()
    }

    fn view(&self, parent: Arc<dyn ValueGetter<K, V>>) -> Arc<dyn ValueGetter<K, V>> {
        self.mapper.view(parent)
    }

    fn swallows_nothing(&self) -> bool {
        !self.versioned.load(Ordering::Relaxed)
    }
}
