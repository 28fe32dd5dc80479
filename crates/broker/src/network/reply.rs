//! An answer on its way out: a length, then parts that are written as they lie. Those in memory go in
//! one vectored write where the transport takes them; those in a file go from there into a plain socket without being
//! read, and piece by piece into any other transport.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use vltava_protocol::wire::{FileRecords, Records};

use super::transport::{Transport, within};
use crate::dispatch::Reply;

/// Writes the length and all parts of an answer. A client may read as slowly as it likes, as long as it reads something
/// every `idle`.
///
/// # Errors
/// Those of the transport, of files that cannot be read or end too early, and [`io::ErrorKind::TimedOut`] when the
/// client took nothing for `idle`. The connection has to be closed then: the client waits for the rest.
pub(super) async fn write<T: Transport>(reply: Reply, transport: &mut T, idle: Option<Duration>) -> io::Result<()> {
    let length: usize = reply.parts.iter().map(Records::len).sum();
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut chunks = Chunks::new(length);
    for part in reply.parts {
        match part {
            Records::Memory(bytes) => chunks.push(bytes),
            Records::File(records) => {
                write_chunks(transport, &mut chunks, idle).await?;
                write_file(transport, &records, idle).await?;
            }
        }
    }
    write_chunks(transport, &mut chunks, idle).await?;
    progress(idle, transport.flush()).await
}

async fn write_chunks<T: Transport>(transport: &mut T, chunks: &mut Chunks, idle: Option<Duration>) -> io::Result<()> {
    while chunks.has_remaining() {
        if progress(idle, transport.write_buf(chunks)).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// One step of the client's reading, if it comes in time.
async fn progress<T>(idle: Option<Duration>, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    within(idle, step).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

async fn write_file<T: Transport>(transport: &mut T, records: &FileRecords, idle: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(socket) = transport.plain() {
        return send_file(socket, records, idle).await;
    }
    copy_file(transport, records, idle).await
}

/// How much of a file goes into the socket before other connections have their turn.
#[cfg(target_os = "linux")]
const TURN_BYTES: usize = 1024 * 1024;

/// `sendfile`: from the page cache into the socket.
#[cfg(target_os = "linux")]
async fn send_file(socket: &tokio::net::TcpStream, records: &FileRecords, idle: Option<Duration>) -> io::Result<()> {
    let (mut position, end) = (records.position, records.position + records.len as u64);
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(TURN_BYTES).min(TURN_BYTES);
        let sending = socket.async_io(tokio::io::Interest::WRITABLE, || {
            let mut from = position;
            Ok(rustix::fs::sendfile(socket, &*records.file, Some(&mut from), wanted)?)
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

/// How much of a file is in memory on its way into a transport that takes only bytes.
const PIECE_BYTES: usize = 128 * 1024;

/// Reads and writes, piece by piece.
async fn copy_file<T: Transport>(transport: &mut T, records: &FileRecords, idle: Option<Duration>) -> io::Result<()> {
    let (mut position, end) = (records.position, records.position + records.len as u64);
    let mut piece = vec![0; records.len.min(PIECE_BYTES)];
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(piece.len()).min(piece.len());
        let read = piece.get_mut(..wanted).unwrap_or_default();
        records.file.read_exact_at(read, position)?;
        let mut unsent: &[u8] = read;
        while !unsent.is_empty() {
            match progress(idle, transport.write(unsent)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => unsent = unsent.get(sent..).unwrap_or_default(),
            }
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
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufWriter, DuplexStream, ReadBuf};
    use tokio::net::{TcpSocket, TcpStream};

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

    /// Two ends that hold little between them: left to the system, they would hold more with time.
    async fn pair() -> (TcpStream, TcpStream) {
        const HELD: u32 = 64 * 1024;
        let small = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_send_buffer_size(HELD).unwrap();
            socket.set_recv_buffer_size(HELD).unwrap();
            socket
        };
        let listening = small();
        listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listening.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(small().connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// Stands for what encrypts: it is given bytes only, and may keep them until it is flushed.
    struct Kept(BufWriter<DuplexStream>);

    impl Kept {
        fn pair() -> (Self, DuplexStream) {
            let (one, other) = tokio::io::duplex(64 * 1024);
            (Self(BufWriter::new(one)), other)
        }
    }

    impl Transport for Kept {}

    impl AsyncRead for Kept {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, into)
        }
    }

    impl AsyncWrite for Kept {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    fn file(bytes: &[u8]) -> Arc<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[tokio::test]
    async fn parts_in_files_go_between_those_in_memory() {
        parts_arrive(pair().await).await;
        parts_arrive(Kept::pair()).await;
    }

    async fn parts_arrive((mut writer, mut reader): (impl Transport, impl AsyncRead + Unpin)) {
        // More than a socket takes at once, more than a turn, and no multiple of a piece.
        let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let file = file(&large);
        let range = |position, len| Records::File(FileRecords { file: Arc::clone(&file), position, len });
        let memory = |bytes: &'static [u8]| Records::Memory(Bytes::from_static(bytes));
        let parts = vec![memory(b"head"), range(10, 4_000_000), memory(b"between"), range(0, 3), memory(b"")];
        let mut expected = Vec::from(4_000_014_u32.to_be_bytes());
        for part in [b"head", &large[10..4_000_010], b"between", &large[..3]] {
            expected.extend_from_slice(part);
        }
        // The connection stays open: all of the answer has to arrive without its end.
        let mut read = vec![0; expected.len()];
        let (written, arrived) = tokio::join!(write(Reply { parts }, &mut writer, None), reader.read_exact(&mut read));
        written.unwrap();
        arrived.unwrap();
        assert!(read == expected);
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_what_counts_and_not_the_length_of_the_writing() {
        const SIZE: usize = 8 << 20;
        let file = file(&vec![1; SIZE]);
        let in_file = Records::File(FileRecords { file, position: 0, len: SIZE });
        let in_memory = Records::Memory(Bytes::from(vec![1; SIZE]));
        for records in [in_memory, in_file] {
            only_idleness_ends(SIZE, records.clone(), pair().await, pair().await).await;
            only_idleness_ends(SIZE, records, Kept::pair(), Kept::pair()).await;
        }
    }

    async fn only_idleness_ends<T: Transport + 'static, R: AsyncRead + Unpin>(
        size: usize,
        records: Records,
        (mut slow, mut reader): (T, R),
        (mut silent, _quiet): (T, R),
    ) {
        let idle = Duration::from_secs(10);
        let reply = Reply { parts: vec![records.clone()] };
        let writing = tokio::spawn(async move { write(reply, &mut slow, Some(idle)).await });
        let begun = tokio::time::Instant::now();
        let mut read = 0;
        while read < size + 4 {
            // What the sockets hold between two turns is less than a turn reads.
            let mut buffer = vec![0; size / 4];
            tokio::time::sleep(idle * 9 / 10).await;
            let turn = buffer.len().min(size + 4 - read);
            // The sockets are real: the clock must not go on by itself while the system moves the bytes.
            read += tokio::select! {
                biased;
                read = reader.read_exact(&mut buffer[..turn]) => read.unwrap(),
                () = busy() => unreachable!("it never ends"),
            };
        }
        writing.await.unwrap().unwrap();
        assert!(begun.elapsed() > 3 * idle);

        let error = write(Reply { parts: vec![records] }, &mut silent, Some(idle)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Keeps a paused clock where it is.
    async fn busy() {
        loop {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_too_early_is_an_error() {
        let file = file(b"abc");
        let parts = || vec![Records::File(FileRecords { file: Arc::clone(&file), position: 1, len: 3 })];
        let (mut writer, _reader) = pair().await;
        let error = write(Reply { parts: parts() }, &mut writer, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let (mut writer, _reader) = Kept::pair();
        let error = write(Reply { parts: parts() }, &mut writer, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
