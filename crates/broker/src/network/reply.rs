//! An answer on its way out: a length, then chunks that are written as they lie, in one vectored
//! write where the socket takes them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The bytes of one answer.
#[derive(Debug)]
pub(crate) struct Reply {
    length: [u8; 4],
    /// How much of `length` is written.
    length_at: usize,
    chunks: VecDeque<Bytes>,
    remaining: usize,
}

impl Reply {
    pub(crate) fn new(chunks: Vec<Bytes>) -> Self {
        let body: usize = chunks.iter().map(Bytes::len).sum();
        let length = u32::try_from(body).unwrap_or(u32::MAX).to_be_bytes();
        Self { length, length_at: 0, chunks: chunks.into(), remaining: body + length.len() }
    }

    fn unwritten_length(&self) -> &[u8] {
        self.length.get(self.length_at..).unwrap_or_default()
    }
}

impl Buf for Reply {
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
    use super::*;

    #[test]
    fn any_split_of_the_writes_gives_the_same_bytes() {
        let chunks = || vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cdefg")];
        for step in 1..=11 {
            let mut reply = Reply::new(chunks());
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
}
