//! What a running application has counted.

use std::{
    sync::{Arc, LazyLock},
    time::Instant,
};

use vltava_metrics::{Gauge, MetricValue, Snapshot, Tags};

use super::{
    kafka_streams::{KafkaStreams, Shared, now_ms},
    queries::refuse_on_stream_thread,
};
use crate::{error::Result, metrics::client};

/// A clock for how long something took, in ns.
pub(super) fn clock_ns() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_nanos() as u64
}

impl Shared {
    /// The name of a thread, as Kafka's metrics and clients have it.
    pub(super) fn thread_name(&self, index: usize) -> String {
        format!("{}-StreamThread-{}", self.client_id, index + 1)
    }

    /// That of the thread which fills the global stores.
    pub(super) fn global_thread_name(&self) -> String {
        format!("{}-GlobalStreamThread", self.client_id)
    }

    /// The metrics of the application itself, for as long as they are held.
    pub(super) fn measure(self: &Arc<Self>) -> Vec<Gauge> {
        let tags = Tags::new([("client-id", self.client_id.as_str())]);
        let of_process = tags.with("process-id", self.process_id.to_string());
        let of_application = of_process.with("application-id", self.config.application_id());
        let gauge = |definition, tags: &Tags, look: fn(&Shared) -> MetricValue| {
            let shared = Arc::downgrade(self);
            let look = move |_| shared.upgrade().map_or(MetricValue::Number(f64::NAN), |shared| look(&shared));
            self.metrics.gauge(client::NAME, definition, tags, look)
        };
        vec![
            gauge(&client::ALIVE_STREAM_THREADS, &tags, |shared| (shared.threads.live() as f64).into()),
            gauge(&client::APPLICATION_ID, &tags, |shared| shared.config.application_id().into()),
            gauge(&client::CLIENT_STATE, &of_application, |shared| f64::from(shared.state() as u8).into()),
            gauge(&client::COMMIT_ID, &tags, |_| "unknown".into()),
            gauge(&client::FAILED_STREAM_THREADS, &tags, |shared| (shared.threads.failed() as f64).into()),
            gauge(&client::RECORDING_LEVEL, &of_process, |shared| {
                f64::from(shared.config.fields().metrics_level as u8).into()
            }),
            gauge(&client::STATE, &tags, |shared| shared.state().to_string().as_str().into()),
            gauge(&client::TOPOLOGY_DESCRIPTION, &tags, |shared| {
                shared.topology.describe().to_string().as_str().into()
            }),
            gauge(&client::VERSION, &tags, |_| env!("CARGO_PKG_VERSION").into()),
        ]
    }
}

impl KafkaStreams {
    /// What is counted, under Kafka's names: of the application, its threads, tasks, nodes and topics. What is of level DEBUG
    /// or TRACE is there with that `metrics.recording.level`. Rates are per second, over `metrics.num.samples` spans of
    /// `metrics.sample.window.ms`. What belongs to a task goes with it, and is told at the end of a turn of its thread. The
    /// metrics of the application's clients are there too, told apart by `client-id`. `docs/metrics.md` has all of them.
    ///
    /// Waits for each thread until the end of its turn, which may be a commit.
    ///
    /// ```no_run
    /// # fn example(streams: vltava_streams::KafkaStreams) -> vltava_streams::Result<()> {
    /// for (name, value) in streams.metrics()? {
    ///     println!("{name} {value}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) on a stream thread.
    pub fn metrics(&self) -> Result<Snapshot> {
        refuse_on_stream_thread()?;
        let mut metrics = self.shared.metrics.snapshot(now_ms());
        metrics.extend(self.shared.admin().metrics());
        for manager in self.shared.threads.found().into_iter().filter_map(|thread| thread.manager) {
            metrics.append(&mut manager.lock().client_metrics());
        }
        Ok(metrics)
    }
}
