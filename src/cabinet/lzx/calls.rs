//! Targets of x86 calls, which an encoder may make absolute so that they repeat ([MS-PATCH] 2.2, E8).

use super::super::limits::MAX_BLOCK_BYTES;

const CALL: u8 = 0xe8;
const CALL_BYTES: usize = 5;
/// So near a chunk's end nothing is translated.
const TAIL_BYTES: usize = 10;
/// From here on nothing is translated: 32,768 chunks.
const TRANSLATED_BYTES: u64 = (MAX_BLOCK_BYTES * MAX_BLOCK_BYTES) as u64;

/// Makes the targets in `chunk`, which begins at `position` of the folder, relative again.
pub(super) fn restore(chunk: &mut [u8], position: u64, size: i32) {
    if position >= TRANSLATED_BYTES {
        return;
    }
    let end = chunk.len().saturating_sub(TAIL_BYTES);
    let mut at = 0;
    while let Some(next) = chunk.get(at..end).and_then(|rest| rest.iter().position(|byte| *byte == CALL)) {
        at += next;
        if let Some(Ok(operand)) = chunk.get_mut(at + 1..at + CALL_BYTES).map(<&mut [u8; 4]>::try_from) {
            // Below 2^30 and 2^15, by the conditions above.
            let here = (position + at as u64) as i32;
            let target = i32::from_le_bytes(*operand);
            if (-here..size).contains(&target) {
                let relative = if target < 0 { target.wrapping_add(size) } else { target - here };
                *operand = relative.to_le_bytes();
            }
        }
        at += CALL_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(position: u64, size: i32, target: i32) -> i32 {
        let mut chunk = [&[0x90, CALL][..], &target.to_le_bytes(), &[0; 10]].concat();
        restore(&mut chunk, position, size);
        i32::from_le_bytes(chunk[2..6].try_into().unwrap())
    }

    #[test]
    fn targets_inside_the_file_become_relative_and_others_stay() {
        for (target, relative) in
            [(0, -1001), (5_000, 3_999), (9_999, 8_998), (10_000, 10_000), (-1, 9_999), (-1001, 8_999), (-1002, -1002)]
        {
            assert_eq!(restored(1000, 10_000, target), relative, "{target}");
        }
    }

    #[test]
    fn nothing_changes_at_the_end_of_a_chunk_nor_behind_a_gigabyte() {
        let unchanged = [&[0; 22][..], &[CALL; 10]].concat();
        let mut chunk = unchanged.clone();
        restore(&mut chunk, 0, i32::MAX);
        assert_eq!(chunk, unchanged);
        let mut short = [CALL; 10];
        restore(&mut short, 0, i32::MAX);
        assert_eq!(short, [CALL; 10]);
        assert_eq!((restored(1 << 30, i32::MAX, 7), restored((1 << 30) - 2, i32::MAX, 7)), (7, 7 + 1 - (1 << 30)));
    }

    #[test]
    fn any_size_of_the_file_is_survived() {
        for (size, target) in [(i32::MIN, i32::MIN), (i32::MAX, i32::MAX), (-5, -500), (i32::MAX, -1)] {
            restored((1 << 30) - 2, size, target);
        }
    }
}
