use proptest::prelude::*;

use super::*;

const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compress(codec: impl Into<Codec>, input: &[u8]) -> Vec<u8> {
    Compressor::new().compress(codec.into(), input).unwrap().to_vec()
}

/// Text that compresses to about a fifth.
fn text(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|i| format!("the {}th whale of {}; ", i % 97, i * 31 % 13).into_bytes()).take(length).collect()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn every_codec_round_trips_every_size() {
    let mut compressor = Compressor::new();
    let mut decompressor = Decompressor::new();
    for compression in Compression::ALL {
        for size in [0, 1, 100, 32_767, 32_768, 32_769, 65_536, 65_537, 300_000] {
            for input in [text(size), noise(size), vec![0; size]] {
                let compressed = compressor.compress(compression.into(), &input).unwrap();
                let decompressed = decompressor.decompress(compression, compressed).unwrap();
                assert!(decompressed == input, "{compression} of {size} bytes");
            }
        }
    }
}

#[test]
fn every_level_round_trips() {
    let input = text(50_000);
    for (compression, levels) in [
        (Compression::Gzip, vec![-1, 1, 6, 9]),
        (Compression::Lz4, vec![1, 9, 17]),
        (Compression::Zstd, vec![-131_072, -7, 1, 3, 19, 22]),
    ] {
        let mut compressor = Compressor::new();
        for level in levels {
            let codec = Codec::with_level(compression, level).unwrap();
            let compressed = compressor.compress(codec, &input).unwrap();
            let mut decompressor = Decompressor::new();
            let decompressed = decompressor.decompress(compression, compressed).unwrap();
            assert!(decompressed == input, "{compression} level {level}");
        }
    }
}

#[test]
fn a_higher_level_compresses_better() {
    let input = text(50_000);
    for (compression, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, 1, 19)] {
        let low = compress(Codec::with_level(compression, low).unwrap(), &input);
        let high = compress(Codec::with_level(compression, high).unwrap(), &input);
        assert!(high.len() < low.len(), "{compression}");
    }
}

#[test]
fn levels_out_of_range_are_refused() {
    for (compression, level) in [
        (Compression::None, 1),
        (Compression::Snappy, 1),
        (Compression::Gzip, 0),
        (Compression::Gzip, 10),
        (Compression::Gzip, -2),
        (Compression::Lz4, 0),
        (Compression::Lz4, 18),
        (Compression::Zstd, -131_073),
        (Compression::Zstd, 23),
    ] {
        let refused = Codec::with_level(compression, level).unwrap_err();
        assert!(matches!(refused, RecordError::InvalidCompressionLevel { level: l, .. } if l == level));
    }
    assert_eq!(
        Codec::with_level(Compression::Gzip, 10).unwrap_err().to_string(),
        "invalid gzip compression level 10: must be between 1 and 9 or equal to -1"
    );
}

#[test]
fn names_and_ids_round_trip() {
    for compression in Compression::ALL {
        assert_eq!(compression.name().parse(), Ok(compression));
        assert_eq!(Compression::from_id(compression.id()), Ok(compression));
    }
    assert!("LZ4".parse::<Compression>().is_err());
    assert_eq!(Compression::from_id(5), Err(RecordError::UnknownCompression { id: 5 }));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let bomb = vec![0; 10_000_000];
    for compression in CODECS {
        let compressed = compress(compression, &bomb);
        let mut output = Vec::new();
        let result = Decompressor::with_limit(1_000_000).decompress_into(compression, &compressed, &mut output);
        let expected = RecordError::DecompressedTooLarge { limit: 1_000_000 };
        assert_eq!(result, Err(expected), "{compression}");
        assert!(output.capacity() <= 2_000_000, "{compression}");
    }
}

#[test]
fn the_limit_itself_is_allowed() {
    for compression in Compression::ALL {
        for input in [text(70_000), vec![0; 70_000]] {
            let compressed = compress(compression, &input);
            for (limit, fits) in [(70_000, true), (69_999, false)] {
                let result = Decompressor::with_limit(limit).decompress(compression, &compressed).map(<[u8]>::len);
                let expected = if fits { Ok(70_000) } else { Err(RecordError::DecompressedTooLarge { limit }) };
                assert_eq!(result, expected, "{compression}");
            }
        }
    }
}

#[test]
fn data_that_is_cut_off_is_refused() {
    let input = text(5_000);
    for compression in CODECS {
        let compressed = compress(compression, &input);
        for length in 1..compressed.len() {
            let result = Decompressor::new().decompress(compression, &compressed[..length]).map(<[u8]>::len);
            let is_prefix_of_blocks = compression == Compression::Snappy && length == 16;
            assert!(
                result.is_err() || is_prefix_of_blocks,
                "{compression} cut off at {length} of {}",
                compressed.len()
            );
        }
    }
}

/// A block that says it has 4 GiB must not make us allocate them.
#[test]
fn announced_sizes_are_not_believed() {
    let announced_by_snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    // A frame with a content size of 2^40, and one empty last block.
    let announced_by_zstd = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];
    // The trailer is where the size stands.
    let mut announced_by_gzip = compress(Compression::Gzip, b"abc");
    let size = announced_by_gzip.len();
    announced_by_gzip[size - 4..].copy_from_slice(&[0xff; 4]);
    for (compression, input) in [
        (Compression::Snappy, &announced_by_snappy[..]),
        (Compression::Zstd, &announced_by_zstd),
        (Compression::Gzip, &announced_by_gzip),
    ] {
        let mut output = Vec::new();
        let result = Decompressor::new().decompress_into(compression, input, &mut output);
        assert!(result.is_err(), "{compression}");
        assert!(output.capacity() < 1_000_000, "{compression}");
    }
}

#[test]
fn raw_snappy_is_read_as_librdkafka_writes_it() {
    let input = text(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    let mut decompressor = Decompressor::new();
    let decompressed = decompressor.decompress(Compression::Snappy, &raw).unwrap();
    assert!(decompressed == input);
}

#[test]
fn snappy_streams_and_gzip_members_may_follow_one_another() {
    for compression in [Compression::Snappy, Compression::Gzip, Compression::Zstd] {
        let mut compressed = compress(compression, b"Call me ");
        compressed.extend(compress(compression, b"Ishmael."));
        let mut decompressor = Decompressor::new();
        let decompressed = decompressor.decompress(compression, &compressed).unwrap();
        assert_eq!(decompressed, b"Call me Ishmael.", "{compression}");
    }
}

#[test]
fn snappy_has_the_framing_of_snappy_java() {
    let compressed = compress(Compression::Snappy, &noise(40_000));
    let header = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
    assert_eq!(compressed[..16], header);
    let first = u32::from_be_bytes(compressed[16..20].try_into().unwrap()) as usize;
    assert_eq!(snap::raw::decompress_len(&compressed[20..20 + first]), Ok(32 * 1024));
}

#[test]
fn lz4_has_the_frame_of_kafka() {
    // Two blocks that do not compress, stored as they are.
    let input = noise(65_537);
    let compressed = compress(Compression::Lz4, &input);
    let header = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    assert_eq!(compressed[..7], header);
    assert_eq!(compressed[7..11], [0, 0, 1, 0x80]);
    assert_eq!(compressed[11..11 + 65_536], input[..65_536]);
    assert_eq!(compressed[65_547..], [1, 0, 0, 0x80, input[65_536], 0, 0, 0, 0]);
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    let input = text(600_000);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&input).unwrap();
        encoder.finish().unwrap()
    };
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
        let info =
            FrameInfo::new().block_size(size).block_checksums(true).content_checksum(true).content_size(Some(600_000));
        let mut compressed = frame(info);
        let mut decompressor = Decompressor::new();
        let decompressed = decompressor.decompress(Compression::Lz4, &compressed);
        assert!(decompressed.unwrap() == input);
        let middle = compressed.len() / 2;
        compressed[middle] ^= 1;
        assert!(decompressor.decompress(Compression::Lz4, &compressed).is_err());
    }
    let linked = frame(FrameInfo::new().block_mode(BlockMode::Linked));
    let refused = Decompressor::new().decompress(Compression::Lz4, &linked).unwrap_err();
    assert_eq!(refused.to_string(), "lz4 data is corrupt: blocks that depend on their predecessors are not supported");
}

#[test]
fn gzip_headers_with_all_fields_are_read() {
    let compressed = compress(Compression::Gzip, b"Call me Ishmael.");
    let mut with_fields = compressed[..10].to_vec();
    with_fields[3] = 0x04 | 0x08 | 0x10 | 0x02;
    with_fields.extend(b"\x03\x00xyzname\0comment\0\x12\x34");
    with_fields.extend(&compressed[10..]);
    let mut decompressor = Decompressor::new();
    assert_eq!(decompressor.decompress(Compression::Gzip, &with_fields), Ok(&b"Call me Ishmael."[..]));
}

#[test]
fn zstd_frames_without_content_size_are_read() {
    use std::io::Write;

    for level in [3, 22] {
        let input = text(400_000);
        let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), level).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&input).unwrap();
        let compressed = encoder.finish().unwrap();
        let mut output = Vec::new();
        Decompressor::with_limit(1_000_000).decompress_into(Compression::Zstd, &compressed, &mut output).unwrap();
        assert!(output == input, "level {level}");
        // Level 22 announces a window of 128 MiB.
        assert!(output.capacity() <= 1_000_000, "level {level}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(id in 1_u8..5, input: Vec<u8>) {
        let compression = Compression::from_id(id).unwrap();
        let mut output = Vec::new();
        let _ = Decompressor::with_limit(100_000)
            .decompress_into(compression, &input, &mut output);
        prop_assert!(output.capacity() <= 200_000);
    }

    #[test]
    fn damaged_data_never_panics(
        id in 1_u8..5,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let compression = Compression::from_id(id).unwrap();
        let mut compressed = compress(compression, &text(3_000));
        let at = at.index(compressed.len());
        compressed[at] ^= flip;
        let mut output = Vec::new();
        let _ = Decompressor::with_limit(100_000)
            .decompress_into(compression, &compressed, &mut output);
        prop_assert!(output.capacity() <= 200_000);
    }
}

#[test]
fn a_bomb_of_zstd_takes_the_memory_of_its_window() {
    // The default level announces 2 MiB, whatever is behind it.
    let bomb = compress(Compression::Zstd, &vec![0; 32 << 20]);
    let mut stream = super::zstd::ZstdStream::new(&bomb).unwrap();
    let (mut chunk, mut given) = (Vec::new(), 0);
    while stream.fill(&mut chunk).unwrap() {
        given += chunk.len();
        assert!(chunk.capacity() < 1 << 20);
        chunk.clear();
    }
    assert_eq!(given, 32 << 20);
    assert!(stream.state_size() < 4 << 20, "{}", stream.state_size());
}

#[test]
fn a_frame_that_announces_a_large_window_is_read_as_a_stream() {
    use std::io::Write;

    // Level 22 announces a window of 128 MiB.
    let input = text(100_000);
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 22).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&input).unwrap();
    let compressed = encoder.finish().unwrap();
    let mut stream = super::DecompressedStream::new(Compression::Zstd, &compressed, 1 << 20).unwrap();
    assert_eq!(stream.skip(usize::MAX), Ok(input.len()));
}
