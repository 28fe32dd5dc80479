//! The batches that are in no table yet, as they were committed, one behind the other in files beside the tree.
//!
//! A memtable dies with its process. Every batch that goes into it is appended to the journal too, and nobody waits until it
//! is on the disk: when a process dies, whoever opens the store next finds all its commits. When the machine dies, the end
//! of the journal may be lost or torn; the store is as of an earlier commit then, and its changelog has the rest.
//!
//! A frame is the length of what follows behind the checksum (4 bytes), the checksum of that (8 bytes, XXH3), the number of
//! the batch (8 bytes), and its entries: the key's length (4 bytes), the key, the value's length (4 bytes, all ones for a
//! deletion), the value. Numbers are big endian. Batches are numbered without a gap, so that what follows one that is
//! lost is never taken.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, Bytes};
use lsm_tree::SeqNo;
use xxhash_rust::xxh3::xxh3_64;

/// What the files' names begin with; their number follows.
const NAME: &str = "journal.";
const HEAD: usize = 12;
const DELETED: u32 = u32::MAX;
/// A buffer that has grown larger than this is not kept.
const KEPT_BUFFER: usize = 1 << 20;

/// Key and value of an entry, or its deletion.
type Entry = (Bytes, Option<Bytes>);

/// The journal of a tree.
pub(super) struct Journal {
    directory: PathBuf,
    /// The file that is written, with its length. It is made when there is something to be written.
    file: Option<(File, u64)>,
    /// Its number.
    number: u64,
    /// Files before it that were not given away yet, and how long they are together.
    old: Vec<PathBuf>,
    old_len: u64,
    buffer: Vec<u8>,
}

/// What was in a journal.
pub(super) struct Recovered {
    pub(super) journal: Journal,
    /// The number of the batch that comes next.
    pub(super) next: SeqNo,
    /// How many bytes were of no use.
    pub(super) dropped: u64,
}

impl Journal {
    /// Opens the journal in a directory, and gives the entries of all its batches from `next` on to `take`.
    pub(super) fn open(directory: &Path, mut next: SeqNo, mut take: impl FnMut(SeqNo, Entry)) -> io::Result<Recovered> {
        let (mut old, mut old_len, mut number, mut dropped, mut is_whole) = (Vec::new(), 0, 0, 0, true);
        for (at, path) in files(directory)? {
            number = at + 1;
            if !is_whole {
                dropped += fs::metadata(&path)?.len();
                fs::remove_file(path)?;
                continue;
            }
            let mut rest = Bytes::from(fs::read(&path)?);
            let whole = rest.len();
            while let Some((seqno, entries, behind)) = frame(&rest).filter(|(seqno, ..)| *seqno <= next) {
                if seqno == next {
                    next += 1;
                    entries.into_iter().for_each(|entry| take(seqno, entry));
                }
                rest = behind;
            }
            is_whole = rest.is_empty();
            if !is_whole {
                dropped += rest.len() as u64;
                OpenOptions::new().write(true).open(&path)?.set_len((whole - rest.len()) as u64)?;
            }
            old.push(path);
            old_len += (whole - rest.len()) as u64;
        }
        let (directory, buffer) = (directory.to_owned(), Vec::new());
        let journal = Journal { directory, file: None, number, old, old_len, buffer };
        Ok(Recovered { journal, next, dropped })
    }

    /// Appends a batch.
    pub(super) fn append<'a>(
        &mut self,
        seqno: SeqNo,
        entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> io::Result<()> {
        let too_long = || io::Error::new(ErrorKind::InvalidInput, "a batch or an entry of 4 GiB");
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).ok().filter(|len| *len != DELETED).ok_or_else(too_long);
        let mut frame = std::mem::take(&mut self.buffer);
        frame.clear();
        frame.put_slice(&[0; HEAD]);
        frame.put_u64(seqno);
        for (key, value) in entries {
            frame.put_u32(len(key)?);
            frame.put_slice(key);
            match value {
                Some(value) => {
                    frame.put_u32(len(value)?);
                    frame.put_slice(value);
                }
                None => frame.put_u32(DELETED),
            }
        }
        let Some((head, body)) = frame.split_first_chunk_mut::<HEAD>() else { return Ok(()) };
        let mut head = &mut head[..];
        head.put_u32(u32::try_from(body.len()).map_err(|_| too_long())?);
        head.put_u64(xxh3_64(body));
        self.write(&frame)?;
        if frame.capacity() <= KEPT_BUFFER {
            self.buffer = frame;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{NAME}{}", self.number))
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let (file, len) = match &mut self.file {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().create_new(true).append(true).open(self.path())?;
                self.file.insert((file, 0))
            }
        };
        if let Err(error) = file.write_all(frame) {
            // Nothing behind half a frame would be found.
            file.set_len(*len)?;
            return Err(error);
        }
        *len += frame.len() as u64;
        Ok(())
    }

    /// How many bytes the files have that were not given away.
    pub(super) fn len(&self) -> u64 {
        self.old_len + self.file.as_ref().map_or(0, |(_, len)| *len)
    }

    /// What follows goes into another file. Returns those before it: they may be removed when all that they have is in
    /// tables.
    pub(super) fn rotate(&mut self) -> Vec<PathBuf> {
        self.old_len = 0;
        let mut finished = std::mem::take(&mut self.old);
        if self.file.take().is_some() {
            finished.push(self.path());
            self.number += 1;
        }
        finished
    }

    /// Forgets everything, files that were given away too.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.rotate();
        let all = files(&self.directory)?;
        remove(&all.into_iter().map(|(_, path)| path).collect::<Vec<_>>())
    }
}

/// Removes files of a journal.
pub(super) fn remove(files: &[PathBuf]) -> io::Result<()> {
    files.iter().try_for_each(|file| match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    })
}

/// The files of the journal in a directory, by their numbers.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok());
        files.extend(number.map(|number| (number, entry.path())));
    }
    files.sort_unstable();
    Ok(files)
}

/// The next frame, if it is whole, and what is behind it.
fn frame(rest: &Bytes) -> Option<(SeqNo, Vec<Entry>, Bytes)> {
    let mut head = rest.get(..HEAD)?;
    let (len, checksum) = (head.get_u32() as usize, head.get_u64());
    let end = HEAD.checked_add(len)?;
    let mut body = (rest.len() >= end).then(|| rest.slice(HEAD..end))?;
    if xxh3_64(&body) != checksum {
        return None;
    }
    let seqno = body.try_get_u64().ok()?;
    let mut entries = Vec::new();
    while body.has_remaining() {
        let key = part(&mut body)??;
        entries.push((key, part(&mut body)?));
    }
    Some((seqno, entries, rest.slice(end..)))
}

/// Takes a length and so many bytes.
fn part(body: &mut Bytes) -> Option<Option<Bytes>> {
    match body.try_get_u32().ok()? {
        DELETED => Some(None),
        len => (body.len() >= len as usize).then(|| Some(body.split_to(len as usize))),
    }
}

#[cfg(test)]
mod tests;
