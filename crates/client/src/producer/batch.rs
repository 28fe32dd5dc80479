//! A batch on its way from the first record to the broker's answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vltava_protocol::record::{
    BatchPatch, Codec, Compressor, Decompressor, ProducerState, RecordBatch, RecordBatchBuilder, RecordError,
};

use super::delivery::BatchCompletion;
use super::lane::Lane;
use super::tags::Tags;
use crate::error::ClientError;

/// A batch that records are written to, or that waits to be sent.
#[derive(Debug)]
pub(crate) struct Batch {
    contents: Contents,
    pub(crate) completion: Arc<BatchCompletion>,
    /// Of those records whose failure is told by them.
    pub(crate) tags: Tags,
    /// When the first record came.
    pub(crate) created: Instant,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// Not to be sent again before.
    pub(crate) retry_at: Option<Instant>,
    /// Bytes of `buffer.memory` that it holds.
    pub(crate) reserved: usize,
    /// The size of its largest record, at most.
    pub(crate) largest: usize,
    /// Its place among the batches of its partition, given when it is first sent.
    pub(crate) order: u64,
    /// The producer's era in which its first record came: see [`Permit`](super::permit::Permit).
    pub(crate) era: u64,
    /// With which batches of other partitions it goes: see [`Lane`].
    pub(crate) generation: u64,
    /// How many bytes of the generation are counted as its.
    pub(crate) charged: usize,
    count: i32,
    /// Before compression, with the header.
    uncompressed_size: usize,
    is_part: bool,
}

#[derive(Debug)]
enum Contents {
    Open(Box<RecordBatchBuilder>),
    Sealed { bytes: Bytes, state: ProducerState },
}

impl Batch {
    pub(crate) fn new(
        builder: RecordBatchBuilder,
        completion: Arc<BatchCompletion>,
        created: Instant,
        reserved: usize,
    ) -> Self {
        Self {
            contents: Contents::Open(Box::new(builder)),
            completion,
            tags: Tags::default(),
            created,
            attempts: 0,
            retry_at: None,
            reserved,
            largest: 0,
            order: 0,
            era: 0,
            generation: 0,
            charged: 0,
            count: 0,
            uncompressed_size: 0,
            is_part: false,
        }
    }

    /// The builder, as long as records can be added.
    #[inline]
    pub(crate) fn builder(&mut self) -> Option<&mut RecordBatchBuilder> {
        match &mut self.contents {
            Contents::Open(builder) => Some(builder),
            Contents::Sealed { .. } => None,
        }
    }

    /// Whether the generation has room for it when it has grown to `size`, which is then counted. Few of many calls count:
    /// it takes a quarter more than it has at once.
    #[inline]
    pub(crate) fn is_charged(&mut self, size: usize, lane: &Lane) -> bool {
        if size <= self.charged {
            return true;
        }
        let more = (size - self.charged).max(self.charged / 4);
        let fits = lane.charge(self.generation, more);
        if fits {
            self.charged += more;
        }
        fits
    }

    /// Whether it was cut out of a larger one.
    pub(crate) fn is_part(&self) -> bool {
        self.is_part
    }

    /// Whether it has reached `batch.size`.
    pub(crate) fn is_full(&self) -> bool {
        match &self.contents {
            Contents::Open(builder) => builder.is_full(),
            Contents::Sealed { .. } => true,
        }
    }

    /// Number of records.
    pub(crate) fn count(&self) -> i32 {
        match &self.contents {
            Contents::Open(builder) => builder.count(),
            Contents::Sealed { .. } => self.count,
        }
    }

    /// Size in bytes as far as it is known: exact when sealed.
    pub(crate) fn size(&self) -> usize {
        match &self.contents {
            Contents::Open(builder) => builder.estimated_size(),
            Contents::Sealed { bytes, .. } => bytes.len(),
        }
    }

    /// Compressed size by uncompressed size, once sealed.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.uncompressed_size, self.size())
    }

    /// The batch as it goes on the wire, with this producer state: built the first time, changed in place when the state
    /// is another one since.
    pub(crate) fn seal(&mut self, state: ProducerState, compressor: &mut Compressor) -> Result<Bytes, ClientError> {
        let contents = std::mem::replace(&mut self.contents, Contents::Sealed { bytes: Bytes::new(), state });
        let bytes = match contents {
            Contents::Open(mut builder) => {
                self.count = builder.count();
                self.uncompressed_size = builder.records_size() + vltava_protocol::record::BATCH_OVERHEAD;
                builder.set_producer_state(state);
                builder.build_with(compressor).map_err(|error| records(&error))?
            }
            Contents::Sealed { bytes, state: before } if before == state => bytes,
            Contents::Sealed { bytes, .. } => {
                // The buffer is ours alone again after the answer; only if the request is still being written it is copied.
                let mut buffer = Vec::from(bytes);
                let mut patch = BatchPatch::new(&mut buffer).map_err(|error| records(&error))?;
                patch.set_producer_state(state).map_err(|error| records(&error))?;
                Bytes::from(buffer)
            }
        };
        self.contents = Contents::Sealed { bytes: bytes.clone(), state };
        Ok(bytes)
    }

    /// Cuts a batch that the broker found too large into smaller ones with the same records. The parts take over memory,
    /// age, tags and waiting callers.
    pub(crate) fn split(
        mut self,
        topic: &Arc<str>,
        partition: i32,
        codec: Codec,
        batch_size: usize,
    ) -> Result<Vec<Self>, Box<(Self, ClientError)>> {
        let Contents::Sealed { bytes, .. } = &self.contents else { return Ok(vec![self]) };
        // The first cut is at `batch.size`; if parts of that size are still too large, they are halved.
        let limit = if self.is_part || self.size() <= batch_size { self.uncompressed_size / 2 } else { batch_size };
        let builders = match rebuild(bytes, codec, limit) {
            Ok(builders) => builders,
            Err(error) => return Err(Box::new((self, records(&error)))),
        };
        let mut parts = Vec::with_capacity(builders.len());
        let mut starts = Vec::with_capacity(builders.len());
        let mut start = 0;
        let mut tags = self.tags.iter().peekable();
        for builder in builders {
            let completion = Arc::new(BatchCompletion::new(Arc::clone(topic), partition, self.completion.epoch()));
            completion.set_held_epoch(self.completion.held_epoch());
            starts.push((start, Arc::clone(&completion)));
            let end = start + builder.count().unsigned_abs();
            let mut part = Self::new(builder, completion, self.created, 0);
            while let Some((index, tag)) = tags.next_if(|(index, _)| *index < end) {
                part.tags.push(index - start, tag);
            }
            start = end;
            part.attempts = self.attempts;
            part.is_part = true;
            part.era = self.era;
            part.largest = self.largest;
            part.generation = self.generation;
            parts.push(part);
        }
        if let Some(first) = parts.first_mut() {
            first.reserved = std::mem::take(&mut self.reserved);
        }
        self.completion.split(starts);
        Ok(parts)
    }

    /// The records as they are: for who wants to know what was given up.
    pub(crate) fn take_records(&mut self) -> Result<Bytes, ClientError> {
        let nothing = Contents::Sealed { bytes: Bytes::new(), state: ProducerState::NONE };
        match std::mem::replace(&mut self.contents, nothing) {
            Contents::Open(builder) => builder.build().map_err(|error| records(&error)),
            Contents::Sealed { bytes, state } => {
                self.contents = Contents::Sealed { bytes: bytes.clone(), state };
                Ok(bytes)
            }
        }
    }

    /// The bytes of a sealed batch, to use their buffer again.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        match self.contents {
            Contents::Sealed { bytes, .. } => Some(bytes),
            Contents::Open(_) => None,
        }
    }
}

fn rebuild(bytes: &Bytes, codec: Codec, limit: usize) -> Result<Vec<RecordBatchBuilder>, RecordError> {
    let batch = RecordBatch::parse(bytes.clone())?;
    let mut decompressor = Decompressor::new();
    let mut builders: Vec<RecordBatchBuilder> = Vec::new();
    for record in batch.records(&mut decompressor)? {
        let record = record?;
        let fits = |builder: &RecordBatchBuilder| {
            let (key, value) = (record.key().map(<[u8]>::len), record.value().map(<[u8]>::len));
            builder.has_room_for(record.timestamp(), key, value, record.headers())
        };
        if !builders.last().is_some_and(fits) {
            builders.push(RecordBatchBuilder::with_capacity(codec, limit));
        }
        if let Some(builder) = builders.last_mut() {
            builder.append_record(&record)?;
        }
    }
    Ok(builders)
}

fn records(error: &RecordError) -> ClientError {
    ClientError::Records { reason: error.to_string().into() }
}
