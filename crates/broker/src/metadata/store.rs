//! The metadata log and its image: one writer at a time, any number of readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use tracing::error;
use vltava_log::manager::SharedLog;
use vltava_log::{AppendContext, AppendOrigin, Appender, FetchIsolation, LogError};
use vltava_protocol::ErrorCode;
use vltava_protocol::record::{Decompressor, RecordBatches};
use vltava_protocol::records::metadata::MetadataRecord;

use super::image::MetadataImage;
use super::{read_batch, write_batch};
use crate::error::BrokerError;
use crate::request::ApiError;

/// How much of the log is read at once when it is loaded.
const LOAD_BYTES: usize = 1024 * 1024;

/// The epoch of the one controller there is.
const CONTROLLER_EPOCH: i32 = 1;

/// The cluster's metadata.
#[derive(Debug)]
pub(crate) struct MetadataStore {
    image: RwLock<Arc<MetadataImage>>,
    end_offset: AtomicI64,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    log: SharedLog,
    appender: Appender,
}

impl MetadataStore {
    /// Folds the whole log.
    pub(crate) fn load(log: SharedLog) -> Result<Self, BrokerError> {
        let mut image = MetadataImage::default();
        let (mut next, end) = {
            let log = log.lock();
            (log.log_start_offset(), log.log_end_offset())
        };
        let mut decompressor = Decompressor::default();
        while next < end {
            let plan = log.lock().read(next, LOAD_BYTES, FetchIsolation::LogEnd, true);
            let read = plan.and_then(|plan| plan.read());
            let bytes = read.map_err(|source| failed(&log, source))?;
            let before = next;
            for batch in RecordBatches::new(bytes) {
                let wrong = |reason: String| BrokerError::Metadata { reason: format!("at offset {next}: {reason}") };
                let batch = batch.map_err(|e| wrong(e.to_string()))?;
                if !batch.header().is_control() {
                    for (_, record) in read_batch(&batch, &mut decompressor).map_err(|e| wrong(e.to_string()))? {
                        image.replay(&record).map_err(|e| wrong(e.to_string()))?;
                    }
                }
                next = batch.last_offset() + 1;
            }
            if next == before {
                break;
            }
        }
        Ok(Self {
            image: RwLock::new(Arc::new(image)),
            end_offset: AtomicI64::new(end),
            writer: Mutex::new(Writer { log, appender: Appender::new() }),
        })
    }

    /// The state as of now. It stays as it is while it is held.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.read())
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Lets `decide` look at the newest state, appends the records it gives, and makes the new
    /// state known after `act` did what follows from them. Nobody else writes meanwhile.
    ///
    /// Records are flushed to the disk: topics do not come and go by the thousand, and a partition
    /// whose topic is forgotten would be lost.
    pub(crate) fn update<T, E: From<ApiError>>(
        &self,
        now_ms: i64,
        decide: impl FnOnce(&MetadataImage) -> Result<(Vec<MetadataRecord>, T), E>,
        act: impl FnOnce(&MetadataImage, &MetadataImage, &[MetadataRecord]) -> Result<(), ApiError>,
    ) -> Result<T, E> {
        let mut writer = self.writer.lock();
        let image = self.image();
        let (records, value) = decide(&image)?;
        if records.is_empty() {
            return Ok(value);
        }
        let mut next = (*image).clone();
        for record in &records {
            next.replay(record).map_err(|e| ApiError::new(ErrorCode::UnknownServerError, e.to_string()))?;
        }
        let end = writer.append(&records, now_ms)?;
        let acted = act(&image, &next, &records);
        self.end_offset.store(end, Ordering::Release);
        *self.image.write() = Arc::new(next);
        drop(writer);
        acted?;
        Ok(value)
    }
}

impl Writer {
    fn append(&mut self, records: &[MetadataRecord], now_ms: i64) -> Result<i64, ApiError> {
        let batch = write_batch(records, CONTROLLER_EPOCH, now_ms)
            .map_err(|e| ApiError::new(ErrorCode::UnknownServerError, e.to_string()))?;
        let context =
            AppendContext { origin: AppendOrigin::Coordinator, ..AppendContext::client(CONTROLLER_EPOCH, now_ms) };
        let mut log = self.log.lock();
        let config = Arc::clone(log.config());
        let prepared = self.appender.prepare(batch, context, &config);
        let appended = prepared.and_then(|prepared| {
            log.append_prepared(prepared)?;
            log.advance_high_watermark_to_log_end()?;
            log.flush(now_ms)
        });
        match appended {
            Ok(()) => Ok(log.log_end_offset()),
            Err(error) => {
                error!(%error, "cannot write the metadata log");
                Err(ApiError::new(ErrorCode::KafkaStorageError, error.to_string()))
            }
        }
    }
}

fn failed(log: &SharedLog, source: LogError) -> BrokerError {
    BrokerError::Log { partition: log.lock().topic_partition().to_string(), source }
}
