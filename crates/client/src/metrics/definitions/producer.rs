//! What a producer records.

use vltava_metrics::definition::{
    GaugeDefinition, Group, SensorDefinition, avg, count, max, rate, rate_of_events, ratio, total,
};

/// The metrics of a producer beside those of its network.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: PRODUCER,
        tags: &["client-id"],
        sensors: &[
            &BATCH_SIZE,
            &BATCH_SPLIT,
            &BUFFER_EXHAUSTED,
            &BUFFER_WAIT,
            &COMPRESSION,
            &FLUSH_TIME,
            &METADATA_WAIT,
            &THROTTLE_TIME,
            &RECORD_ERRORS,
            &RECORD_RETRIES,
            &RECORDS,
            &QUEUE_TIME,
            &RECORD_SIZE,
            &RECORDS_PER_REQUEST,
            &REQUEST_LATENCY,
            &TXN_INIT,
            &TXN_BEGIN,
            &TXN_SEND_OFFSETS,
            &TXN_COMMIT,
            &TXN_ABORT,
        ],
        gauges: &[&BUFFER_AVAILABLE, &BUFFER_TOTAL, &METADATA_AGE, &REQUESTS_IN_FLIGHT, &WAITING],
    },
    Group {
        name: TOPIC,
        tags: &["client-id", "topic"],
        sensors: &[&TOPIC_RECORDS, &TOPIC_BYTES, &TOPIC_COMPRESSION, &TOPIC_RETRIES, &TOPIC_ERRORS],
        gauges: &[],
    },
];

pub(crate) const PRODUCER: &str = "producer-metrics";
pub(crate) const TOPIC: &str = "producer-topic-metrics";

/// The size of a batch that is sent.
pub(crate) static BATCH_SIZE: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        avg("batch-size-avg", "The average number of bytes sent per partition per-request."),
        max("batch-size-max", "The max number of bytes sent per partition per-request."),
    ],
);
/// A batch was too large and is sent in parts.
pub(crate) static BATCH_SPLIT: SensorDefinition = SensorDefinition::new(
    "batches",
    &[
        rate_of_events("batch-split-rate", "The average number of batch splits per second"),
        count("batch-split-total", "The total number of batch splits"),
    ],
);
/// A record was not taken for want of memory.
pub(crate) static BUFFER_EXHAUSTED: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate_of_events(
            "buffer-exhausted-rate",
            "The average per-second number of record sends that are dropped due to buffer exhaustion",
        ),
        count("buffer-exhausted-total", "The total number of record sends that are dropped due to buffer exhaustion"),
    ],
);
/// Somebody has waited for memory.
pub(crate) static BUFFER_WAIT: SensorDefinition = SensorDefinition::new(
    "ns",
    &[
        ratio("bufferpool-wait-ratio", "The fraction of time an appender waits for space allocation."),
        total("bufferpool-wait-time-ns-total", "The total time in nanoseconds an appender waits for space allocation."),
    ],
);
/// How well a batch was compressed.
pub(crate) static COMPRESSION: SensorDefinition = SensorDefinition::new(
    "ratio",
    &[avg(
        "compression-rate-avg",
        "The average compression rate of record batches, defined as the average ratio of the compressed batch size over the uncompressed size.",
    )],
);
/// Somebody has waited for a flush.
pub(crate) static FLUSH_TIME: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("flush-time-ns-total", "Total time producer has spent in flush in nanoseconds.")],
);
/// Somebody has waited for the metadata of a topic.
pub(crate) static METADATA_WAIT: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("metadata-wait-time-ns-total", "Total time producer has spent waiting on topic metadata in nanoseconds.")],
);
/// How long a broker has throttled a request.
pub(crate) static THROTTLE_TIME: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("produce-throttle-time-avg", "The average time in ms a request was throttled by a broker"),
        max("produce-throttle-time-max", "The maximum time in ms a request was throttled by a broker"),
    ],
);
/// Records have failed for good.
pub(crate) static RECORD_ERRORS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-error-rate", "The average per-second number of record sends that resulted in errors"),
        total("record-error-total", "The total number of record sends that resulted in errors"),
    ],
);
/// Records are sent again.
pub(crate) static RECORD_RETRIES: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-retry-rate", "The average per-second number of retried record sends"),
        total("record-retry-total", "The total number of retried record sends"),
    ],
);
/// Records are sent.
pub(crate) static RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-send-rate", "The average number of records sent per second."),
        total("record-send-total", "The total number of records sent."),
    ],
);
/// How long a batch has waited to be sent.
pub(crate) static QUEUE_TIME: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("record-queue-time-avg", "The average time in ms record batches spent in the send buffer."),
        max("record-queue-time-max", "The maximum time in ms record batches spent in the send buffer."),
    ],
);
/// The largest record of a batch.
pub(crate) static RECORD_SIZE: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[avg("record-size-avg", "The average record size"), max("record-size-max", "The maximum record size")],
);
/// How many records a request has.
pub(crate) static RECORDS_PER_REQUEST: SensorDefinition =
    SensorDefinition::new("records", &[avg("records-per-request-avg", "The average number of records per request.")]);
/// How long a broker took for a request of records.
pub(crate) static REQUEST_LATENCY: SensorDefinition = SensorDefinition::new(
    "ms",
    &[
        avg("request-latency-avg", "The average request latency in ms"),
        max("request-latency-max", "The maximum request latency in ms"),
    ],
);
/// `init_transactions` took this long.
pub(crate) static TXN_INIT: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("txn-init-time-ns-total", "Total time producer has spent in initTransactions in nanoseconds.")],
);
/// `begin_transaction` took this long.
pub(crate) static TXN_BEGIN: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("txn-begin-time-ns-total", "Total time producer has spent in beginTransaction in nanoseconds.")],
);
/// `send_offsets_to_transaction` took this long.
pub(crate) static TXN_SEND_OFFSETS: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total(
        "txn-send-offsets-time-ns-total",
        "Total time producer has spent in sendOffsetsToTransaction in nanoseconds.",
    )],
);
/// `commit_transaction` took this long.
pub(crate) static TXN_COMMIT: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("txn-commit-time-ns-total", "Total time producer has spent in commitTransaction in nanoseconds.")],
);
/// `abort_transaction` took this long.
pub(crate) static TXN_ABORT: SensorDefinition = SensorDefinition::new(
    "ns",
    &[total("txn-abort-time-ns-total", "Total time producer has spent in abortTransaction in nanoseconds.")],
);
/// Memory that is not in use.
pub(crate) static BUFFER_AVAILABLE: GaugeDefinition = GaugeDefinition::new(
    "buffer-available-bytes",
    "bytes",
    "The total amount of buffer memory that is not being used (either unallocated or in the free list).",
);
/// `buffer.memory`.
pub(crate) static BUFFER_TOTAL: GaugeDefinition = GaugeDefinition::new(
    "buffer-total-bytes",
    "bytes",
    "The maximum amount of buffer memory the client can use (whether or not it is currently used).",
);
/// How old the metadata is.
pub(crate) static METADATA_AGE: GaugeDefinition =
    GaugeDefinition::new("metadata-age", "s", "The age in seconds of the current producer metadata being used.");
/// Requests without an answer.
pub(crate) static REQUESTS_IN_FLIGHT: GaugeDefinition = GaugeDefinition::new(
    "requests-in-flight",
    "requests",
    "The current number of in-flight requests awaiting a response.",
);
/// Who waits for memory.
pub(crate) static WAITING: GaugeDefinition = GaugeDefinition::new(
    "waiting-threads",
    "tasks",
    "The number of user threads blocked waiting for buffer memory to enqueue their records",
);
/// Records of a topic are sent.
pub(crate) static TOPIC_RECORDS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-send-rate", "The average number of records sent per second for a topic."),
        total("record-send-total", "The total number of records sent for a topic."),
    ],
);
/// Bytes of a topic are sent.
pub(crate) static TOPIC_BYTES: SensorDefinition = SensorDefinition::new(
    "bytes",
    &[
        rate("byte-rate", "The average number of bytes sent per second for a topic."),
        total("byte-total", "The total number of bytes sent for a topic."),
    ],
);
/// How well a batch of a topic was compressed.
pub(crate) static TOPIC_COMPRESSION: SensorDefinition = SensorDefinition::new(
    "ratio",
    &[avg(
        "compression-rate",
        "The average compression rate of record batches for a topic, defined as the average ratio of the compressed batch size over the uncompressed size.",
    )],
);
/// Records of a topic are sent again.
pub(crate) static TOPIC_RETRIES: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-retry-rate", "The average per-second number of retried record sends for a topic"),
        total("record-retry-total", "The total number of retried record sends for a topic"),
    ],
);
/// Records of a topic have failed for good.
pub(crate) static TOPIC_ERRORS: SensorDefinition = SensorDefinition::new(
    "records",
    &[
        rate("record-error-rate", "The average per-second number of record sends that resulted in errors for a topic"),
        total("record-error-total", "The total number of record sends that resulted in errors for a topic"),
    ],
);
