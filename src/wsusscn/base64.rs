//! Digests as the index writes them.

use data_encoding::BASE64;

/// Room for a SHA-256 and what base64 rounds it up to.
const ROOM: usize = 36;

/// The digest of `N` bytes that `text` is in base64.
pub(super) fn digest<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut room = [0; ROOM];
    let length = BASE64.decode_len(text.len()).ok().filter(|length| *length <= ROOM)?;
    let length = BASE64.decode_mut(text.as_bytes(), &mut room[..length]).ok()?;
    room[..length].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_whole_or_not_at_all() {
        for n in [20, 32] {
            let text = BASE64.encode(&vec![7; n]);
            assert_eq!(digest::<20>(&text).is_some(), n == 20);
            assert_eq!(digest::<32>(&text).is_some(), n == 32);
        }
        assert_eq!(digest::<20>(&BASE64.encode(&[7; 20])), Some([7; 20]));
        for wrong in ["", "BwcH", "BwcHBwcHBwcHBwcHBwcHBwcHBwc", "BwcHBwcHBwcHBwcHBwcHBwcHBw!=", &"A".repeat(4_000)] {
            assert_eq!(digest::<20>(wrong), None, "{wrong}");
        }
    }
}
