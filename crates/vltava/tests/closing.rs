//! Closing and dropping an application, in every state and from every place: it ends in the time that it is given, says
//! what is left, and nothing panics, blocks or stands still.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{self, Receiver, Sender},
    },
    time::{Duration, Instant},
};

use vltava::{
    client::{Admin, AdminConfig, Producer, ProducerConfig, TopicPartition, admin::NewTopic, producer::ProducerRecord},
    embedded,
    streams::{
        CloseOptions, Error, GroupMembershipOperation, KafkaStreams, Left, Materialized, NotClosed, State,
        StateRestoreListener, StreamThreadExceptionResponse, StreamsBuilder, StreamsConfig, Topology,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Far more than what is waited for here, and less than what anything waits by default.
const SOON: Duration = Duration::from_secs(20);

fn streams(broker: &str, directory: &Path, topology: Topology) -> KafkaStreams {
    let config = StreamsConfig::from_properties([
        ("application.id", "closing"),
        ("bootstrap.servers", broker),
        ("state.dir", directory.to_str().unwrap()),
        ("statestore.cache.max.bytes", "0"),
        ("producer.linger.ms", "0"),
    ]);
    KafkaStreams::new(topology, config.unwrap()).unwrap()
}

/// Counts the values of `in`, and calls back with each.
fn counting(each: impl Fn(&str) + Send + Sync + 'static) -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in")
        .peek(move |_, text| each(text))
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("out");
    builder.build().unwrap()
}

struct World {
    broker: embedded::Broker,
    address: String,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let broker = embedded::Broker::start(embedded::Config::default()).unwrap();
        let address = broker.bootstrap_servers().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = AdminConfig::from_properties([("bootstrap.servers", &address)]).unwrap();
        runtime.block_on(async {
            for (_, created) in Admin::new(settings).unwrap().create_topics(["in", "out"].map(NewTopic::new)).await {
                created.unwrap();
            }
        });
        World { broker, address, folder: tempfile::tempdir().unwrap(), runtime }
    }

    fn send(&self, texts: &[&str]) {
        let settings = ProducerConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
        self.runtime.block_on(async {
            let producer = Producer::new(settings).unwrap();
            for text in texts {
                producer.send(ProducerRecord::new("in").key("k").value(text)).await.unwrap().await.unwrap();
            }
        });
    }

    /// How many members the group has.
    fn members(&self) -> usize {
        let settings = AdminConfig::from_properties([("bootstrap.servers", &self.address)]).unwrap();
        let described =
            self.runtime.block_on(async { Admin::new(settings).unwrap().describe_consumer_groups(["closing"]).await });
        described.into_values().next().unwrap().unwrap().members.len()
    }

    fn application(&self, topology: Topology) -> KafkaStreams {
        streams(&self.address, self.folder.path(), topology)
    }

    /// An application whose processor has not come back from a record, and what lets it.
    fn stuck(&self) -> (KafkaStreams, Sender<()>) {
        let (stuck, is_stuck) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let streams = self.application(counting(move |_| {
            let _ = stuck.send(());
            let _ = released.lock().unwrap().recv();
        }));
        self.send(&["a"]);
        streams.start().unwrap();
        is_stuck.recv_timeout(PATIENCE).unwrap();
        (streams, release)
    }

    /// Waits until the application that was dropped has let its directory go.
    fn await_ended(&self) {
        let deadline = Instant::now() + PATIENCE;
        let config = || {
            let directory = self.folder.path().to_str().unwrap();
            let keys = [("application.id", "closing"), ("bootstrap.servers", &self.address), ("state.dir", directory)];
            StreamsConfig::from_properties(keys).unwrap()
        };
        while KafkaStreams::new(counting(|_| ()), config()).is_err() {
            assert!(Instant::now() < deadline, "the threads have not ended");
            std::thread::yield_now();
        }
    }
}

/// The changes of state, as they are told.
fn states(streams: &KafkaStreams) -> Receiver<State> {
    let (tell, told) = mpsc::channel();
    streams.set_state_listener(move |state, _| {
        let _ = tell.send(state);
    });
    told
}

fn expect(told: &Receiver<State>, wanted: State) {
    let mut seen = Vec::new();
    while seen.last() != Some(&wanted) {
        seen.push(told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{seen:?} and no {wanted}")));
    }
}

fn await_running(streams: &KafkaStreams) {
    assert!(streams.wait_for_state(|state| state == State::Running, PATIENCE), "{:?}", streams.failure());
}

fn left(closed: Result<(), Box<Error>>) -> NotClosed {
    match *closed.unwrap_err() {
        Error::NotClosed(left) => left,
        other => panic!("{other}"),
    }
}

/// That one thread is still at work is all that is left.
fn is_at_work(left: &NotClosed) -> bool {
    matches!(&*left.threads, [thread] if matches!(thread.what, Left::AtWork) && thread.thread.ends_with("-1"))
}

fn soon<T>(what: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = what();
    assert!(started.elapsed() < SOON, "it took {:?}", started.elapsed());
    done
}

/// An address where nobody is, and one where somebody takes connections and never answers.
fn brokers_that_are_none() -> (String, String, TcpListener) {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    (nobody, silent.local_addr().unwrap().to_string(), silent)
}

#[test]
fn an_application_that_was_not_started_is_closed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = streams("localhost:1", folder.path(), counting(|_| ()));
    let told = states(&made);
    made.close(Duration::MAX).unwrap();
    assert_eq!((told.recv().unwrap(), told.recv().unwrap()), (State::PendingShutdown, State::NotRunning));
    made.close(Duration::ZERO).unwrap();
    assert!(made.start().unwrap_err().to_string().contains("NOT_RUNNING"));
    // Its directory is free, though it is still there.
    drop(streams("localhost:1", folder.path(), counting(|_| ())));
}

#[test]
fn without_a_broker_closing_takes_none_of_its_time() {
    let (nobody, silent, _listener) = brokers_that_are_none();
    let global = || {
        let builder = StreamsBuilder::new();
        builder.global_table_with::<String, String>(Materialized::named("table"), "table");
        builder.stream::<String, String>("in").to("out");
        builder.build().unwrap()
    };
    for broker in [nobody, silent] {
        for topology in [counting(|_| ()), global()] {
            let folder = tempfile::tempdir().unwrap();
            let streams = streams(&broker, folder.path(), topology);
            streams.start().unwrap();
            assert!(!streams.wait_for_state(|state| state != State::Rebalancing, Duration::from_millis(300)));
            soon(|| streams.close(Duration::MAX)).unwrap();
            assert_eq!(streams.state(), State::NotRunning);
            assert!(streams.failure().is_none());
        }
    }
}

#[test]
fn a_running_application_commits_and_can_be_closed_again_and_again() {
    let world = World::new();
    let (tell, told) = mpsc::channel();
    let streams = world.application(counting(move |text| tell.send(text.to_owned()).unwrap()));
    let streams = Arc::new(streams);
    world.send(&["a"]);
    streams.start().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "a");
    let closing: Vec<_> = (0..3)
        .map(|_| {
            let streams = streams.clone();
            std::thread::spawn(move || streams.close(PATIENCE).map_err(|left| left.to_string()))
        })
        .collect();
    for closed in closing {
        closed.join().unwrap().unwrap();
        assert_eq!(streams.state(), State::NotRunning);
    }
    soon(|| streams.close(Duration::MAX)).unwrap();
    world.runtime.block_on(streams.close_async(Duration::ZERO)).unwrap();
    drop(streams);

    // What was committed does not come again.
    let (tell, told) = mpsc::channel();
    let streams = world.application(counting(move |text| tell.send(text.to_owned()).unwrap()));
    world.send(&["b"]);
    streams.start().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "b");
    streams.close(PATIENCE).unwrap();
}

#[test]
fn a_thread_that_does_not_come_back_is_named_and_not_waited_for() {
    let world = World::new();
    let (streams, release) = world.stuck();
    let not_closed = left(soon(|| streams.close(Duration::from_millis(200))));
    assert!(is_at_work(&not_closed), "{not_closed}");
    assert!(not_closed.to_string().contains("StreamThread-1 is still at work"), "{not_closed}");
    // Not waited for at all, and in PENDING_SHUTDOWN.
    assert!(is_at_work(&left(soon(|| streams.close(Duration::ZERO)))));
    assert!(is_at_work(&left(soon(|| world.runtime.block_on(streams.close_async(Duration::from_millis(200)))))));
    assert_eq!(streams.state(), State::PendingShutdown);
    drop(release);
    streams.close(PATIENCE).unwrap();
    assert_eq!(streams.state(), State::NotRunning);
}

#[test]
fn what_could_not_be_committed_is_told_with_the_reason_and_in_time() {
    let world = World::new();
    let (tell, told) = mpsc::channel();
    let streams = world.application(counting(move |text| tell.send(text.to_owned()).unwrap()));
    world.send(&["a"]);
    streams.start().unwrap();
    await_running(&streams);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "a");
    world.broker.abort();
    let not_closed = left(soon(|| streams.close(Duration::from_secs(3))));
    assert!(not_closed.threads.iter().all(|thread| matches!(thread.what, Left::Uncommitted(_))), "{not_closed}");
    assert!(not_closed.to_string().contains("StreamThread-1 has not committed: "), "{not_closed}");
    assert_eq!(streams.state(), State::NotRunning);
    // It is closed all the same, and still says what it could not do.
    assert_eq!(left(streams.close(PATIENCE)).threads.len(), 1);
}

/// Closes the application by its shared handle, and tells what it was told.
fn close_there(handle: &OnceLock<Arc<KafkaStreams>>, tell: &Sender<Result<(), String>>) {
    if let Some(streams) = handle.get() {
        let _ = tell.send(streams.close(PATIENCE).map_err(|left| left.to_string()));
    }
}

struct ClosingRestore(Arc<OnceLock<Arc<KafkaStreams>>>, Sender<Result<(), String>>);

impl StateRestoreListener for ClosingRestore {
    fn on_restore_start(&self, _: &TopicPartition, _: &str, _: i64, _: i64) {
        close_there(&self.0, &self.1);
    }
}

#[test]
fn code_of_the_application_may_close_it_and_does_not_wait_for_itself() {
    let world = World::new();
    for place in ["state listener", "listener in start", "processor", "uncaught handler", "restore listener"] {
        let handle = Arc::new(OnceLock::<Arc<KafkaStreams>>::new());
        let (tell, told) = mpsc::channel();
        let (at, tell_there) = (handle.clone(), tell.clone());
        let streams = Arc::new(world.application(counting(move |_| match place {
            "processor" => close_there(&at, &tell_there),
            "uncaught handler" => panic!("for the handler"),
            _ => (),
        })));
        handle.set(streams.clone()).ok().unwrap();
        let (at, tell_there) = (handle.clone(), tell.clone());
        match place {
            "state listener" => streams.set_state_listener(move |state, _| {
                if state == State::Running {
                    close_there(&at, &tell_there);
                }
            }),
            "listener in start" => streams.set_state_listener(move |state, _| {
                if state == State::Rebalancing {
                    close_there(&at, &tell_there);
                }
            }),
            "uncaught handler" => streams.set_uncaught_exception_handler(move |_| {
                close_there(&at, &tell_there);
                StreamThreadExceptionResponse::ShutdownClient
            }),
            "restore listener" => streams.set_global_state_restore_listener(ClosingRestore(at, tell_there)),
            _ => (),
        }
        world.send(&["a"]);
        soon(|| streams.start().unwrap());
        if place == "restore listener" {
            // There is something to restore once it has begun anew.
            streams.close(PATIENCE).unwrap();
            streams.clean_up().unwrap();
            let again = Arc::new(world.application(counting(|_| ())));
            let handle = Arc::new(OnceLock::<Arc<KafkaStreams>>::new());
            handle.set(again.clone()).ok().unwrap();
            again.set_global_state_restore_listener(ClosingRestore(handle, tell.clone()));
            again.start().unwrap();
            assert!(told.recv_timeout(PATIENCE).unwrap().unwrap_err().contains("at work"), "{place}");
            again.close(PATIENCE).unwrap();
            continue;
        }
        let closed = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{place}: {}", streams.state()));
        assert!(closed.unwrap_err().contains("at work"), "{place}");
        assert!(streams.wait_for_state(State::has_completed_shutdown, PATIENCE), "{place}");
        soon(|| streams.close(Duration::MAX)).unwrap();
        // As in Kafka, closing on request comes before closing for a failure.
        assert_eq!(streams.state(), State::NotRunning, "{place}");
        assert_eq!(streams.failure().is_some(), place == "uncaught handler", "{place}: {:?}", streams.failure());
    }
}

#[test]
fn a_failed_application_is_closed_and_keeps_its_failure() {
    let world = World::new();
    let streams = world.application(counting(|_| panic!("on purpose")));
    world.send(&["a"]);
    streams.start().unwrap();
    assert!(streams.wait_for_state(|state| state == State::Error, PATIENCE));
    soon(|| streams.close(Duration::MAX)).unwrap();
    assert_eq!(streams.state(), State::Error);
    let failure = streams.failure().unwrap();
    let Error::Processing { source, .. } = &*failure else { panic!("{failure:?}") };
    assert!(matches!(&**source, Error::Panic(message) if message == "on purpose"), "{failure:?}");
    let waited = streams.wait_until_caught_up(PATIENCE).unwrap_err();
    assert!(matches!(&*waited, Error::Failed(why) if Arc::ptr_eq(why, &failure)), "{waited:?}");
}

#[test]
fn async_code_waits_on_any_runtime_without_blocking_it() {
    let world = World::new();
    world.send(&["a"]);
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Neither timers nor sockets.
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for runtime in [multi, bare] {
        let streams = world.application(counting(|_| ()));
        runtime.block_on(async {
            let caught_up = streams.wait_until_caught_up_async(PATIENCE).await;
            assert!(matches!(*caught_up.unwrap_err(), Error::StreamsNotStarted(_)));
            streams.start().unwrap();
            assert!(!streams.wait_for_state_async(|state| state == State::Error, Duration::ZERO).await);
            // Others have their turn meanwhile.
            let (others, caught_up) =
                tokio::join!(tokio::task::yield_now(), streams.wait_until_caught_up_async(PATIENCE));
            assert_eq!((others, caught_up.unwrap()), ((), true));
            // Dropped, it takes nothing back.
            drop(streams.close_async(PATIENCE));
            assert!(streams.wait_for_state_async(State::has_completed_shutdown, PATIENCE).await);
            streams.close_async(Duration::MAX).await.unwrap();
        });
    }
}

#[test]
fn what_is_dropped_ends_in_the_background_and_nothing_panics() {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let (noted, before) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if !panic.to_string().contains("on purpose") && !panic.to_string().contains("for the handler") {
            noted.lock().unwrap().push(format!("{:?}: {panic}", thread.name()));
        }
        before(panic);
    }));
    let world = World::new();
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for place in ["thread", "multi", "current", "after close"] {
        let (streams, release) = world.stuck();
        let told = states(&streams);
        match place {
            "thread" => soon(|| drop(streams)),
            "multi" => soon(|| multi.block_on(async { drop(streams) })),
            "current" => soon(|| current.block_on(async { drop(streams) })),
            _ => {
                assert!(is_at_work(&left(streams.close(Duration::from_millis(10)))));
                soon(|| drop(streams));
            }
        }
        expect(&told, State::PendingShutdown);
        // It commits and says so though nobody has it any more.
        drop(release);
        expect(&told, State::NotRunning);
        world.await_ended();
    }

    // The last handle goes on a thread of the application.
    let handle = Arc::new(Mutex::new(None::<KafkaStreams>));
    let (drops, (tell, told)) = (handle.clone(), mpsc::channel());
    let streams = world.application(counting(move |_| {
        let dropped = drops.lock().unwrap().take();
        let _ = tell.send(dropped.is_some());
        drop(dropped);
    }));
    let ended = states(&streams);
    streams.start().unwrap();
    await_running(&streams);
    *handle.lock().unwrap() = Some(streams);
    world.send(&["b"]);
    while !told.recv_timeout(PATIENCE).unwrap() {}
    expect(&ended, State::NotRunning);
    world.await_ended();

    // Without a broker.
    let (_, silent, _listener) = brokers_that_are_none();
    let folder = tempfile::tempdir().unwrap();
    let unconnected = streams_at(&silent, folder.path());
    let ended = states(&unconnected);
    unconnected.start().unwrap();
    soon(|| current.block_on(async { drop(unconnected) }));
    expect(&ended, State::NotRunning);
    assert_eq!(*panics.lock().unwrap(), Vec::<String>::new());
}

fn streams_at(broker: &str, directory: &Path) -> KafkaStreams {
    streams(broker, directory, counting(|_| ()))
}

#[test]
fn members_leave_or_remain_as_the_options_say() {
    use GroupMembershipOperation::{Default as OwnWay, LeaveGroup, RemainInGroup};
    let world = World::new();
    let cases = [
        (None, OwnWay, 0),
        (None, LeaveGroup, 0),
        (Some("i"), OwnWay, 1),
        (Some("i"), RemainInGroup, 1),
        (Some("i"), LeaveGroup, 0),
        // The last one, for the group would wait for it.
        (None, RemainInGroup, 1),
    ];
    for (instance, operation, members) in cases {
        let directory = world.folder.path().to_str().unwrap();
        let mut keys = vec![("application.id", "closing"), ("bootstrap.servers", &*world.address)];
        keys.push(("state.dir", directory));
        keys.extend(instance.map(|instance| ("group.instance.id", instance)));
        let streams = KafkaStreams::new(counting(|_| ()), StreamsConfig::from_properties(keys).unwrap()).unwrap();
        streams.start().unwrap();
        await_running(&streams);
        let options = CloseOptions::timeout(PATIENCE).with_group_membership_operation(operation);
        streams.close_with(options).unwrap();
        assert_eq!(world.members(), members, "{instance:?} {operation:?}");
    }
}
