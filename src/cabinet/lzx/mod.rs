//! LZX as cabinets use it: windows of 2^15 to 2^21 bytes, chunks that unpack to 32 KiB ([MS-PATCH] 2).
//! Owns the window. Every read of bits, every offset and every length is checked where it is used, so
//! that a chunk of hostile bytes is an error in time linear in its size.
//!
//! Order of events in a chunk: the first one of a folder says whether calls were translated; then come
//! blocks, which chunks cut where they like: a block's head with its trees, then literals and matches, or
//! plain bytes. At a chunk's end the bits begin anew.
//!
//! [MS-PATCH]: https://learn.microsoft.com/en-us/openspecs/exchange_server_protocols/ms-patch/

mod bits;
mod calls;
mod tree;

use super::limits::MAX_BLOCK_BYTES;
use bits::Bits;
use tree::{Lengths, Tree};

const LITERALS: usize = 256;
const MIN_MATCH: usize = 2;
/// Lengths from here on have a symbol of their own in the length tree.
const LONG_MATCH: usize = 7;
const LENGTH_SYMBOLS: usize = 249;
const ALIGNED_SYMBOLS: usize = 8;
/// Of a window of 2^21 bytes, the largest.
const MAX_SLOTS: usize = 50;
/// Bits behind each position slot.
const FOOTER_BITS: [u8; MAX_SLOTS] = footer_bits();
/// Where each position slot begins.
const BASE: [u32; MAX_SLOTS] = bases();

/// One folder's decoder.
#[derive(Debug)]
pub(super) struct Lzx {
    /// The last bytes; a chunk never wraps, because all but the last are 32 KiB.
    window: Box<[u8]>,
    /// How much was decoded, in bytes; modulo the window's size it is the place to write to.
    position: u64,
    /// The offsets of the last matches.
    recent: [u32; 3],
    main_lengths: Lengths,
    length_lengths: Lengths,
    main: Tree,
    length: Tree,
    aligned: Tree,
    block: Block,
    /// `Some` once the first chunk was begun; then the size for calls, if they were translated.
    translation: Option<Option<i32>>,
}

#[derive(Debug)]
struct Block {
    kind: Kind,
    /// Bytes that it still unpacks to.
    remaining: usize,
    /// A byte of padding follows its plain bytes.
    is_padded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Verbatim,
    Aligned,
    Uncompressed,
}

impl Lzx {
    /// `window_bits` is 15 to 21.
    pub(super) fn new(window_bits: u8) -> Self {
        let slots = match window_bits {
            20 => 42,
            21.. => MAX_SLOTS,
            bits => 2 * usize::from(bits),
        };
        Self {
            window: vec![0; 1 << window_bits].into_boxed_slice(),
            position: 0,
            recent: [1; 3],
            main_lengths: Lengths::new(LITERALS + 8 * slots),
            length_lengths: Lengths::new(LENGTH_SYMBOLS),
            main: Tree::empty(),
            length: Tree::empty(),
            aligned: Tree::empty(),
            block: Block { kind: Kind::Uncompressed, remaining: 0, is_padded: false },
            translation: None,
        }
    }

    /// Unpacks the next chunk into `out`, which gets exactly `unpacked` bytes. All chunks but the last are
    /// of 32 KiB; that is for the caller to see to. After an error there is nothing further to be had.
    pub(super) fn decode(&mut self, chunk: &[u8], unpacked: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let begin = (self.position % self.window.len() as u64) as usize;
        let end = begin + unpacked;
        if unpacked > MAX_BLOCK_BYTES || end > self.window.len() {
            return Err("a chunk of more than 32 KiB");
        }
        let mut bits = Bits::new(chunk);
        if self.translation.is_none() {
            self.translation = Some(read_translation(&mut bits)?);
        }
        let mut at = begin;
        while at < end {
            self.skip_padding(&mut bits);
            if self.block.remaining == 0 {
                self.begin_block(&mut bits)?;
            }
            let run = at..end.min(at + self.block.remaining);
            match self.block.kind {
                Kind::Uncompressed => bits.bytes(&mut self.window[run.clone()])?,
                Kind::Verbatim => self.tokens::<false>(&mut bits, run.start, run.end, begin)?,
                Kind::Aligned => self.tokens::<true>(&mut bits, run.start, run.end, begin)?,
            }
            self.block.remaining -= run.len();
            at = run.end;
        }
        self.skip_padding(&mut bits);
        out.clear();
        out.extend_from_slice(&self.window[begin..end]);
        if let Some(Some(size)) = self.translation {
            calls::restore(out, self.position, size);
        }
        self.position += unpacked as u64;
        Ok(())
    }

    /// The byte behind an odd number of plain bytes is in this chunk, or the first of the next one.
    fn skip_padding(&mut self, bits: &mut Bits<'_>) {
        if self.block.remaining == 0 && self.block.is_padded {
            self.block.is_padded = bits.byte().is_none();
        }
    }

    fn begin_block(&mut self, bits: &mut Bits<'_>) -> Result<(), &'static str> {
        let kind = bits.read(3)?;
        let remaining = (bits.read(16)? << 8 | bits.read(8)?) as usize;
        if remaining == 0 {
            return Err("an empty block");
        }
        let kind = match kind {
            1 => Kind::Verbatim,
            2 => Kind::Aligned,
            3 => Kind::Uncompressed,
            _ => return Err("a block of an unknown kind"),
        };
        if kind == Kind::Uncompressed {
            bits.begin_bytes()?;
            for offset in &mut self.recent {
                let mut bytes = [0; 4];
                bits.bytes(&mut bytes)?;
                *offset = u32::from_le_bytes(bytes);
            }
        } else {
            self.read_trees(bits, kind == Kind::Aligned)?;
        }
        let is_padded = kind == Kind::Uncompressed && !remaining.is_multiple_of(2);
        self.block = Block { kind, remaining, is_padded };
        Ok(())
    }

    fn read_trees(&mut self, bits: &mut Bits<'_>, is_aligned: bool) -> Result<(), &'static str> {
        if is_aligned {
            let mut lengths = [0; ALIGNED_SYMBOLS];
            for length in &mut lengths {
                *length = bits.read(3)? as u8;
            }
            self.aligned.build(&lengths)?;
        }
        self.main_lengths.read(bits, 0..LITERALS)?;
        self.main_lengths.read(bits, LITERALS..self.main_lengths.len())?;
        self.main.build(&self.main_lengths)?;
        self.length_lengths.read(bits, 0..LENGTH_SYMBOLS)?;
        // Without long matches there are no lengths.
        if self.length_lengths.iter().all(|length| *length == 0) {
            self.length = Tree::empty();
            return Ok(());
        }
        self.length.build(&self.length_lengths)
    }

    /// Literals and matches for `at..end` of the window; the chunk began at `begin`.
    fn tokens<const ALIGNED: bool>(
        &mut self,
        bits: &mut Bits<'_>,
        mut at: usize,
        end: usize,
        begin: usize,
    ) -> Result<(), &'static str> {
        while at < end {
            bits.refill();
            let symbol = usize::from(self.main.symbol(bits)?);
            if symbol < LITERALS {
                self.window[at] = symbol as u8;
                at += 1;
                continue;
            }
            let mut length = symbol % 8;
            if length == LONG_MATCH {
                length += usize::from(self.length.symbol(bits)?);
            }
            let length = length + MIN_MATCH;
            let offset = self.offset::<ALIGNED>(bits, (symbol - LITERALS) / 8)?;
            let known = self.position + (at - begin) as u64;
            if offset == 0 || u64::from(offset) > known || offset as usize > self.window.len() {
                return Err("a match of bytes that are not there");
            }
            if length > end - at {
                return Err("a match beyond the end of its block or chunk");
            }
            self.copy(at, offset as usize, length);
            at += length;
        }
        Ok(())
    }

    fn offset<const ALIGNED: bool>(&mut self, bits: &mut Bits<'_>, slot: usize) -> Result<u32, &'static str> {
        if slot < self.recent.len() {
            self.recent.swap(0, slot);
            return Ok(self.recent[0]);
        }
        let count = FOOTER_BITS[slot];
        let footer = if ALIGNED && count >= 3 {
            (bits.take(count - 3)? << 3) | u32::from(self.aligned.symbol(bits)?)
        } else {
            bits.take(count)?
        };
        let offset = BASE[slot] + footer - 2;
        self.recent = [offset, self.recent[0], self.recent[1]];
        Ok(offset)
    }

    /// Copies `length` bytes to `at` from `offset` bytes before, which may lie at the window's other end.
    fn copy(&mut self, at: usize, offset: usize, length: usize) {
        if offset > at {
            let from = self.window.len() + at - offset;
            let until_end = length.min(self.window.len() - from);
            (0..until_end).for_each(|n| self.window[at + n] = self.window[from + n]);
            (until_end..length).for_each(|n| self.window[at + n] = self.window[n - until_end]);
        } else if offset >= length {
            self.window.copy_within(at - offset..at - offset + length, at);
        } else {
            // Bytes of the match are copied again.
            let window = &mut self.window[at - offset..at + length];
            (offset..window.len()).for_each(|n| window[n] = window[n - offset]);
        }
    }
}

fn read_translation(bits: &mut Bits<'_>) -> Result<Option<i32>, &'static str> {
    if bits.read(1)? == 0 {
        return Ok(None);
    }
    Ok(Some((bits.read(16)? << 16 | bits.read(16)?) as i32))
}

const fn footer_bits() -> [u8; MAX_SLOTS] {
    let mut bits = [0; MAX_SLOTS];
    let mut slot = 4;
    while slot < MAX_SLOTS {
        bits[slot] = if slot < 36 { (slot / 2 - 1) as u8 } else { 17 };
        slot += 1;
    }
    bits
}

const fn bases() -> [u32; MAX_SLOTS] {
    let mut bases = [0; MAX_SLOTS];
    let mut slot = 1;
    while slot < MAX_SLOTS {
        bases[slot] = bases[slot - 1] + (1 << FOOTER_BITS[slot - 1]);
        slot += 1;
    }
    bases
}

#[cfg(test)]
mod tests;
