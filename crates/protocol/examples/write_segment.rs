//! Writes a log segment with a batch of every codec, for `kafka-dump-log` to read:
//!
//! ```text
//! cargo run -p vltava-protocol --example write_segment -- DIRECTORY
//! kafka-dump-log.sh --files DIRECTORY/00000000000000000000.log --print-data-log
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use vltava_protocol::TimestampMs;
use vltava_protocol::record::control::EndTransactionMarker;
use vltava_protocol::record::{
    BatchPatch, Compression, HeaderView, ProducerState, RecordBatchBuilder, RecordBatchHeader,
};

const TIME: i64 = 1_700_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("give the directory to write the segment to")?;
    let mut segment = File::create(PathBuf::from(directory).join("00000000000000000000.log"))?;
    let mut offset = 0;
    let mut write = |batch: Vec<u8>| -> Result<i64, Box<dyn Error>> {
        segment.write_all(&batch)?;
        Ok(RecordBatchHeader::parse(&batch)?.next_offset())
    };
    for compression in Compression::ALL {
        offset = write(small(compression, offset)?)?;
        offset = write(large(compression, offset)?)?;
    }
    for committed in [true, false] {
        let marker = EndTransactionMarker { committed, coordinator_epoch: 3 };
        let mut batch = marker.to_batch(TimestampMs(TIME), 4711, 1)?.to_vec();
        BatchPatch::new(&mut batch)?.set_base_offset(offset);
        offset = write(batch)?;
    }
    Ok(())
}

/// Records with parts null, empty and filled.
fn small(compression: Compression, offset: i64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut builder = RecordBatchBuilder::new(compression).base_offset(offset).partition_leader_epoch(0);
    builder.append(TIME, Some(b"ishmael"), Some(b"Call me Ishmael."), [])?;
    builder.append(TIME - 5, None, Some(compression.name().as_bytes()), [])?;
    builder.append(TIME + 1000, Some(b"ahab"), None, [])?;
    let headers = [HeaderView::new("trace", Some(b"17")), HeaderView::new("null", None)];
    builder.append(TIME, Some(b""), Some(b""), headers)?;
    builder.set_producer_state(ProducerState::transactional(4711, 0, offset as i32));
    Ok(builder.build()?.into())
}

/// Records of several blocks of every codec, some of which do not compress.
fn large(compression: Compression, offset: i64) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut builder = RecordBatchBuilder::new(compression).base_offset(offset).partition_leader_epoch(0);
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(150_000)
    .collect();
    builder.append(TIME, Some(b"noise"), Some(&noise), [])?;
    builder.append(TIME, Some(b"text"), Some("Call me Ishmael. ".repeat(10_000).as_bytes()), [])?;
    Ok(builder.build()?.into())
}
