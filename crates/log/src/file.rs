//! Positional reads and writes of whole buffers, in one place so that tests can make them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::buffer::spare_capacity;

/// Opens for reading and writing; creates the file where `create`.
pub(crate) fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

/// Writes all of `buffer` at `position`.
pub(crate) fn write_all_at(file: &File, buffer: &[u8], position: u64) -> io::Result<()> {
    #[cfg(test)]
    if let Some(allowed) = faults::write_budget(buffer.len()) {
        file.write_all_at(buffer.get(..allowed).unwrap_or(buffer), position)?;
        return Err(faults::disk_full());
    }
    file.write_all_at(buffer, position)
}

/// Writes all of `buffers`, one after the other, at `position`: one system call where the kernel takes them whole.
pub(crate) fn write_vectored_all_at(file: &File, mut buffers: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
    #[cfg(test)]
    {
        let length = buffers.iter().map(|b| b.len()).sum();
        if let Some(allowed) = faults::write_budget(length) {
            let all: Vec<u8> = buffers.iter().flat_map(|b| b.iter().copied()).take(allowed).collect();
            file.write_all_at(&all, position)?;
            return Err(faults::disk_full());
        }
    }
    while !buffers.is_empty() {
        // The kernel refuses more than IOV_MAX (1024) slices.
        let batch = buffers.get(..1024).unwrap_or(buffers);
        match rustix::io::pwritev(file, batch, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut buffers, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Fills `buffer` from `position`. An end of file before that is an error.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    #[cfg(test)]
    faults::check_read()?;
    file.read_exact_at(buffer, position)
}

/// Appends up to `length` bytes from `position` to `buffer`, fewer only at the end of the file. The buffer's memory
/// is not cleared first.
pub(crate) fn read_up_to_at(file: &File, buffer: &mut Vec<u8>, length: usize, position: u64) -> io::Result<()> {
    #[cfg(test)]
    faults::check_read()?;
    let end = buffer.len() + length;
    buffer.reserve_exact(length);
    while buffer.len() < end {
        let done = (length - (end - buffer.len())) as u64;
        let missing = end - buffer.len();
        let read = if buffer.capacity() == end {
            rustix::io::pread(file, spare_capacity(buffer), position + done)
        } else {
            // More room than asked for: a plain slice keeps the read within the limit.
            let start = buffer.len();
            buffer.resize(end, 0);
            let read = rustix::io::pread(file, buffer.get_mut(start..).unwrap_or_default(), position + done);
            buffer.truncate(start + read.unwrap_or(0));
            read
        };
        match read {
            Ok(0) => break,
            Ok(n) if n >= missing => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// `fdatasync`: the data and the length.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::check_sync()?;
    file.sync_data()
}

/// Makes renames, creations and deletions inside `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::check_sync()?;
    File::open(dir)?.sync_all()
}

/// Writes `contents` to `path` so that after a crash there is either the old or the new file, whole.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace(path, contents, true)?;
    match path.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// As [`write_atomically`] for the reader and for a kill of the process, without waiting for the disk: after a loss of
/// power the file may be the old one or empty.
pub(crate) fn write_unsynced(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace(path, contents, false)
}

fn replace(path: &Path, contents: &[u8], sync: bool) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = Path::new(&name);
    let file = File::create(temporary)?;
    write_all_at(&file, contents, 0)?;
    if sync {
        sync_data(&file)?;
    }
    drop(file);
    std::fs::rename(temporary, path)
}

/// Brings a file that was written earlier to the disk; one that is gone needs nothing.
pub(crate) fn sync_path(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => sync_data(&file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Removes a file; that it does not exist is fine.
pub(crate) fn remove_if_exists(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Renames a file; that it does not exist is fine.
pub(crate) fn rename_if_exists(from: &Path, to: &Path) -> io::Result<bool> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Faults that a test injects into the file operations of its own thread.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static SYNCS: Cell<usize> = const { Cell::new(0) };
        static WRITABLE_BYTES: Cell<Option<usize>> = const { Cell::new(None) };
        static FAIL_READS: Cell<bool> = const { Cell::new(false) };
        static FAIL_SYNC: Cell<bool> = const { Cell::new(false) };
    }

    /// The disk has room for `bytes` more; the write that crosses this is cut there.
    pub(crate) fn disk_full_after(bytes: usize) {
        WRITABLE_BYTES.set(Some(bytes));
    }

    /// Every read fails.
    pub(crate) fn fail_reads() {
        FAIL_READS.set(true);
    }

    /// Every fsync fails.
    pub(crate) fn fail_sync() {
        FAIL_SYNC.set(true);
    }

    /// All is well again.
    pub(crate) fn clear() {
        WRITABLE_BYTES.set(None);
        FAIL_READS.set(false);
        FAIL_SYNC.set(false);
    }

    pub(super) fn write_budget(length: usize) -> Option<usize> {
        let left = WRITABLE_BYTES.get()?;
        WRITABLE_BYTES.set(Some(left.saturating_sub(length)));
        (length > left).then_some(left)
    }

    pub(super) fn disk_full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    pub(super) fn check_read() -> io::Result<()> {
        if FAIL_READS.get() { Err(io::Error::other("injected read error")) } else { Ok(()) }
    }

    /// How often this thread has waited for the disk.
    pub(crate) fn syncs() -> usize {
        SYNCS.get()
    }

    pub(super) fn check_sync() -> io::Result<()> {
        SYNCS.set(SYNCS.get() + 1);
        if FAIL_SYNC.get() { Err(io::Error::other("injected sync error")) } else { Ok(()) }
    }
}
