//! An answer on its way out: a length, then parts that are written as they lie. Those in memory go in
//! one vectored write where the socket takes them, those in a file from there, without being read.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use vltava_protocol::wire::{FileRecords, Records};

use super::connection::within;

/// The bytes of one answer.
#[derive(Debug)]
pub(crate) struct Reply {
    parts: Vec<Records>,
}

impl Reply {
    pub(crate) fn new(parts: Vec<Records>) -> Self {
        Self { parts }
    }

    /// Writes the length and all parts. A client may read as slowly as it likes, as long as it reads something every
    /// `idle`.
    ///
    /// # Errors
    /// Those of the socket, of files that cannot be read or end too early, and [`io::ErrorKind::TimedOut`] when the
    /// client took nothing for `idle`. The connection has to be closed then: the client waits for the rest.
    pub(crate) async fn write_to(self, stream: &mut TcpStream, idle: Option<Duration>) -> io::Result<()> {
        let length: usize = self.parts.iter().map(Records::len).sum();
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut chunks = Chunks::new(length);
        for part in self.parts {
            match part {
                Records::Memory(bytes) => chunks.push(bytes),
                Records::File(records) => {
                    write_chunks(stream, &mut chunks, idle).await?;
                    send_file(stream, &records, idle).await?;
                }
            }
        }
        write_chunks(stream, &mut chunks, idle).await
    }
}

async fn write_chunks(stream: &mut TcpStream, chunks: &mut Chunks, idle: Option<Duration>) -> io::Result<()> {
    while chunks.has_remaining() {
        if progress(idle, stream.write_buf(chunks)).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// One step of the client's reading, if it comes in time.
async fn progress<T>(idle: Option<Duration>, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(idle, step).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// How much of a file goes into the socket before other connections have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// `sendfile`: from the page cache into the socket.
#[cfg(target_os = "linux")]
async fn send_file(stream: &TcpStream, records: &FileRecords, idle: Option<Duration>) -> io::Result<()> {
    let (mut position, end) = (records.position, records.position + records.len as u64);
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(TURN_BYTES).min(TURN_BYTES);
        let sending = stream.async_io(tokio::io::Interest::WRITABLE, || {
            let mut from = position;
            Ok(rustix::fs::sendfile(stream, &*records.file, Some(&mut from), wanted)?)
        });
        match progress(idle, sending).await {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(sent) => position += sent as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        tokio::task::coop::consume_budget().await;
    }
    Ok(())
}

/// Reads and writes, piece by piece.
#[cfg(not(target_os = "linux"))]
async fn send_file(stream: &mut TcpStream, records: &FileRecords, idle: Option<Duration>) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let (mut position, end) = (records.position, records.position + records.len as u64);
    let mut piece = vec![0; records.len.min(TURN_BYTES / 8)];
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(piece.len()).min(piece.len());
        let read = piece.get_mut(..wanted).unwrap_or_default();
        records.file.read_exact_at(read, position)?;
        let mut unsent: &[u8] = read;
        while !unsent.is_empty() {
            let sent = progress(idle, stream.write(unsent)).await?;
            unsent = unsent.get(sent..).unwrap_or_default();
        }
        position += wanted as u64;
    }
    Ok(())
}

/// What is written next of the parts in memory, in this order.
#[derive(Debug)]
struct Chunks {
    length: [u8; 4],
    /// How much of `length` is written.
    length_at: usize,
    chunks: VecDeque<Bytes>,
    remaining: usize,
}

impl Chunks {
    fn new(length: [u8; 4]) -> Self {
        Self { length, length_at: 0, chunks: VecDeque::new(), remaining: length.len() }
    }

    fn push(&mut self, chunk: Bytes) {
        self.remaining += chunk.len();
        self.chunks.push_back(chunk);
    }

    fn unwritten_length(&self) -> &[u8] {
        self.length.get(self.length_at..).unwrap_or_default()
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        let length = self.unwritten_length();
        if length.is_empty() { self.chunks.front().map_or(&[], |chunk| chunk.as_ref()) } else { length }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let length = self.unwritten_length();
        let first = (!length.is_empty()).then_some(length);
        let rest = self.chunks.iter().map(Bytes::as_ref).filter(|chunk| !chunk.is_empty());
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(first.into_iter().chain(rest)) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        self.remaining -= count;
        let of_length = count.min(self.length.len() - self.length_at);
        self.length_at += of_length;
        count -= of_length;
        while let Some(front) = self.chunks.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn any_split_of_the_writes_gives_the_same_bytes() {
        let chunks = || [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cdefg")];
        for step in 1..=11 {
            let mut reply = Chunks::new([0, 0, 0, 7]);
            chunks().into_iter().for_each(|chunk| reply.push(chunk));
            let mut out = Vec::new();
            while reply.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = reply.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                assert_eq!(all.len(), reply.remaining());
                let taken = step.min(all.len());
                out.extend_from_slice(&all[..taken]);
                reply.advance(taken);
            }
            assert_eq!(out, b"\0\0\0\x07abcdefg");
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    fn file(bytes: &[u8]) -> Arc<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[tokio::test]
    async fn parts_in_files_go_between_those_in_memory() {
        // More than a socket takes at once, and more than a turn.
        let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let file = file(&large);
        let range = |position, len| Records::File(FileRecords { file: Arc::clone(&file), position, len });
        let memory = |bytes: &'static [u8]| Records::Memory(Bytes::from_static(bytes));
        let reply =
            Reply::new(vec![memory(b"head"), range(10, 4_000_000), memory(b"between"), range(0, 3), memory(b"")]);
        let mut expected = Vec::from(4_000_014_u32.to_be_bytes());
        for part in [b"head", &large[10..4_000_010], b"between", &large[..3]] {
            expected.extend_from_slice(part);
        }
        let (mut writer, mut reader) = pair().await;
        let mut read = Vec::new();
        let writing = async move { reply.write_to(&mut writer, None).await.unwrap() };
        let (_, done) = tokio::join!(writing, reader.read_to_end(&mut read));
        done.unwrap();
        assert!(read == expected, "{} bytes of {}", read.len(), expected.len());
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_what_counts_and_not_the_length_of_the_writing() {
        const SIZE: usize = 8 << 20;
        let file = file(&vec![1; SIZE]);
        for records in [
            Records::Memory(Bytes::from(vec![1; SIZE])),
            Records::File(FileRecords { file: Arc::clone(&file), position: 0, len: SIZE }),
        ] {
            let idle = Duration::from_secs(10);
            let (mut writer, mut reader) = pair().await;
            let reply = Reply::new(vec![records.clone()]);
            let writing = tokio::spawn(async move { reply.write_to(&mut writer, Some(idle)).await });
            let begun = tokio::time::Instant::now();
            let mut read = 0;
            while read < SIZE + 4 {
                // What the sockets hold between two turns is less than a turn reads.
                let mut buffer = vec![0; SIZE / 4];
                tokio::time::sleep(idle * 9 / 10).await;
                let turn = buffer.len().min(SIZE + 4 - read);
                read += reader.read_exact(&mut buffer[..turn]).await.unwrap();
            }
            writing.await.unwrap().unwrap();
            assert!(begun.elapsed() > 3 * idle);

            let (mut writer, _silent) = pair().await;
            let error = Reply::new(vec![records]).write_to(&mut writer, Some(idle)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_too_early_is_an_error() {
        let records = Records::File(FileRecords { file: file(b"abc"), position: 1, len: 3 });
        let (mut writer, _reader) = pair().await;
        let error = Reply::new(vec![records]).write_to(&mut writer, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
