//! What a running application has counted.

use vltava_metrics::{Snapshot, Tags};

use super::{
    kafka_streams::{KafkaStreams, Shared, now_ms},
    queries::refuse_on_stream_thread,
};
use crate::{
    error::Result,
    metrics::{ALIVE_STREAM_THREADS, CLIENT_STATE, FAILED_STREAM_THREADS, name},
};

impl Shared {
    /// The name of a thread, as Kafka's metrics and clients have it.
    pub(super) fn thread_name(&self, index: usize) -> String {
        format!("{}-StreamThread-{}", self.client_id, index + 1)
    }

    /// That of the thread which fills the global stores.
    pub(super) fn global_thread_name(&self) -> String {
        format!("{}-GlobalStreamThread", self.client_id)
    }
}

impl KafkaStreams {
    /// What is counted, under Kafka's names: `alive-stream-threads`, `failed-stream-threads` and `client-state` of the application; rates and totals
    /// of records processed and of commits, by thread; rate and total of dropped records, by task; and by task and source
    /// node those of records processed, with `metrics.recording.level` DEBUG. Rates are per second, over
    /// `metrics.num.samples` spans of `metrics.sample.window.ms`. What belongs to a task goes with it. The metrics of the
    /// application's clients are there too, told apart by `client-id`.
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
        let now = now_ms();
        let of_client =
            |gauge| name("stream-metrics", gauge, Tags::new([("client-id", self.shared.client_id.as_str())]));
        let mut metrics = Snapshot::from([
            (of_client(&ALIVE_STREAM_THREADS), (self.shared.threads.live() as f64).into()),
            (of_client(&CLIENT_STATE), f64::from(self.state() as u8).into()),
            (of_client(&FAILED_STREAM_THREADS), (self.shared.threads.failed() as f64).into()),
        ]);
        metrics.extend(self.shared.admin().metrics());
        for manager in self.shared.threads.found().into_iter().filter_map(|thread| thread.manager) {
            metrics.append(&mut manager.lock().metrics(now));
        }
        Ok(metrics)
    }
}
