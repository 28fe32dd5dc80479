//! The metadata log and its image: one writer at a time, any number of readers.
//!
//! A change is decided and written ([`MetadataStore::commit`]), then acted on, then made known
//! ([`MetadataStore::publish`]). Between the two the next ones may be written already.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tracing::{error, warn};
use vltava_log::manager::SharedLog;
use vltava_log::{AppendContext, Appender, LogError};
use vltava_protocol::records::metadata::MetadataRecord;
use vltava_protocol::{ErrorCode, Uuid};

use super::image::MetadataImage;
use super::{load, write_batch};
use crate::error::BrokerError;
use crate::request::ApiError;

/// The cluster's metadata.
#[derive(Debug)]
pub(crate) struct MetadataStore {
    published: RwLock<Published>,
    writer: Mutex<Writer>,
    /// The epoch in which this node writes as the controller.
    epoch: i32,
    /// What a new directory was formatted with.
    formatted: Option<MetadataImage>,
}

/// What readers see.
#[derive(Debug, Clone)]
struct Published {
    image: Arc<MetadataImage>,
    end_offset: i64,
}

#[derive(Debug)]
struct Writer {
    log: SharedLog,
    appender: Appender,
    epoch: i32,
    /// The state after everything that was written, published or not.
    image: Arc<MetadataImage>,
    end_offset: i64,
}

/// A change that is in the log, on its way to be acted on and made known.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) before: Arc<MetadataImage>,
    pub(crate) after: Arc<MetadataImage>,
    pub(crate) records: Vec<MetadataRecord>,
    end_offset: i64,
}

impl MetadataStore {
    /// Folds the whole log. Gives the topics that were deleted, too, as far as the log tells of them.
    pub(crate) fn load(log: SharedLog) -> Result<(Self, HashSet<Uuid>), BrokerError> {
        let loaded = load::load(&log)?;
        let image = Arc::new(loaded.image);
        let store = Self {
            published: RwLock::new(Published { image: Arc::clone(&image), end_offset: loaded.end_offset }),
            writer: Mutex::new(Writer {
                log,
                appender: Appender::new(),
                epoch: loaded.epoch,
                image,
                end_offset: loaded.end_offset,
            }),
            epoch: loaded.epoch,
            formatted: loaded.formatted,
        };
        Ok((store, loaded.removed_topics))
    }

    /// The state as of now. It stays as it is while it is held.
    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.published.read().image)
    }

    /// The state as of now, and the offset that it goes up to.
    pub(crate) fn image_and_offset(&self) -> (Arc<MetadataImage>, i64) {
        let published = self.published.read();
        (Arc::clone(&published.image), published.end_offset)
    }

    /// The offset after the last record that is known to all.
    pub(crate) fn end_offset(&self) -> i64 {
        self.published.read().end_offset
    }

    /// The epoch in which this node writes as the controller.
    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What a new directory was formatted with, by Kafka's tool: levels of features, and users.
    pub(crate) fn formatted(&self) -> Option<&MetadataImage> {
        self.formatted.as_ref()
    }

    /// Lets each of `changes` look at the newest state, in their order, and appends the records that they give: each
    /// one's whole or not at all. All are on the disk when this returns, by one wait: topics do not come and go by the
    /// thousand, and a partition whose topic is forgotten would be lost.
    ///
    /// `None` where a change has nothing to write or is refused; its own part of the outcome is kept by the change.
    pub(crate) fn commit(&self, changes: &mut [&mut dyn Change], now_ms: i64) -> Vec<Option<Committed>> {
        let mut writer = self.writer.lock();
        let before = (Arc::clone(&writer.image), writer.end_offset);
        let mut committed: Vec<Option<Committed>> =
            changes.iter_mut().map(|change| writer.write(*change, now_ms)).collect();
        if committed.iter().any(Option::is_some)
            && let Err(error) = writer.flush()
        {
            // Nobody knows what of it is on the disk. The log is offline, and the broker ends.
            (writer.image, writer.end_offset) = before;
            for (change, written) in changes.iter_mut().zip(&mut committed) {
                if written.take().is_some() {
                    change.fail(error.clone());
                }
            }
        }
        committed
    }

    /// Makes a change known, after what follows from it was done.
    pub(crate) fn publish(&self, committed: &Committed) {
        let published = Published { image: Arc::clone(&committed.after), end_offset: committed.end_offset };
        *self.published.write() = published;
    }

    /// The offset that the next record gets, while nobody else writes: at a start.
    pub(crate) fn next_offset(&self) -> i64 {
        self.writer.lock().end_offset
    }
}

/// One change to the metadata.
pub(crate) trait Change: Send {
    /// Looks at the newest state and gives the records to write, none where there is nothing to do or it is refused.
    fn decide(&mut self, image: &MetadataImage) -> Vec<MetadataRecord>;

    /// Is told that its records could not be written.
    fn fail(&mut self, error: ApiError);
}

impl Writer {
    fn write(&mut self, change: &mut dyn Change, now_ms: i64) -> Option<Committed> {
        let records = change.decide(&self.image);
        if records.is_empty() {
            return None;
        }
        let mut next = (*self.image).clone();
        let replayed = records.iter().try_for_each(|record| next.replay(record));
        let appended = replayed
            .map_err(|e| ApiError::new(ErrorCode::UnknownServerError, e.to_string()))
            .and_then(|()| self.append(&records, now_ms));
        match appended {
            Ok(end_offset) => {
                let before = std::mem::replace(&mut self.image, Arc::new(next));
                self.end_offset = end_offset;
                Some(Committed { before, after: Arc::clone(&self.image), records, end_offset })
            }
            Err(error) => {
                error!(error = ?error, "cannot write the metadata log");
                change.fail(error);
                None
            }
        }
    }

    fn append(&mut self, records: &[MetadataRecord], now_ms: i64) -> Result<i64, ApiError> {
        let batch = write_batch(records, self.epoch, now_ms)
            .map_err(|e| ApiError::new(ErrorCode::UnknownServerError, e.to_string()))?;
        let context = AppendContext::coordinator(self.epoch, now_ms);
        let mut log = self.log.lock();
        let config = Arc::clone(log.config());
        let appended =
            self.appender.prepare(batch, context, &config).and_then(|prepared| log.append_prepared(prepared));
        appended.map_err(|error| storage_error(&error))?;
        Ok(log.log_end_offset())
    }

    fn flush(&self) -> Result<(), ApiError> {
        let mut log = self.log.lock();
        let flushed = log.advance_high_watermark_to_log_end().and_then(|_| log.flush());
        flushed.map_err(|error| {
            warn!(%error, "cannot flush the metadata log");
            storage_error(&error)
        })
    }
}

fn storage_error(error: &LogError) -> ApiError {
    ApiError::new(ErrorCode::KafkaStorageError, error.to_string())
}
