//! Whole cabinets: what comes out, in which order, and what is refused where.

use super::*;
use crate::cabinet::{
    cabs::{Cabinet as Made, Folder as MadeFolder, Packing, block, lzx::Lzx},
    header::{u16_at, u32_at},
};

type Members = Vec<(String, Vec<u8>)>;

fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    let step = |state: &u32| Some(state.wrapping_mul(0x915f_77f5).wrapping_add(1));
    std::iter::successors(Some(seed), step).map(|state| (state >> 24) as u8 % 40).take(bytes).collect()
}

fn open(bytes: &[u8]) -> Result<Cabinet<&[u8]>, CabinetError> {
    Cabinet::open(bytes, Limits::default())
}

fn try_all(bytes: &[u8], limits: &Limits) -> Result<Members, io::Error> {
    let mut cabinet = Cabinet::open(bytes, limits.clone())?;
    let mut all = Vec::new();
    while let Some(mut member) = cabinet.next_member()? {
        let mut content = Vec::new();
        member.read_to_end(&mut content)?;
        all.push((member.file().shown_name(), content));
    }
    cabinet.finish()?;
    Ok(all)
}

fn all(bytes: &[u8]) -> Members {
    try_all(bytes, &Limits::default()).unwrap()
}

/// What a reader of members fails with.
fn refused(bytes: &[u8]) -> CabinetError {
    error_of(try_all(bytes, &Limits::default()).unwrap_err())
}

fn error_of(error: io::Error) -> CabinetError {
    error.downcast().unwrap()
}

fn packings() -> Vec<Packing> {
    vec![Packing::Stored, Packing::MsZip, Packing::Lzx(Lzx::new(15)), Packing::Lzx(Lzx::new(21))]
}

/// Members over one and several blocks, an empty one among them.
fn members() -> Members {
    let sizes = [5, 0, 32_768, 1, 100_000, 40_000];
    sizes.iter().enumerate().map(|(n, bytes)| (format!("x\\{n}"), noise(*bytes, n as u32))).collect()
}

fn folder(packing: Packing, members: &Members) -> MadeFolder {
    let members = members.iter().map(|(name, content)| (name.clone().into_bytes(), content.clone())).collect();
    MadeFolder { packing, members }
}

fn one_each() -> Made {
    Made::new(packings().into_iter().map(|packing| folder(packing, &members())).collect())
}

/// Gives a byte at a time.
struct Slow<R>(R);

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(1);
        self.0.read(&mut out[..len])
    }
}

#[test]
fn every_member_of_every_compression_comes_out_in_order() {
    let expected: Members = (0..4).flat_map(|_| members()).collect();
    for made in [one_each(), Made { folder_reserve: 3, block_reserve: 7, ..one_each().telling_of_signature(5) }] {
        let bytes = made.to_bytes();
        assert_eq!(all(&bytes), expected);
    }
}

#[test]
fn a_reader_that_gives_single_bytes_is_as_good_as_any() {
    let bytes = Made::new(vec![folder(Packing::MsZip, &members())]).to_bytes();
    let mut cabinet = Cabinet::open(Slow(&bytes[..]), Limits::default()).unwrap();
    let mut contents = Vec::new();
    while let Some(mut member) = cabinet.next_member().unwrap() {
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        contents.push(content);
    }
    assert_eq!(contents, members().into_iter().map(|(_, content)| content).collect::<Vec<_>>());
}

#[test]
fn members_that_are_not_read_or_read_in_part_are_passed_by() {
    let bytes = one_each().to_bytes();
    let expected = members();
    for (read_every, part) in [(1, 3), (2, usize::MAX), (3, 33_000), (5, usize::MAX)] {
        let mut cabinet = open(&bytes).unwrap();
        let mut n = 0;
        while let Some(member) = cabinet.next_member().unwrap() {
            let expected = &expected[n % expected.len()].1;
            if n % read_every == 0 {
                let mut content = Vec::new();
                let len = part.min(expected.len());
                member.take(len as u64).read_to_end(&mut content).unwrap();
                assert!(content == expected[..len], "member {n}");
            }
            n += 1;
        }
        assert_eq!(n, 4 * expected.len());
    }
}

#[test]
fn a_folder_that_nobody_reads_is_passed_by_without_being_unpacked() {
    let mut bytes = one_each().to_bytes();
    // The second folder does not unpack, and its checksums are left out.
    let (begin, blocks) = (u32_at(&bytes, 36 + 8), u32_at(&bytes, 36 + 8 + 4) as u16);
    let mut at = begin as usize;
    for _ in 0..blocks {
        bytes[at..at + 4].fill(0);
        bytes[at + 8..at + 10].fill(b'X');
        at += 8 + usize::from(u16_at(&bytes, at + 4));
    }
    let mut cabinet = open(&bytes).unwrap();
    let mut contents = Vec::new();
    while let Some(mut member) = cabinet.next_member().unwrap() {
        let mut content = Vec::new();
        if member.file().i_folder != 1 {
            member.read_to_end(&mut content).unwrap();
            contents.push(content);
        }
    }
    assert_eq!(contents.len(), 3 * members().len());
    assert!(matches!(refused(&bytes).fault, Fault::MsZip));
}

#[test]
fn checksums_of_folders_that_nobody_reads_are_checked() {
    let bytes = one_each().to_bytes();
    let last = bytes.len() - 1;
    let mut damaged = bytes;
    damaged[last] ^= 1;
    let mut cabinet = open(&damaged).unwrap();
    let error = loop {
        match cabinet.next_member() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("nothing was noticed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault, Fault::Checksum { .. }), "{error:?}");
    assert!(matches!(cabinet.next_member().unwrap_err().fault, Fault::Ended));
}

#[test]
fn a_member_can_be_a_cabinet_that_is_read_in_its_turn() {
    let shard = Made::new(vec![folder(Packing::Lzx(Lzx::new(21)), &members())]).to_bytes();
    let inner = [("index.xml", &b"<INDEX/>"[..]), ("package2.cab", &shard), ("package3.cab", &shard)];
    for packing in packings() {
        let outer = Made::new(vec![MadeFolder::new(packing, &inner)]).to_bytes();
        let mut outer = open(&outer).unwrap();
        let mut found = Vec::new();
        while let Some(mut member) = outer.next_member().unwrap() {
            if !member.file().name.ends_with(b".cab") {
                continue;
            }
            let mut inner = Cabinet::open(&mut member, Limits::default()).unwrap();
            while let Some(mut member) = inner.next_member().unwrap() {
                let mut content = Vec::new();
                member.read_to_end(&mut content).unwrap();
                found.push((member.file().shown_name(), content));
            }
        }
        assert_eq!(found, [members(), members()].concat());
    }
}

#[test]
fn a_fault_in_a_nested_cabinet_tells_both_places() {
    let mut shard = Made::new(vec![folder(Packing::Stored, &members())]).to_bytes();
    let last = shard.len() - 1;
    shard[last] ^= 1;
    let outer = Made::new(vec![MadeFolder::new(Packing::Stored, &[("package2.cab", &shard)])]);
    let mut damaged = outer.to_bytes();
    let last = damaged.len() - 1;
    damaged[last] ^= 2;
    for (bytes, expected) in [
        (outer.to_bytes(), "in member \"x\\\\5\": the block's checksum is "),
        (damaged, "in member \"x\\\\4\": reading failed: at byte "),
    ] {
        let mut outer = open(&bytes).unwrap();
        let mut member = outer.next_member().unwrap().unwrap();
        let mut inner = Cabinet::open(&mut member, Limits::default()).unwrap();
        let mut read = || -> io::Result<()> {
            while let Some(mut member) = inner.next_member()? {
                io::copy(&mut member, &mut io::sink())?;
            }
            Ok(())
        };
        let error = error_of(read().unwrap_err());
        let chain = crate::base::chain::chain(&error);
        assert!(chain.starts_with("at byte ") && chain.contains(expected), "{chain}");
    }
}

#[test]
fn what_follows_the_cabinet_is_there_after_it() {
    let made = one_each().telling_of_signature(9);
    let bytes = [&made.to_bytes()[..], b"signature"].concat();
    let place = open(&bytes).unwrap().header().signature_place().unwrap();
    assert_eq!(&bytes[place.offset as usize..], b"signature");
    for read in [0, 1, 7] {
        let mut cabinet = open(&bytes).unwrap();
        for _ in 0..read {
            io::copy(&mut cabinet.next_member().unwrap().unwrap(), &mut io::sink()).unwrap();
        }
        let mut rest = String::new();
        cabinet.finish().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "signature");
    }
}

#[test]
fn a_cabinet_without_anything_in_it_is_one() {
    assert_eq!(all(&Made::new(vec![]).to_bytes()), []);
    let empty = Made::new(vec![MadeFolder::new(Packing::Stored, &[("empty", b"")])]);
    assert_eq!(all(&empty.to_bytes()), [("empty".to_owned(), vec![])]);
}

#[test]
fn a_file_that_ends_too_early_is_told_as_that_with_its_place() {
    let bytes = Made::new(vec![folder(Packing::Stored, &members())]).to_bytes();
    let content_at = u32_at(&bytes, 36) as usize;
    for len in [content_at, content_at + 7, content_at + 8, content_at + 100, bytes.len() - 1] {
        let error = refused(&bytes[..len]);
        assert!(matches!(error.fault, Fault::Truncated) && error.offset <= len as u64, "{len}: {error:?}");
        assert!(error.member.is_some());
    }
}

#[test]
fn any_flipped_bit_of_a_block_is_noticed() {
    let bytes = Made::new(vec![folder(Packing::Lzx(Lzx::new(16)), &vec![("a".to_owned(), noise(300, 1))])]).to_bytes();
    let content_at = u32_at(&bytes, 36) as usize;
    for bit in content_at * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(try_all(&damaged, &Limits::default()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_member_that_ends_behind_its_folder_is_refused_whether_it_is_read_or_not() {
    let mut bytes = Made::new(vec![folder(Packing::MsZip, &vec![("a".to_owned(), noise(300, 1))])]).to_bytes();
    let size_at = u32_at(&bytes, 16) as usize;
    bytes[size_at..size_at + 4].copy_from_slice(&301_u32.to_le_bytes());
    let error = refused(&bytes);
    assert!(matches!(error.fault, Fault::BeyondFolder { end: 301, folder_bytes: 300 }), "{error:?}");
    assert_eq!(error.member.as_deref(), Some("a"));
    let mut cabinet = open(&bytes).unwrap();
    cabinet.next_member().unwrap().unwrap();
    assert!(matches!(cabinet.next_member().unwrap_err().fault, Fault::BeyondFolder { .. }));
}

#[test]
fn each_limit_on_what_unpacks_holds_at_its_number() {
    let bytes = Made::new(vec![
        folder(Packing::MsZip, &vec![("a".to_owned(), noise(40_000, 1))]),
        folder(Packing::Stored, &vec![("b".to_owned(), noise(50_000, 1))]),
    ]);
    let bytes = bytes.to_bytes();
    let limits = Limits { max_folder_bytes: 50_000, max_cabinet_bytes: 90_000, ..Limits::default() };
    assert_eq!(try_all(&bytes, &limits).unwrap().len(), 2);
    for (limits, of) in [
        (Limits { max_folder_bytes: 49_999, ..limits.clone() }, "unpacked bytes of a folder"),
        (Limits { max_cabinet_bytes: 89_999, ..limits.clone() }, "unpacked bytes of the cabinet"),
    ] {
        let error = error_of(try_all(&bytes, &limits).unwrap_err());
        assert!(matches!(error.fault, Fault::Limit { what, .. } if what == of), "{error:?}");
    }
}

#[test]
fn a_short_block_of_lzx_is_the_last_of_its_folder() {
    let chunk = Lzx::new(15).encode(&noise(100, 1)).remove(0);
    let made = folder(Packing::Lzx(Lzx::new(15)), &vec![("a".to_owned(), noise(100, 1))]);
    let mut bytes = Made::new(vec![made]).to_bytes();
    bytes[40] = 2;
    bytes.extend(block(&chunk, 100, &[]));
    let end = (bytes.len() as u32).to_le_bytes();
    bytes[8..12].copy_from_slice(&end);
    assert!(matches!(refused(&bytes).fault, Fault::ShortBlock(100)));
}

#[test]
fn folders_whose_content_is_not_in_their_order_are_refused() {
    let made = Made::new(vec![folder(Packing::Stored, &members()), folder(Packing::Stored, &members())]);
    let bytes = made.to_bytes();
    let mut swapped = bytes.clone();
    let (first, second) = (bytes[36..40].to_vec(), bytes[44..48].to_vec());
    swapped[36..40].copy_from_slice(&second);
    swapped[44..48].copy_from_slice(&first);
    assert!(matches!(refused(&swapped).fault, Fault::Backwards { what: "a folder", .. }));
    let mut beyond = bytes;
    let end = u32_at(&beyond, 8) - 1;
    beyond[8..12].copy_from_slice(&end.to_le_bytes());
    assert!(matches!(refused(&beyond).fault, Fault::BeyondCabinet(_)));
}

#[test]
fn a_reader_that_fails_is_told_as_that() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::PermissionDenied))
        }
    }
    let bytes = one_each().to_bytes();
    let mut cabinet = Cabinet::open(bytes[..50_000].chain(Fails), Limits::default()).unwrap();
    let error = io::copy(&mut cabinet.next_member().unwrap().unwrap(), &mut io::sink());
    assert_eq!(error.unwrap(), 5);
    let error = loop {
        let mut member = cabinet.next_member().unwrap().unwrap();
        if let Err(error) = io::copy(&mut member, &mut io::sink()) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert!(matches!(error_of(error).fault, Fault::Read(_)));
}
