//! The bits of one chunk: from the highest of each 16-bit word, whose low byte stands first.

const ENDED: &str = "the chunk ends too early";

/// What is left of a chunk.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    chunk: &'a [u8],
    /// Where the next word for `buffer` is.
    at: usize,
    /// The next bits, from the highest; zeros behind them.
    buffer: u64,
    /// How many bits of `buffer` are real.
    count: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(chunk: &'a [u8]) -> Self {
        Self { chunk, at: 0, buffer: 0, count: 0 }
    }

    /// Makes at least 49 bits available, or all that are left: enough for any literal or match.
    #[inline]
    pub(super) fn refill(&mut self) {
        while self.count <= 48 {
            let Some(&[low, high]) = self.chunk.get(self.at..self.at + 2) else { return };
            self.buffer |= u64::from(u16::from_le_bytes([low, high])) << (48 - self.count);
            self.count += 16;
            self.at += 2;
        }
    }

    /// The next 16 bits, without taking them; zeros behind the end.
    #[inline]
    pub(super) fn peek(&self) -> u16 {
        (self.buffer >> 48) as u16
    }

    /// Drops up to 17 bits.
    #[inline]
    pub(super) fn consume(&mut self, count: u8) -> Result<(), &'static str> {
        let Some(left) = self.count.checked_sub(count) else { return Err(ENDED) };
        self.count = left;
        self.buffer <<= count;
        Ok(())
    }

    /// Takes up to 17 bits of those that [`Bits::refill`] made available.
    #[inline]
    pub(super) fn take(&mut self, count: u8) -> Result<u32, &'static str> {
        // In two steps, because 64 bits can't be shifted by 64.
        let bits = (self.buffer >> 1 >> (63 - count)) as u32;
        self.consume(count).map(|()| bits)
    }

    /// Takes up to 17 bits.
    pub(super) fn read(&mut self, count: u8) -> Result<u32, &'static str> {
        self.refill();
        self.take(count)
    }

    /// Ends the bits, with one to sixteen of padding: bytes follow.
    pub(super) fn begin_bytes(&mut self) -> Result<(), &'static str> {
        self.refill();
        self.consume(match self.count % 16 {
            0 => 16,
            padding => padding,
        })?;
        self.at -= usize::from(self.count / 8);
        (self.buffer, self.count) = (0, 0);
        Ok(())
    }

    /// Takes bytes, behind [`Bits::begin_bytes`] or at the beginning of a chunk.
    pub(super) fn bytes(&mut self, out: &mut [u8]) -> Result<(), &'static str> {
        let bytes = self.chunk.get(self.at..self.at + out.len()).ok_or(ENDED)?;
        out.copy_from_slice(bytes);
        self.at += out.len();
        Ok(())
    }

    /// Takes a byte like [`Bits::bytes`], if there is one.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = self.chunk.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_highest_of_words_with_the_low_byte_first() {
        let mut bits = Bits::new(&[0b0100_1101, 0b1011_0010, 0xff, 0x00]);
        assert_eq!((bits.read(1), bits.read(3), bits.read(12)), (Ok(1), Ok(0b011), Ok(0b0010_0100_1101)));
        assert_eq!((bits.peek(), bits.read(0), bits.read(16)), (0x00ff, Ok(0), Ok(0x00ff)));
        assert_eq!((bits.read(0), bits.read(1)), (Ok(0), Err(ENDED)));
    }

    #[test]
    fn seventeen_bits_can_be_taken_at_once() {
        let mut bits = Bits::new(&[0xff, 0xff, 0x00, 0x80, 0x01]);
        assert_eq!(bits.read(17), Ok(0x1_ffff));
        assert_eq!(bits.read(15), Ok(0));
        assert_eq!(bits.read(1), Err(ENDED));
    }

    #[test]
    fn bytes_follow_on_one_to_sixteen_bits_of_padding() {
        let chunk: Vec<u8> = (0..20).collect();
        for (before, first) in [(1, 2), (15, 2), (16, 4), (17, 4)] {
            let mut bits = Bits::new(&chunk);
            bits.read(before).unwrap();
            bits.begin_bytes().unwrap();
            let mut bytes = [0; 3];
            bits.bytes(&mut bytes).unwrap();
            assert_eq!(bytes, [first, first + 1, first + 2], "behind {before} bits");
            assert_eq!(bits.byte(), Some(first + 3));
        }
        let mut bits = Bits::new(&chunk);
        assert_eq!(bits.bytes(&mut [0; 21]), Err(ENDED));
        bits.bytes(&mut [0; 20]).unwrap();
        assert_eq!(bits.byte(), None);
    }
}
