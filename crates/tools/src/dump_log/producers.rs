//! Snapshots of producer state, and indexes of aborted transactions.

use std::io::{self, Write};
use std::path::Path;

use vltava_log::{read_producer_snapshot, read_transaction_index};
use vltava_protocol::record::decrement_sequence;

use crate::failure::Failure;

pub(super) fn dump_snapshot(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let entries = match read_producer_snapshot(file) {
        Ok(entries) => entries,
        Err(error) => return Ok(writeln!(io::stderr(), "{error}")?),
    };
    for entry in entries {
        let first_offset = match entry.current_txn_first_offset {
            Some(offset) => format!("OptionalLong[{offset}]"),
            None => "OptionalLong.empty".to_owned(),
        };
        write!(
            out,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {first_offset} lastTimestamp: {}",
            entry.producer_id, entry.producer_epoch, entry.coordinator_epoch, entry.last_timestamp
        )?;
        if entry.last_data_offset() >= 0 {
            let (last, delta) = (entry.last_sequence(), entry.last_offset_delta());
            write!(
                out,
                " firstSequence: {} lastSequence: {last} lastOffset: {} offsetDelta: {delta} timestamp: {}",
                decrement_sequence(last, delta),
                entry.last_data_offset(),
                entry.last_timestamp
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

pub(super) fn dump_transaction_index(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    for aborted in read_transaction_index(file)? {
        writeln!(
            out,
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            aborted.producer_id, aborted.first_offset, aborted.last_offset, aborted.last_stable_offset
        )?;
    }
    Ok(())
}
