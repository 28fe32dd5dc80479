//! `split`: a stream into branches.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::{KStream, Op, processor};
use crate::{
    builder::GraphNode,
    data::Flow,
    dsl::{Named, Options, UserError, options::name_of, sure, user},
    error::{Error, Result},
    record::Record,
    task::{Children, Process, TaskCtx},
    topology::Instantiation,
};

type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> Result<bool> + Send + Sync>;

/// Predicates in order; a default branch has none and is asked last.
struct Branches<K, V> {
    predicates: Vec<Predicate<K, V>>,
    /// The children's names, in the same order, the default branch wherever it was added.
    children: Vec<String>,
}

/// A stream being split; a record goes to the first branch whose predicate it satisfies.
pub struct BranchedKStream<K, V> {
    source: KStream<K, V>,
    splitter: KStream<K, V>,
    branches: Arc<RwLock<Branches<K, V>>>,
    outputs: BTreeMap<String, KStream<K, V>>,
}

impl<K, V> fmt::Debug for BranchedKStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BranchedKStream").field("splitter", &self.splitter.name).finish_non_exhaustive()
    }
}

type Chain<K, V> = Box<dyn FnOnce(KStream<K, V>) -> Option<KStream<K, V>>>;

/// A branch's name, and what happens to it at once.
pub struct Branched<K, V> {
    name: Option<String>,
    chain: Option<Chain<K, V>>,
}

impl<K, V> Default for Branched<K, V> {
    fn default() -> Self {
        Branched { name: None, chain: None }
    }
}

impl<K, V> fmt::Debug for Branched<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Branched").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<K, V> Branched<K, V> {
    /// A branch with a name, which is appended to the splitter's: Kafka's `Branched.as`.
    pub fn named(name: impl Into<String>) -> Self {
        Branched { name: Some(name.into()), chain: None }
    }

    /// A branch without a name of its own that a function takes on: Kafka's `Branched.withFunction`. The result has what
    /// it returns in the place of the branch, or nothing.
    pub fn function(chain: impl FnOnce(KStream<K, V>) -> Option<KStream<K, V>> + 'static) -> Self {
        Branched::default().with_function(chain)
    }

    /// A branch without a name of its own that a function takes; it is not in the result: Kafka's `Branched.withConsumer`.
    ///
    /// ```
    /// # use vltava_streams::{Branched, StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, i64>("in")
    ///     .split()
    ///     .branch_with(Branched::consumer(|small| small.to("small")), |_, n| *n < 10)
    ///     .default_branch_with(Branched::consumer(|large| large.to("large")));
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// driver.input_topic::<String, i64>("in").pipe_key_values([("k".to_owned(), 5), ("k".to_owned(), 50)])?;
    /// assert_eq!(driver.output_topic::<String, i64>("large").read_values()?, [50]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn consumer(consumer: impl FnOnce(KStream<K, V>) + 'static) -> Self {
        Branched::default().with_consumer(consumer)
    }

    /// The result has what the function returns in the place of the branch, or nothing.
    #[must_use]
    pub fn with_function(mut self, chain: impl FnOnce(KStream<K, V>) -> Option<KStream<K, V>> + 'static) -> Self {
        self.chain = Some(Box::new(chain));
        self
    }

    /// The function takes the branch; it is not in the result.
    #[must_use]
    pub fn with_consumer(self, consumer: impl FnOnce(KStream<K, V>) + 'static) -> Self {
        self.with_function(|branch| {
            consumer(branch);
            None
        })
    }
}

impl<K: Flow, V: Flow> KStream<K, V> {
    /// Begins to split the stream into branches. A record goes to the first branch whose predicate it satisfies; to the
    /// default branch, or nowhere, if there is none. Keys stay, so nothing is repartitioned.
    ///
    /// ```
    /// # use vltava_streams::{Branched, Named, StreamsBuilder, TopologyTestDriver};
    /// let builder = StreamsBuilder::new();
    /// let branches = builder
    ///     .stream::<String, i64>("in")
    ///     .split_with(Named::new("size-"))
    ///     .branch_with(Branched::named("small"), |_, n| *n < 10)
    ///     .default_branch_with(Branched::named("large"));
    /// branches["size-small"].to("small");
    /// branches["size-large"].to("large");
    /// let driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input_topic::<String, i64>("in");
    /// input.pipe("k".to_owned(), 5)?;
    /// input.pipe("k".to_owned(), 50)?;
    /// let small = driver.output_topic::<String, i64>("small");
    /// assert_eq!(small.read_values()?, [5]);
    /// # Ok::<(), Box<vltava_streams::Error>>(())
    /// ```
    pub fn split(&self) -> BranchedKStream<K, V> {
        self.split_with(())
    }

    /// [`split`](Self::split) with a name, which is the prefix of the branches' names.
    pub fn split_with(&self, options: impl Options<Named>) -> BranchedKStream<K, V> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(name_of(options).as_deref(), "KSTREAM-BRANCH-");
        let branches = Arc::new(RwLock::new(Branches { predicates: Vec::new(), children: Vec::new() }));
        let of = branches.clone();
        let make = move |making: &mut Instantiation<'_>| {
            let branches = of.read().unwrap_or_else(PoisonError::into_inner);
            let children = making.children::<K, V>()?;
            let targets = branches.children.iter().map(|name| children.position(name));
            let targets: Option<Vec<_>> = targets.collect();
            let node = BranchNode {
                predicates: branches.predicates.clone(),
                targets: targets.ok_or_else(|| Error::internal("a branch without its node"))?,
                children,
                id: making.node_id(),
            };
            making.place(node, false);
            Ok(())
        };
        let write = processor::<K, V, K, V>(&name, Arc::new(make));
        let node = graph.add(&[self.node], GraphNode::new(name.clone(), write));
        let splitter = self.below(node, &name);
        BranchedKStream { source: self.clone(), splitter, branches, outputs: BTreeMap::new() }
    }
}

impl<K: Flow, V: Flow> BranchedKStream<K, V> {
    /// A branch of the records that satisfy a predicate and none before it.
    #[must_use]
    pub fn branch(self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.branch_with((), predicate)
    }

    /// [`branch`](Self::branch) with a name or a function for it.
    #[must_use]
    pub fn branch_with(
        self,
        options: impl Options<Branched<K, V>>,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.try_branch(options, move |k, v| sure(predicate(k, v)))
    }

    /// [`branch_with`](Self::branch_with) with a predicate that may fail; its error goes to the processing exception
    /// handler.
    #[must_use]
    pub fn try_branch<E: Into<UserError>>(
        mut self,
        options: impl Options<Branched<K, V>>,
        predicate: impl Fn(&K, &V) -> Result<bool, E> + Send + Sync + 'static,
    ) -> Self {
        let number = {
            let mut branches = self.branches.write().unwrap_or_else(PoisonError::into_inner);
            branches.predicates.push(Arc::new(move |k, v| predicate(k, v).map_err(user)));
            branches.predicates.len()
        };
        self.add(number, options.chosen().unwrap_or_default());
        self
    }

    /// A branch of all other records; the branches by name.
    pub fn default_branch(self) -> BTreeMap<String, KStream<K, V>> {
        self.default_branch_with(())
    }

    /// [`default_branch`](Self::default_branch) with a name or a function for it.
    pub fn default_branch_with(mut self, options: impl Options<Branched<K, V>>) -> BTreeMap<String, KStream<K, V>> {
        self.add(0, options.chosen().unwrap_or_default());
        self.outputs
    }

    /// The branches by name; other records are dropped.
    pub fn no_default_branch(self) -> BTreeMap<String, KStream<K, V>> {
        self.outputs
    }

    fn add(&mut self, number: usize, branched: Branched<K, V>) {
        let suffix = branched.name.unwrap_or_else(|| number.to_string());
        let name = format!("{}{suffix}", self.splitter.name);
        self.branches.write().unwrap_or_else(PoisonError::into_inner).children.push(name.clone());
        self.source.graph.borrow_mut().new_processor_name("");
        let pass = |record: Record<K, V>, out: &mut Children<K, V>, ctx: &mut TaskCtx| out.forward(record, ctx);
        let branch = self.splitter.op_as(name.clone(), &Op::new("", None), &[self.splitter.node], pass);
        let branch = branch.with_serdes(self.source.key_serde.clone(), self.source.value_serde.clone());
        let output = match branched.chain {
            Some(chain) => chain(branch),
            None => Some(branch),
        };
        self.outputs.extend(output.map(|output| (name, output)));
    }
}

struct BranchNode<K, V> {
    predicates: Vec<Predicate<K, V>>,
    /// The child of every predicate; one more for the default branch, if there is one.
    targets: Vec<usize>,
    children: Children<K, V>,
    id: u32,
}

impl<K: Flow, V: Flow> Process<K, V> for BranchNode<K, V> {
    fn process(&mut self, record: Record<K, V>, ctx: &mut TaskCtx) -> Result<()> {
        for (predicate, target) in self.predicates.iter().zip(&self.targets) {
            match predicate(&record.key, &record.value) {
                Ok(false) => {}
                Ok(true) => return self.children.forward_to(*target, record, ctx),
                Err(error) => return ctx.rt.settle(error, self.id),
            }
        }
        match self.targets.get(self.predicates.len()) {
            Some(default) => self.children.forward_to(*default, record, ctx),
            None => Ok(()),
        }
    }
}
