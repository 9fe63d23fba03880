//! An LZX encoder for fixtures: greedy, with all three kinds of blocks and the translation of calls.
//! The format: [MS-PATCH] 2.1 to 2.7, as cabinets use it (windows of 2^15 to 2^21, chunks of 32 KiB).

use std::{cmp::Reverse, collections::BinaryHeap};

/// What one chunk (one CFDATA block) unpacks to.
pub const CHUNK_BYTES: usize = 32 * 1024;
const LENGTHS: usize = 249;
const MIN_MATCH: usize = 2;
const MAX_MATCH: usize = 257;
const HASH_BITS: u32 = 16;
const NONE: u32 = u32::MAX;
/// How many earlier places are compared; more packs better and takes longer.
const CHAIN: usize = 16;

/// The kinds of blocks that LZX knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Trees and tokens.
    Verbatim,
    /// The same, with the low three bits of far offsets in a tree of their own.
    Aligned,
    /// The bytes themselves.
    Uncompressed,
}

/// How to encode.
#[derive(Debug, Clone)]
pub struct Lzx {
    /// 15 to 21.
    pub window_bits: u16,
    /// What one LZX block unpacks to; at most 16 MiB.
    pub block_bytes: usize,
    /// The kinds of blocks, over and over.
    pub kinds: Vec<BlockKind>,
    /// The size that E8 translation is told; `None` leaves calls as they are.
    pub translation_size: Option<i32>,
}

impl Lzx {
    /// Verbatim blocks of 256 KiB, as few as there can be.
    pub fn new(window_bits: u16) -> Self {
        Self { window_bits, block_bytes: 8 * CHUNK_BYTES, kinds: vec![BlockKind::Verbatim], translation_size: None }
    }

    /// The chunks; each but the last unpacks to 32 KiB.
    pub fn encode(&self, data: &[u8]) -> Vec<Vec<u8>> {
        let translated = self.translation_size.map(|size| translate(data, size));
        Encoder::new(self, translated.as_deref().unwrap_or(data)).run()
    }
}

/// Relative targets of x86 calls become absolute ones.
fn translate(data: &[u8], size: i32) -> Vec<u8> {
    let mut data = data.to_vec();
    for (n, chunk) in data.chunks_mut(CHUNK_BYTES).enumerate().take(32 * 1024) {
        let mut at = 0;
        while at + 10 < chunk.len() {
            if chunk[at] != 0xe8 {
                at += 1;
                continue;
            }
            let here = i32::try_from(n * CHUNK_BYTES + at).unwrap();
            let operand: &mut [u8; 4] = (&mut chunk[at + 1..at + 5]).try_into().unwrap();
            let relative = i32::from_le_bytes(*operand);
            if relative >= -here && relative < size - here {
                *operand = (relative + here).to_le_bytes();
            } else if relative >= size - here && relative < size {
                *operand = (relative - size).to_le_bytes();
            }
            at += 5;
        }
    }
    data
}

enum Token {
    Literal(u8),
    Match { slot: usize, footer: u32, length: usize },
}

struct Encoder<'a> {
    options: &'a Lzx,
    data: &'a [u8],
    slots: Slots,
    recent: [u32; 3],
    heads: Vec<u32>,
    earlier: Vec<u32>,
    main_lengths: Vec<u8>,
    length_lengths: Vec<u8>,
    bits: BitWriter,
    chunks: Vec<Vec<u8>>,
}

impl<'a> Encoder<'a> {
    fn new(options: &'a Lzx, data: &'a [u8]) -> Self {
        let slots = Slots::new(options.window_bits);
        let mut bits = BitWriter::default();
        bits.put(u32::from(options.translation_size.is_some()), 1);
        if let Some(size) = options.translation_size {
            bits.put(size as u32 >> 16, 16);
            bits.put(size as u32 & 0xffff, 16);
        }
        Self {
            options,
            data,
            recent: [1; 3],
            heads: vec![NONE; 1 << HASH_BITS],
            earlier: vec![NONE; data.len()],
            main_lengths: vec![0; 256 + 8 * slots.count],
            length_lengths: vec![0; LENGTHS],
            slots,
            bits,
            chunks: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Vec<u8>> {
        let mut begin = 0;
        for kind in self.options.kinds.iter().cycle() {
            if begin == self.data.len() {
                break;
            }
            let end = (begin + self.options.block_bytes).min(self.data.len());
            match kind {
                BlockKind::Uncompressed => self.uncompressed(begin, end),
                kind => self.compressed(begin, end, *kind == BlockKind::Aligned),
            }
            begin = end;
        }
        self.chunks
    }

    fn header(&mut self, kind: u32, begin: usize, end: usize) {
        let size = u32::try_from(end - begin).unwrap();
        self.bits.put(kind, 3);
        self.bits.put(size >> 16, 8);
        self.bits.put(size & 0xffff, 16);
    }

    fn uncompressed(&mut self, begin: usize, end: usize) {
        self.header(3, begin, end);
        self.bits.pad_before_bytes();
        self.recent.iter().for_each(|offset| self.bits.out.extend(offset.to_le_bytes()));
        for at in begin..end {
            self.bits.out.push(self.data[at]);
            self.remember(at);
            if at + 1 == end && !(end - begin).is_multiple_of(2) {
                self.bits.out.push(0);
            }
            self.end_chunk(at + 1);
        }
    }

    fn compressed(&mut self, begin: usize, end: usize, aligned: bool) {
        let tokens = self.tokens(begin, end);
        let (mut main, mut length, mut low) = (vec![0; self.main_lengths.len()], vec![0; LENGTHS], vec![0; 8]);
        for (_, token) in &tokens {
            match token {
                Token::Literal(byte) => main[usize::from(*byte)] += 1,
                Token::Match { slot, footer, length: long } => {
                    main[main_symbol(*slot, *long)] += 1;
                    if *long >= MIN_MATCH + 7 {
                        length[*long - MIN_MATCH - 7] += 1;
                    }
                    low[*footer as usize & 7] += u32::from(self.slots.footer_bits[*slot] >= 3);
                }
            }
        }
        let (main, length, low) = (Codes::new(&main, 16), Codes::new(&length, 16), Codes::new(&low, 7));
        self.header(if aligned { 2 } else { 1 }, begin, end);
        if aligned {
            low.used_lengths().iter().for_each(|length| self.bits.put(u32::from(*length), 3));
        }
        put_lengths(&mut self.bits, &self.main_lengths[..256], &main.lengths[..256]);
        put_lengths(&mut self.bits, &self.main_lengths[256..], &main.lengths[256..]);
        put_lengths(&mut self.bits, &self.length_lengths, &length.lengths);
        for (at, token) in tokens {
            let end = match token {
                Token::Literal(byte) => {
                    main.put(&mut self.bits, usize::from(byte));
                    at + 1
                }
                Token::Match { slot, footer, length: long } => {
                    main.put(&mut self.bits, main_symbol(slot, long));
                    if long >= MIN_MATCH + 7 {
                        length.put(&mut self.bits, long - MIN_MATCH - 7);
                    }
                    let bits = self.slots.footer_bits[slot];
                    if aligned && bits >= 3 {
                        self.bits.put_long(footer >> 3, bits - 3);
                        low.put(&mut self.bits, footer as usize & 7);
                    } else {
                        self.bits.put_long(footer, bits);
                    }
                    at + long
                }
            };
            self.end_chunk(end);
        }
        (self.main_lengths, self.length_lengths) = (main.lengths, length.lengths);
    }

    /// Literals and matches of a block; no match crosses a chunk's end.
    fn tokens(&mut self, begin: usize, end: usize) -> Vec<(usize, Token)> {
        let mut tokens = Vec::new();
        let mut at = begin;
        while at < end {
            let most = (CHUNK_BYTES - at % CHUNK_BYTES).min(end - at).min(MAX_MATCH);
            let (length, offset) = self.longest(at, most);
            let token = match length {
                0 => Token::Literal(self.data[at]),
                _ => self.matched(offset, length),
            };
            tokens.push((at, token));
            let next = at + length.max(1);
            (at..next).for_each(|at| self.remember(at));
            at = next;
        }
        tokens
    }

    fn longest(&self, at: usize, most: usize) -> (usize, u32) {
        // The three farthest offsets of a window are not encodable.
        let farthest = at.min((1 << self.options.window_bits) - 3);
        let common = |from: usize| (0..most).take_while(|n| self.data[from + n] == self.data[at + n]).count();
        let mut best = (0, 0);
        for offset in self.recent {
            let length = if offset as usize <= farthest { common(at - offset as usize) } else { 0 };
            if length >= MIN_MATCH && length > best.0 {
                best = (length, offset);
            }
        }
        let mut candidate = self.hash(at).map_or(NONE, |hash| self.heads[hash]);
        for _ in 0..CHAIN {
            if candidate == NONE || at - candidate as usize > farthest || best.0 == most {
                break;
            }
            let length = common(candidate as usize);
            if length > best.0.max(MIN_MATCH) {
                best = (length, (at - candidate as usize) as u32);
            }
            candidate = self.earlier[candidate as usize];
        }
        best
    }

    fn matched(&mut self, offset: u32, length: usize) -> Token {
        if let Some(slot) = self.recent.iter().position(|recent| *recent == offset) {
            self.recent.swap(0, slot);
            return Token::Match { slot, footer: 0, length };
        }
        self.recent = [offset, self.recent[0], self.recent[1]];
        let formatted = offset + 2;
        let slot = self.slots.of(formatted);
        Token::Match { slot, footer: formatted - self.slots.base[slot], length }
    }

    fn hash(&self, at: usize) -> Option<usize> {
        let bytes = self.data.get(at..at + 3)?;
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        Some((word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
    }

    fn remember(&mut self, at: usize) {
        let Some(hash) = self.hash(at) else { return };
        self.earlier[at] = self.heads[hash];
        self.heads[hash] = at as u32;
    }

    /// Ends a chunk where `at` bytes are encoded, if one ends there.
    fn end_chunk(&mut self, at: usize) {
        if at.is_multiple_of(CHUNK_BYTES) || at == self.data.len() {
            self.bits.align();
            self.chunks.push(std::mem::take(&mut self.bits.out));
        }
    }
}

fn main_symbol(slot: usize, length: usize) -> usize {
    256 + 8 * slot + (length - MIN_MATCH).min(7)
}

/// Offsets in slots, each with so many bits behind it.
struct Slots {
    count: usize,
    base: Vec<u32>,
    footer_bits: Vec<u32>,
}

impl Slots {
    fn new(window_bits: u16) -> Self {
        let count = match window_bits {
            20 => 42,
            21 => 50,
            bits => 2 * usize::from(bits),
        };
        let footer_bits: Vec<u32> = (0..count as u32).map(|slot| (slot.max(2) / 2 - 1).min(17)).collect();
        let base = footer_bits.iter().scan(0, |base, bits| Some(std::mem::replace(base, *base + (1 << bits))));
        Self { count, base: base.collect(), footer_bits }
    }

    fn of(&self, formatted: u32) -> usize {
        self.base.partition_point(|base| *base <= formatted) - 1
    }
}

/// A canonical Huffman code.
struct Codes {
    lengths: Vec<u8>,
    codes: Vec<u32>,
}

impl Codes {
    fn new(frequencies: &[u32], longest: u8) -> Self {
        let lengths = code_lengths(frequencies, longest);
        let mut codes = vec![0; lengths.len()];
        let mut next = 0;
        for length in 1..=longest {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
                codes[symbol] = next;
                next += 1;
            }
            next <<= 1;
        }
        Self { lengths, codes }
    }

    fn put(&self, bits: &mut BitWriter, symbol: usize) {
        bits.put(self.codes[symbol], u32::from(self.lengths[symbol]));
    }

    /// A tree has to be there, used or not.
    fn used_lengths(&self) -> Vec<u8> {
        if self.lengths.iter().all(|length| *length == 0) { vec![3; self.lengths.len()] } else { self.lengths.clone() }
    }
}

/// Lengths of a full code, none above `longest`; a lone symbol gets a neighbour.
fn code_lengths(frequencies: &[u32], longest: u8) -> Vec<u8> {
    let mut lengths = vec![0; frequencies.len()];
    let used: Vec<usize> = (0..frequencies.len()).filter(|symbol| frequencies[*symbol] > 0).collect();
    if let [only] = used[..] {
        (lengths[only], lengths[usize::from(only == 0)]) = (1, 1);
    }
    if used.len() < 2 {
        return lengths;
    }
    let mut weights: Vec<u64> = used.iter().map(|symbol| u64::from(frequencies[*symbol])).collect();
    loop {
        let depths = depths(&weights);
        if depths.iter().all(|depth| *depth <= longest) {
            used.iter().zip(depths).for_each(|(symbol, depth)| lengths[*symbol] = depth);
            return lengths;
        }
        weights.iter_mut().for_each(|weight| *weight = weight.div_ceil(4));
    }
}

fn depths(weights: &[u64]) -> Vec<u8> {
    let mut heap: BinaryHeap<_> = weights.iter().enumerate().map(|(node, weight)| Reverse((*weight, node))).collect();
    let mut parents = vec![usize::MAX; weights.len()];
    while let (Some(Reverse((first, left))), Some(Reverse((second, right)))) = (heap.pop(), heap.pop()) {
        (parents[left], parents[right]) = (parents.len(), parents.len());
        heap.push(Reverse((first + second, parents.len())));
        parents.push(usize::MAX);
        if heap.len() == 1 {
            break;
        }
    }
    let depth = |leaf: usize| {
        std::iter::successors(Some(leaf), |node| Some(parents[*node]))
            .take_while(|node| parents[*node] != usize::MAX)
            .count()
    };
    (0..weights.len()).map(|leaf| u8::try_from(depth(leaf)).unwrap()).collect()
}

/// A symbol of the pretree, extra bits as value and count, and a second symbol.
type LengthToken = (usize, Option<(u32, u32)>, Option<usize>);

/// Code lengths as differences from the block before, runs of zeros and of equal ones shortened.
fn put_lengths(bits: &mut BitWriter, before: &[u8], lengths: &[u8]) {
    let mut tokens: Vec<LengthToken> = Vec::new();
    let difference = |at: usize| usize::from((17 + before[at] - lengths[at]) % 17);
    let mut at = 0;
    while at < lengths.len() {
        let run = lengths[at..].iter().take_while(|length| **length == lengths[at]).count();
        let (token, taken) = match (lengths[at], run) {
            (0, 20..) => ((18, Some((run.min(51) as u32 - 20, 5)), None), run.min(51)),
            (0, 4..) => ((17, Some((run.min(19) as u32 - 4, 4)), None), run.min(19)),
            (_, 4..) => ((19, Some((run.min(5) as u32 - 4, 1)), Some(difference(at))), run.min(5)),
            _ => ((difference(at), None, None), 1),
        };
        tokens.push(token);
        at += taken;
    }
    let mut frequencies = vec![0; 20];
    for (symbol, _, second) in &tokens {
        frequencies[*symbol] += 1;
        second.iter().for_each(|symbol| frequencies[*symbol] += 1);
    }
    let codes = Codes::new(&frequencies, 15);
    codes.lengths.iter().for_each(|length| bits.put(u32::from(*length), 4));
    for (symbol, extra, second) in tokens {
        codes.put(bits, symbol);
        extra.iter().for_each(|(value, count)| bits.put(*value, *count));
        second.iter().for_each(|symbol| codes.put(bits, *symbol));
    }
}

/// Bits from the highest, in words of 16 bits that stand low byte first.
#[derive(Default)]
struct BitWriter {
    out: Vec<u8>,
    word: u32,
    count: u32,
}

impl BitWriter {
    /// Up to 16 bits.
    fn put(&mut self, value: u32, count: u32) {
        self.word = self.word << count | value;
        self.count += count;
        if self.count >= 16 {
            self.count -= 16;
            self.out.extend(((self.word >> self.count) as u16).to_le_bytes());
            self.word &= (1 << self.count) - 1;
        }
    }

    fn put_long(&mut self, value: u32, count: u32) {
        let low = count.min(16);
        self.put(value >> low, count - low);
        self.put(value & ((1 << low) - 1), low);
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.put(0, 16 - self.count);
        }
    }

    /// One to sixteen bits, so that a word ends.
    fn pad_before_bytes(&mut self) {
        self.put(0, 16 - self.count);
    }
}
