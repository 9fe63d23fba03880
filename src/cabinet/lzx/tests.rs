//! What the fixtures' encoder packs comes out again, and nothing hostile does harm.

use super::{
    super::cabs::lzx::{BlockKind, CHUNK_BYTES, Lzx as Encoder},
    Lzx,
};

/// Bytes that repeat at near and far distances, with calls among them.
fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(bytes + 300);
    while out.len() < bytes {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let (kind, value) = (state >> 61, (state >> 20) as usize);
        match kind {
            0 | 1 => out.extend(&state.to_le_bytes()[4..]),
            2 => out.extend([0xe8, value as u8, (value >> 8) as u8, (value >> 16) as u8 & 7, 0]),
            3 => out.extend(vec![value as u8; value % 300]),
            _ => {
                let from = value.checked_rem(out.len()).unwrap_or(0);
                out.extend_from_within(from..out.len().min(from + 3 + value % 290));
            }
        }
    }
    out.truncate(bytes);
    out
}

fn decoded(encoder: &Encoder, data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decoder = Lzx::new(encoder.window_bits as u8);
    let (mut all, mut out) = (Vec::new(), Vec::new());
    for (chunk, plain) in encoder.encode(data).iter().zip(data.chunks(CHUNK_BYTES)) {
        decoder.decode(chunk, plain.len(), &mut out)?;
        all.extend(&out);
    }
    Ok(all)
}

#[test]
fn every_window_gives_back_what_was_packed() {
    for window_bits in 15..=21 {
        let data = content((1 << window_bits) + 70_000, window_bits.into());
        // Mostly plain: these are soon packed, and fill the window as well.
        let packed = [BlockKind::Verbatim, BlockKind::Aligned];
        let kinds = [&packed[..], &[BlockKind::Uncompressed; 14]].concat();
        let encoder = Encoder { kinds, block_bytes: 70_000, ..Encoder::new(window_bits) };
        assert!(decoded(&encoder, &data).unwrap() == data, "{window_bits}");
    }
}

#[test]
fn blocks_of_any_kind_and_size_end_where_they_like() {
    let data = content(3 * CHUNK_BYTES + 77, 5);
    let kinds = [BlockKind::Verbatim, BlockKind::Aligned, BlockKind::Uncompressed];
    for block_bytes in [1, 3, 257, 4_095, 32_767, 32_768, 32_769, 65_535, 1 << 20] {
        // Small blocks are mostly trees; a chunk can't be as long as all of them.
        let data = if block_bytes < 257 { &data[..300] } else { &data[..] };
        for kinds in [&kinds[..1], &kinds[1..2], &kinds[2..], &kinds] {
            let encoder = Encoder { kinds: kinds.to_vec(), block_bytes, ..Encoder::new(16) };
            assert!(decoded(&encoder, data).unwrap() == data, "{block_bytes} {kinds:?}");
        }
    }
}

#[test]
fn translated_calls_come_back() {
    let data = content(4 * CHUNK_BYTES + 5, 6);
    for size in [data.len() as i32, 12_345, i32::MAX, 1] {
        let encoder = Encoder { translation_size: Some(size), ..Encoder::new(17) };
        assert!(decoded(&encoder, &data).unwrap() == data, "{size}");
    }
}

#[test]
fn padding_is_found_at_the_end_of_a_chunk_and_at_the_beginning_of_the_next() {
    let encoder = Encoder { kinds: vec![BlockKind::Uncompressed], ..Encoder::new(15) };
    let first = encoder.encode(b"a").remove(0);
    assert_eq!(first.last(), Some(&0), "the padding");
    // The block of the second chunk without the bit that begins a folder.
    let second = relocated(&encoder.encode(b"b")[0]);
    let moved = (first[..first.len() - 1].to_vec(), [&[0], &second[..]].concat());
    for (first, second) in [(first, second), moved] {
        let (mut decoder, mut out) = (Lzx::new(15), Vec::new());
        decoder.decode(&first, 1, &mut out).unwrap();
        decoder.decode(&second, 1, &mut out).unwrap();
        assert_eq!(out, b"b");
    }
}

/// A chunk of one plain block without its first bit; both fit into two words.
fn relocated(chunk: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from(u16::from_le_bytes([chunk[at], chunk[at + 1]]));
    let bits = (word(0) << 16 | word(2)) << 1;
    let words = [(bits >> 16) as u16, bits as u16].map(u16::to_le_bytes).concat();
    [&words, &chunk[4..]].concat()
}

#[test]
fn matches_of_bytes_that_are_not_there_are_refused() {
    // Plain bytes, and then matches of the offset that the plain block's head has first.
    let data: Vec<u8> = (0..100).chain([99; 300]).collect();
    let kinds = vec![BlockKind::Uncompressed, BlockKind::Verbatim];
    let chunk = Encoder { kinds, block_bytes: 100, ..Encoder::new(15) }.encode(&data).remove(0);
    assert_eq!(chunk[4..8], [1, 0, 0, 0]);
    for (offset, is_there) in [(1_u32, true), (100, true), (101, false), (0, false), (32_769, false), (u32::MAX, false)]
    {
        let mut chunk = chunk.clone();
        chunk[4..8].copy_from_slice(&offset.to_le_bytes());
        let decoded = Lzx::new(15).decode(&chunk, 400, &mut Vec::new());
        assert_eq!(decoded.is_ok(), is_there, "{offset}");
    }
}

#[test]
fn less_or_more_than_was_claimed_is_an_error() {
    let data = content(1_000, 8);
    let chunk = Encoder::new(15).encode(&data).remove(0);
    let mut out = Vec::new();
    for claimed in [1_001, 32_768] {
        assert!(Lzx::new(15).decode(&chunk, claimed, &mut out).is_err(), "{claimed}");
    }
    assert_eq!(Lzx::new(15).decode(&chunk, 32_769, &mut out), Err("a chunk of more than 32 KiB"));
}
