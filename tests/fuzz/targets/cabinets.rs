//! Cabinets: as they are, and without the checksums that would keep damage from the decoders.

use std::io::{self, Read};
use wuasync::cabinet::{Cabinet, CabinetError, Limits, reframe, unframe};

/// Little, so that a bomb is a matter of milliseconds.
fn limits() -> Limits {
    Limits { max_folder_bytes: 4 << 20, max_cabinet_bytes: 8 << 20, ..Limits::default() }
}

/// A file.
pub fn cabinets(data: &[u8]) {
    judge(data);
    judge(&without_checksums(data));
}

fn judge(data: &[u8]) {
    let whole = members(data, |_| true);
    assert_eq!(whole.as_ref().ok(), members(Pieces(data), |_| true).as_ref().ok(), "pieces matter");
    let some = members(data, |n| n % 3 == 1);
    if let (Ok(whole), Ok(some)) = (&whole, &some) {
        let agree = whole.iter().zip(some).all(|(whole, some)| some.is_none() || whole == some);
        assert!(agree && whole.len() == some.len(), "what is passed by changes what is read");
    }
    assert!(whole.is_err() || some.is_ok(), "less is checked of members that are passed by, not more");
    comes_together_again(data);
}

/// The members, `None` for those that were not wanted.
fn members(from: impl Read, wanted: impl Fn(usize) -> bool) -> io::Result<Vec<Option<Vec<u8>>>> {
    let mut cabinet = Cabinet::open(from, limits())?;
    let mut members = Vec::new();
    let mut total = 0;
    while let Some(mut member) = cabinet.next_member()? {
        if !wanted(members.len()) {
            members.push(None);
            continue;
        }
        let mut content = Vec::new();
        let (size, name) = (member.file().cb_file, member.file().shown_name());
        if name.ends_with(".cab") {
            // What is left of the member is read as one that is none.
            let _ = nested(&mut member);
        }
        member.read_to_end(&mut content)?;
        total += content.len() as u64;
        assert!(content.len() as u64 <= u64::from(size) && total <= limits().max_cabinet_bytes);
        members.push(Some(content));
    }
    cabinet.finish()?;
    Ok(members)
}

fn nested(mut member: &mut dyn Read) -> Result<usize, CabinetError> {
    let mut cabinet = Cabinet::open(&mut member, limits())?;
    let mut count = 0;
    while let Some(mut member) = cabinet.next_member()? {
        count += usize::from(io::copy(&mut member, &mut io::sink()).is_ok());
    }
    Ok(count)
}

fn comes_together_again(data: &[u8]) {
    let (mut content, mut framing, mut file) = (Vec::new(), Vec::new(), Vec::new());
    // Any bytes as framing: refused, or as long as they and their content are.
    if let Ok(bytes) = reframe(&b"content"[..], data, &limits(), &mut file) {
        assert_eq!(bytes, data.len() as u64 - 1 + 7);
    }
    file.clear();
    let Ok(apart) = unframe(data, &limits(), &mut content, &mut framing) else { return };
    assert_eq!(apart.content_bytes + apart.framing_bytes, data.len() as u64 + 1);
    reframe(&content[..], &framing[..], &limits(), &mut file).expect("what came apart goes together");
    assert!(file == data);
}

/// A checksum of 0 is none. Walks the blocks as far as they can be followed.
fn without_checksums(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    let u16_at = |data: &[u8], at: usize| Some(usize::from(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?)));
    let mut blocks = || -> Option<()> {
        let (folders, flags) = (u16_at(&data, 26)?, u16_at(&data, 30)?);
        let reserves = if flags & 4 == 0 { None } else { Some((u16_at(&data, 36)?, data.get(38..40)?.to_vec())) };
        let (header, per) = reserves.map_or((0, vec![0, 0]), |(header, per)| (4 + header, per));
        for folder in 0..folders.min(16) {
            let entry = 36 + header + folder * (8 + usize::from(per[0]));
            let mut at = u16_at(&data, entry)? | u16_at(&data, entry + 2)? << 16;
            for _ in 0..u16_at(&data, entry + 4)? {
                let packed = u16_at(&data, at + 4)?;
                data.get_mut(at..at + 4)?.fill(0);
                at += 8 + usize::from(per[1]) + packed;
            }
        }
        Some(())
    };
    let _ = blocks();
    data
}

/// Gives few bytes at a time.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(1 + self.0.len() % 7);
        self.0.read(&mut out[..len])
    }
}
