//! Which files of a folder somebody lacks, in little: each name has one of 2^19 slots.
//!
//! Two names may share a slot: then a file seems lacking that is there, and never the other way round. So whoever
//! believes a set passes somebody over at worst. 100,000 lacking files take 64 KiB, and blur a sixth of the others.

use crate::domain::name::FileName;

/// How many slots there are.
pub const SLOTS: u32 = 1 << 19;
/// Most bytes of slots as they are written: all of them, one byte each.
pub const MAX_SLOT_BYTES: usize = SLOTS as usize;
/// Above it, a bit for each slot is smaller than a list.
const MOST_LISTED: usize = 1 << 14;
const WORDS: usize = SLOTS as usize / 64;

/// A number below [`SLOTS`].
pub type Slot = u32;

/// Bytes that are no slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed slots")]
pub struct SlotsError;

/// The slot of a name: the first bits of its BLAKE3. Part of the wire: it never changes.
pub fn slot_of(name: &FileName) -> Slot {
    let hash = blake3::hash(name.as_str().as_bytes());
    let [a, b, c, ..] = *hash.as_bytes();
    u32::from_be_bytes([0, a, b, c]) >> 5
}

/// A set of slots, at most 64 KiB large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotSet {
    /// In ascending order.
    Few(Vec<Slot>),
    /// One bit for each slot.
    Many(Box<[u64; WORDS]>),
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut bits = Bits::default();
        slots.into_iter().filter(|slot| *slot < SLOTS).for_each(|slot| bits.set(slot));
        bits.into_set()
    }
}

impl SlotSet {
    /// Whether `slot` is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        match self {
            Self::Few(slots) => slots.binary_search(&slot).is_ok(),
            Self::Many(bits) => bits.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1),
        }
    }

    /// How many slots are in it.
    pub fn len(&self) -> usize {
        match self {
            Self::Few(slots) => slots.len(),
            Self::Many(bits) => bits.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    /// Whether no slot is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those in one of both, and not in both: what changed, and how a change is applied.
    pub fn changed(&self, other: &Self) -> Self {
        let mut bits = Bits::default();
        self.each(|slot| bits.flip(slot));
        other.each(|slot| bits.flip(slot));
        bits.into_set()
    }

    /// As it is sent: the gap before each slot, seven bits to a byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut bytes, mut next) = (Vec::new(), 0);
        self.each(|slot| {
            let mut gap = slot - next;
            next = slot + 1;
            while gap >= 0x80 {
                bytes.push(gap as u8 | 0x80);
                gap >>= 7;
            }
            bytes.push(gap as u8);
        });
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SlotsError> {
        if bytes.len() > MAX_SLOT_BYTES {
            return Err(SlotsError);
        }
        let (mut bits, mut next, mut gap, mut shift) = (Bits::default(), 0u32, 0u32, 0);
        for byte in bytes {
            gap |= u32::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 21).ok_or(SlotsError)?;
            shift += 7;
            if byte & 0x80 == 0 {
                let slot = next.checked_add(gap).filter(|slot| *slot < SLOTS).ok_or(SlotsError)?;
                bits.set(slot);
                (next, gap, shift) = (slot + 1, 0, 0);
            }
        }
        if shift == 0 { Ok(bits.into_set()) } else { Err(SlotsError) }
    }

    fn each(&self, mut each: impl FnMut(Slot)) {
        match self {
            Self::Few(slots) => slots.iter().copied().for_each(each),
            Self::Many(bits) => each_bit(bits, &mut each),
        }
    }
}

fn each_bit(bits: &[u64; WORDS], each: &mut impl FnMut(Slot)) {
    for (base, word) in (0..).step_by(64).zip(bits) {
        let mut left = *word;
        while left != 0 {
            each(base + left.trailing_zeros());
            left &= left - 1;
        }
    }
}

/// A bit for each slot while a set is made.
struct Bits(Box<[u64; WORDS]>);

impl Default for Bits {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Bits {
    fn set(&mut self, slot: Slot) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }

    fn flip(&mut self, slot: Slot) {
        self.0[slot as usize / 64] ^= 1 << (slot % 64);
    }

    fn into_set(self) -> SlotSet {
        let count: usize = self.0.iter().map(|word| word.count_ones() as usize).sum();
        if count > MOST_LISTED {
            return SlotSet::Many(self.0);
        }
        let mut slots = Vec::with_capacity(count);
        each_bit(&self.0, &mut |slot| slots.push(slot));
        SlotSet::Few(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_keeps_its_slot_for_ever() {
        let slot = |name: &str| slot_of(&FileName::new(name).unwrap());
        // The first 19 bits of what `b3sum` says: 69c173..., 17762f...
        assert_eq!((slot("wsusscn2.cab"), slot("a")), (216_587, 48_049));
    }

    #[test]
    fn a_set_of_any_size_has_what_was_put_in_and_reads_back() {
        for step in [1, 2, 31, 32, 33, 100_000] {
            let set: SlotSet = (0..SLOTS).step_by(step).collect();
            assert_eq!(set.len(), (SLOTS as usize).div_ceil(step));
            assert!(set.contains(0) && (step == 1 || !set.contains(1)), "{step}");
            assert_eq!(SlotSet::from_bytes(&set.to_bytes()), Ok(set));
        }
    }

    #[test]
    fn a_hundred_thousand_lacking_files_cost_what_is_said() {
        let set: SlotSet = (0..100_000).map(|n| slot_of(&FileName::new(&format!("kb{n}.cab")).unwrap())).collect();
        assert!(matches!(set, SlotSet::Many(_)) && set.to_bytes().len() < 96 * 1024, "{}", set.to_bytes().len());
        assert!((86_000..100_000).contains(&set.len()), "{}", set.len());
    }

    #[test]
    fn slots_that_can_not_be_are_refused() {
        assert_eq!(SlotSet::from_bytes(&[]), Ok(SlotSet::default()));
        for wrong in [&[0x80][..], &[0x80, 0x80, 0x80, 0x01], &[0xff, 0xff, 0x7f], &[0xff, 0xff, 0x1f, 0]] {
            assert_eq!(SlotSet::from_bytes(wrong), Err(SlotsError), "{wrong:?}");
        }
        assert_eq!(SlotSet::from_bytes(&[0xff, 0xff, 0x1f]).unwrap().to_bytes(), [0xff, 0xff, 0x1f], "the last slot");
    }

    proptest! {
        #[test]
        fn a_change_leads_from_one_set_to_the_other(
            one in proptest::collection::vec(0..SLOTS, 0..50),
            other in proptest::collection::vec(0..SLOTS, 0..50),
        ) {
            let (one, other): (SlotSet, SlotSet) = (one.into_iter().collect(), other.into_iter().collect());
            prop_assert_eq!(one.changed(&one.changed(&other)), other);
        }

        #[test]
        fn arbitrary_bytes_are_slots_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = SlotSet::from_bytes(&bytes);
        }
    }
}
