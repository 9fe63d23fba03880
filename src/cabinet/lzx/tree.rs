//! Huffman codes: how their lengths are told, and how symbols are read.

use super::bits::Bits;
use std::ops::{Deref, Range};

/// The longest code, in bits.
const LONGEST: usize = 16;
/// Codes up to this length are looked up at once: 4 KiB for each tree stay in the nearest cache.
const LOOKED_UP: usize = 11;
const PRETREE_SYMBOLS: usize = 20;

/// The lengths of a tree's codes; each block tells what differs from the one before.
#[derive(Debug)]
pub(super) struct Lengths(Vec<u8>);

impl Lengths {
    pub(super) fn new(symbols: usize) -> Self {
        Self(vec![0; symbols])
    }

    /// Reads the lengths of `symbols`, behind a small tree that they are coded with.
    pub(super) fn read(&mut self, bits: &mut Bits<'_>, symbols: Range<usize>) -> Result<(), &'static str> {
        let mut lengths = [0; PRETREE_SYMBOLS];
        for length in &mut lengths {
            *length = bits.read(4)? as u8;
        }
        let mut pretree = Tree::empty();
        pretree.build(&lengths)?;
        let lengths = self.0.get_mut(symbols).unwrap_or_default();
        let mut at = 0;
        while at < lengths.len() {
            bits.refill();
            let (run, length) = match pretree.symbol(bits)? {
                17 => (4 + bits.take(4)?, 0),
                18 => (20 + bits.take(5)?, 0),
                19 => (4 + bits.take(1)?, changed(lengths[at], pretree.symbol(bits)?)?),
                difference => (1, changed(lengths[at], difference)?),
            };
            let run = at..at + run as usize;
            at = run.end;
            lengths.get_mut(run).ok_or("code lengths beyond the end of their tree")?.fill(length);
        }
        Ok(())
    }
}

fn changed(length: u8, difference: u16) -> Result<u8, &'static str> {
    match u8::try_from(difference) {
        Ok(difference @ 0..=16) => Ok((length + 17 - difference) % 17),
        _ => Err("a code length of no meaning"),
    }
}

impl Deref for Lengths {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A canonical Huffman code, ready to be read with.
#[derive(Debug)]
pub(super) struct Tree {
    /// By the next `LOOKED_UP` bits: the symbol in the high bits, its code's length in the low five; 0
    /// where the code is longer.
    table: Box<[u16; 1 << LOOKED_UP]>,
    /// For each length, the first code of it.
    first: [u32; LONGEST + 1],
    /// For each length, how many codes there are.
    counts: [u32; LONGEST + 1],
    /// For each length, where its symbols begin.
    starts: [u32; LONGEST + 1],
    /// Symbols in the order of their codes.
    symbols: Vec<u16>,
}

impl Tree {
    /// Without any symbol.
    pub(super) fn empty() -> Self {
        let none = [0; LONGEST + 1];
        let table = Box::new([0; 1 << LOOKED_UP]);
        Self { table, first: none, counts: none, starts: none, symbols: Vec::new() }
    }

    /// Takes the code lengths of symbols 0, 1 and so on, at most 16 each; every code has to have a meaning.
    pub(super) fn build(&mut self, lengths: &[u8]) -> Result<(), &'static str> {
        self.counts = [0; LONGEST + 1];
        for length in lengths {
            self.counts[usize::from(*length)] += 1;
        }
        self.counts[0] = 0;
        let space: u32 = self.counts.iter().enumerate().map(|(length, count)| count << (LONGEST - length)).sum();
        if space != 1 << LONGEST {
            return Err("code lengths that make no tree");
        }
        for length in 1..=LONGEST {
            self.first[length] = (self.first[length - 1] + self.counts[length - 1]) << 1;
            self.starts[length] = self.starts[length - 1] + self.counts[length - 1];
        }
        self.symbols.clear();
        self.symbols.resize(lengths.len(), 0);
        let mut entered = [0; LONGEST + 1];
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let length = usize::from(*length);
            self.enter(entered[length], length, symbol as u16);
            entered[length] += 1;
        }
        Ok(())
    }

    /// Gives the code of this length and number to a symbol.
    fn enter(&mut self, number: u32, length: usize, symbol: u16) {
        self.symbols[(self.starts[length] + number) as usize] = symbol;
        let code = (self.first[length] + number) as usize;
        match LOOKED_UP.checked_sub(length) {
            Some(spare) => self.table[code << spare..(code + 1) << spare].fill(symbol << 5 | length as u16),
            None => self.table[code >> (length - LOOKED_UP)] = 0,
        }
    }

    /// Takes one symbol of the bits that a refill made available.
    #[inline]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> Result<u16, &'static str> {
        let next = bits.peek();
        let entry = self.table[usize::from(next) >> (LONGEST - LOOKED_UP)];
        let (symbol, length) = match entry {
            0 => self.long_symbol(next)?,
            entry => (entry >> 5, (entry & 31) as u8),
        };
        bits.consume(length).map(|()| symbol)
    }

    #[cold]
    fn long_symbol(&self, next: u16) -> Result<(u16, u8), &'static str> {
        for length in LOOKED_UP + 1..=LONGEST {
            let code = u32::from(next) >> (LONGEST - length);
            let number = code.wrapping_sub(self.first[length]);
            if number < self.counts[length] {
                let symbol = self.symbols.get((self.starts[length] + number) as usize);
                return symbol.map(|symbol| (*symbol, length as u8)).ok_or("a code of no meaning");
            }
        }
        Err("a code of no meaning")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(lengths: &[u8]) -> Result<Tree, &'static str> {
        let mut tree = Tree::empty();
        tree.build(lengths).map(|()| tree)
    }

    #[test]
    fn short_and_long_codes_give_their_symbols() {
        // 0, 10, 110 and so on, up to two of 16 bits.
        let lengths: Vec<u8> = (1..=16).chain([16]).collect();
        let tree = tree(&lengths).unwrap();
        for symbol in 0..17_u32 {
            let code = if symbol == 16 { 0xffff } else { 0xffff << (16 - symbol) };
            let mut bits = Bits::new(&[]);
            assert!(tree.symbol(&mut bits).is_err());
            let word = (code as u16).to_le_bytes();
            bits = Bits::new(&word);
            bits.refill();
            assert_eq!(tree.symbol(&mut bits), Ok(symbol as u16));
            assert_eq!(bits.take(16 - lengths[symbol as usize]).unwrap(), 0);
        }
    }

    #[test]
    fn a_tree_with_room_or_without_enough_is_refused() {
        for lengths in [&[1_u8][..], &[1, 2], &[1, 1, 1], &[0, 0], &[2, 2, 2, 3]] {
            assert!(tree(lengths).is_err(), "{lengths:?}");
        }
        assert!(tree(&[2, 2, 2, 3, 3]).is_ok());
    }

    #[test]
    fn a_tree_without_symbols_gives_none_even_where_one_was_before() {
        let chunk = [0; 8];
        let mut bits = Bits::new(&chunk);
        bits.refill();
        assert!(Tree::empty().symbol(&mut bits).is_err());
    }

    #[test]
    fn a_length_is_told_by_its_difference_modulo_17() {
        assert_eq!((changed(0, 0), changed(0, 16), changed(16, 16), changed(3, 5)), (Ok(0), Ok(1), Ok(0), Ok(15)));
        assert!(changed(0, 17).is_err());
    }
}
