//! Checking a log before it is opened, for one of which nothing may be cut off: the metadata log.

use std::fs;
use std::path::{Path, PathBuf};

use crate::batch::{BatchHeader, Scanned, Scanner, crc_matches};
use crate::error::Result;
use crate::file;
use crate::file_names::{self, LOG};

/// Read at once while a segment is checked.
const CHUNK: usize = 1024 * 1024;

/// The first place of a log that is no valid batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: PathBuf,
    /// Position in it, in bytes.
    pub position: u64,
    /// The offset that the batch there should begin with.
    pub offset: i64,
    /// What is wrong.
    pub reason: String,
    /// Nothing valid follows: a write that a crash cut off looks like this. Otherwise what was written whole before is
    /// damaged.
    pub is_torn_tail: bool,
}

/// Looks at each batch of the log in `dir`, a partition's directory: that its checksum is right and that it continues
/// the one before it. `None` where all is well. Nothing is changed.
///
/// # Errors
/// [`LogError::Storage`](crate::LogError::Storage).
pub fn find_damage(dir: &Path) -> Result<Option<Damage>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(LOG) {
            bases.extend(file_names::offset_of(&name));
        }
    }
    bases.sort_unstable();
    let mut expected: Option<i64> = None;
    for (at, base) in bases.iter().enumerate() {
        let path = file_names::segment_file(dir, *base, LOG, "");
        let first = expected.unwrap_or(*base);
        if *base != first {
            let reason = format!("the segment begins at offset {base} and not at {first}");
            return Ok(Some(Damage { path, position: 0, offset: first, reason, is_torn_tail: false }));
        }
        match check_segment(&path, first)? {
            Ok(next) => expected = Some(next),
            Err(mut damage) => {
                damage.is_torn_tail &= at + 1 == bases.len();
                return Ok(Some(damage));
            }
        }
    }
    Ok(None)
}

/// The offset after a segment, or what is wrong with it.
fn check_segment(path: &Path, first: i64) -> Result<Result<i64, Damage>> {
    let file = file::open(path, false)?;
    let size = file.metadata()?.len();
    let mut scanner = Scanner::new(&file, 0..size, CHUNK);
    let mut expected = first;
    let mut is_whole = false;
    let (position, reason) = loop {
        let (position, length, header) = match scanner.next()? {
            Scanned::Batch { position, size, header } => (position, size, header),
            Scanned::End { position } if position == size => return Ok(Ok(expected)),
            Scanned::End { position } => break (position, "the file ends within a batch".to_owned()),
            Scanned::Damaged { position, reason } => break (position, reason.to_owned()),
        };
        if !crc_matches(&header, scanner.batch(position, length)?) {
            break (position, "the checksum of the batch is wrong".to_owned());
        }
        if header.base_offset() != expected {
            is_whole = true;
            break (position, format!("the batch has offset {}", header.base_offset()));
        }
        expected = header.next_offset();
    };
    let mut rest = Vec::new();
    let length = usize::try_from(size - position).unwrap_or(usize::MAX);
    file::read_up_to_at(&file, &mut rest, length, position)?;
    let is_torn_tail = !is_whole && !holds_batch(rest.get(1..).unwrap_or_default(), expected);
    Ok(Err(Damage { path: path.to_owned(), position, offset: expected, reason, is_torn_tail }))
}

/// Whether a valid batch that may follow offset `after` begins anywhere in `bytes`.
fn holds_batch(bytes: &[u8], after: i64) -> bool {
    /// No log of metadata grows by more within one batch that is damaged.
    const FURTHEST: i64 = 1 << 32;
    (0..bytes.len()).any(|start| {
        let Some(rest) = bytes.get(start..) else { return false };
        let Ok(header) = BatchHeader::parse(rest) else { return false };
        let is_near = (after..after.saturating_add(FURTHEST)).contains(&header.base_offset());
        is_near && rest.get(..header.size()).is_some_and(|batch| crc_matches(&header, batch))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, TestLog, batch};
    use crate::{AppendContext, LogError};

    /// A log of two segments with three batches each, its directory, and the size of a batch.
    fn log() -> (TestLog, PathBuf, usize) {
        let mut t = TestLog::new(&[]);
        let bytes = batch(NOW, &["a", "b"]);
        for n in 0..6 {
            if n == 3 {
                t.log.roll(NOW).unwrap();
            }
            t.log.append_as_leader(&mut t.appender, bytes.clone(), AppendContext::coordinator(1, NOW)).unwrap();
        }
        let dir = t.log.dir().to_owned();
        assert_eq!(find_damage(&dir).unwrap(), None);
        (t, dir, bytes.len())
    }

    fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn damage_is_found_with_its_file_and_offset_and_told_from_a_torn_tail() {
        type Change = fn(&mut Vec<u8>, usize);
        let last = 6;
        // Segment, what is done to it, position in batches, offset, whether it is a torn tail.
        let cases: [(&str, i64, Change, usize, i64, bool); 8] = [
            ("a record of a batch in the middle", last, |b, n| b[n + 70] ^= 1, 1, 8, false),
            ("the size of a batch in the middle", last, |b, n| b[n + 10] ^= 1, 1, 8, false),
            ("the format version of a batch in the middle", last, |b, n| b[n + 16] = 9, 1, 8, false),
            ("a batch in the middle is gone", last, |b, n| drop(b.drain(n..2 * n)), 1, 8, false),
            ("the last batch", last, |b, n| b[2 * n + 70] ^= 1, 2, 10, true),
            ("the last batch is cut off", last, |b, n| b.truncate(3 * n - 5), 2, 10, true),
            ("zeros after the last batch", last, |b, n| b.resize(3 * n + 200, 0), 3, 12, true),
            ("the end of the first segment", 0, |b, n| b.truncate(3 * n - 5), 2, 4, false),
        ];
        for (name, segment, change, batches, offset, is_torn_tail) in cases {
            let (_t, dir, size) = log();
            let path = file_names::segment_file(&dir, segment, LOG, "");
            edit(&path, |bytes| change(bytes, size));
            let damage = find_damage(&dir).unwrap().unwrap_or_else(|| panic!("{name} is not seen"));
            assert_eq!((damage.position, damage.offset), ((batches * size) as u64, offset), "{name}");
            assert_eq!((damage.path, damage.is_torn_tail), (path, is_torn_tail), "{name}");
        }
    }

    #[test]
    fn a_segment_that_is_gone_is_damage() {
        let (mut t, dir, _) = log();
        t.log.roll(NOW).unwrap();
        fs::remove_file(file_names::segment_file(&dir, 6, LOG, "")).unwrap();
        let damage = find_damage(&dir).unwrap().unwrap();
        assert_eq!((damage.offset, damage.is_torn_tail), (6, false));
        assert!(matches!(find_damage(&dir.join("none")), Err(LogError::Storage { .. })));
    }
}
