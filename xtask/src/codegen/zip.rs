//! Just enough of the zip format to read a jar: stored and deflated entries, no zip64.

use std::io::Read;

use anyhow::{Context, Result, bail};

const END_OF_DIRECTORY: &[u8; 4] = b"PK\x05\x06";
const END_OF_DIRECTORY_LEN: usize = 22;
const DIRECTORY_ENTRY: &[u8; 4] = b"PK\x01\x02";
const DIRECTORY_ENTRY_LEN: usize = 46;
const LOCAL_HEADER_LEN: usize = 30;

/// Returns names and contents of the entries whose name passes the filter.
pub(super) fn entries(archive: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>> {
    let end = archive
        .windows(END_OF_DIRECTORY_LEN)
        .rposition(|window| window.starts_with(END_OF_DIRECTORY))
        .context("not a zip archive")?;
    let count = u16_at(archive, end + 10)?;
    let mut at = u32_at(archive, end + 16)?;
    let mut found = Vec::new();
    for _ in 0..count {
        if slice(archive, at, 4)? != DIRECTORY_ENTRY {
            bail!("damaged zip directory");
        }
        let name_len = u16_at(archive, at + 28)?;
        let name = std::str::from_utf8(slice(archive, at + DIRECTORY_ENTRY_LEN, name_len)?)?;
        if wanted(name) {
            found.push((name.to_owned(), content(archive, at)?));
        }
        at += DIRECTORY_ENTRY_LEN + name_len + u16_at(archive, at + 30)? + u16_at(archive, at + 32)?;
    }
    Ok(found)
}

fn content(archive: &[u8], entry: usize) -> Result<Vec<u8>> {
    let method = u16_at(archive, entry + 10)?;
    let packed_len = u32_at(archive, entry + 20)?;
    let local = u32_at(archive, entry + 42)?;
    let start = local + LOCAL_HEADER_LEN + u16_at(archive, local + 26)? + u16_at(archive, local + 28)?;
    let packed = slice(archive, start, packed_len)?;
    match method {
        0 => Ok(packed.to_vec()),
        8 => {
            let mut unpacked = Vec::new();
            flate2::read::DeflateDecoder::new(packed).read_to_end(&mut unpacked)?;
            Ok(unpacked)
        }
        other => bail!("zip method {other}"),
    }
}

fn slice(archive: &[u8], start: usize, len: usize) -> Result<&[u8]> {
    archive.get(start..start + len).context("truncated zip archive")
}

fn u16_at(archive: &[u8], at: usize) -> Result<usize> {
    Ok(slice(archive, at, 2)?.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

fn u32_at(archive: &[u8], at: usize) -> Result<usize> {
    Ok(slice(archive, at, 4)?.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}
