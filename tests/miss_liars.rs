//! A node in the middle that lies about files that somebody waits for: nothing wrong gets a name or is given as a
//! whole, the node goes on serving, and an honest parent gives the file afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{
    Given, Place, TestNode,
    fake::{FakeParent, GiveLie, Gives, Lie},
    files_below, give, immutable, join,
    link::Link,
    noise, wait,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

const SIZE: u64 = 1_000_000;
/// Of what nobody has vouched for yet, this much may be passed on.
const HELD_FROM: u64 = (SIZE - 1) / 65_536 * 65_536;

/// What a host has when the liar is done.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The response ended, with less than the file.
    Short,
    /// All of the file, and it is right.
    All,
    /// Nothing: it is to come back.
    NotYet,
    /// Nothing: nobody knows the file.
    Unknown,
    /// It waits after so many askings, and an honest parent brings the file.
    Waits(usize),
}

/// A host waits for a file while the parent lies; then the honest main takes its place.
async fn survives(lie: GiveLie, proves: bool, then: Then) {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (old, bytes) = (noise(1, 3_000), noise(2, SIZE as usize));
    let (old_name, kb) = (immutable("old", &old), immutable("kb", &bytes));
    main_place.write(&old_name, &old);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&old_name, &old).await;
    if proves {
        main_place.write(&kb, &bytes);
        main.serves(&kb, &bytes).await;
    }
    let mut parent = join(&lyon_place, main.invite("lyon", None)).await;
    let files = BTreeMap::from([(kb.clone(), bytes.clone())]);
    let gives = Arc::new(Gives { files, proves, lie, asked: AtomicUsize::new(0) });
    let mut fake = FakeParent::of(&main_place, &main, Lie::Gives(gives.clone()));
    let link = Link::to(fake.address).await;
    parent.addresses = vec![link.address.to_string()];
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&old_name, &old).await;

    let mut host = tokio::spawn(give(lyon.supply.clone(), kb.clone(), 0..SIZE + 5));
    let had = match then {
        Then::Waits(asked) => {
            wait(&format!("{lie:?} is asked"), || (gives.asked.load(Relaxed) >= asked).then_some(())).await;
            None
        }
        _ => Some((&mut host).await.unwrap()),
    };
    let what = format!("{lie:?}, proven {proves}: {:?}", had.as_ref().map(|had| had.bytes().len()));
    match (&then, &had) {
        (Then::Waits(_), None) | (Then::NotYet, Some(Given::NotYet)) | (Then::Unknown, Some(Given::Unknown)) => {}
        (Then::All, Some(Given::All(all))) => assert!(*all == bytes, "{what}"),
        (Then::Short, Some(Given::Short(some))) => {
            assert!(some.len() as u64 <= HELD_FROM, "{what}");
            assert!(!proves || bytes.starts_with(some), "{what}: what was proven is right");
        }
        _ => panic!("{what}"),
    }
    let here: Vec<_> = files_below(&lyon_place.folder()).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(here.iter().all(|here| *here == old || matches!(then, Then::All) && *here == bytes), "{what}");
    assert_eq!(lyon.gives(&old_name, 0..9_999).await, Given::All(old.clone()), "{what}");

    if !proves {
        main_place.write(&kb, &bytes);
        main.serves(&kb, &bytes).await;
    }
    link.lead_to(main.address);
    fake.stop();
    if had.is_none() {
        assert_eq!(host.await.unwrap(), Given::All(bytes.clone()), "{what}: it waited for an honest parent");
        assert!(lyon.received() <= SIZE + 3_000, "{what}: {} bytes came", lyon.received());
    }
    lyon.serves(&kb, &bytes).await;
    assert_eq!(lyon.gives(&kb, 0..SIZE).await, Given::All(bytes), "{what}");
    drop(fake);
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_parent_gives_files_if_it_is_honest() {
    survives(GiveLie::None, true, Then::All).await;
    survives(GiveLie::Unaligned, true, Then::All).await;
    survives(GiveLie::None, false, Then::Waits(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_plain_bytes_are_never_a_whole_file() {
    for lie in [GiveLie::Byte, GiveLie::Beyond, GiveLie::Size] {
        survives(lie, false, Then::Short).await;
    }
    survives(GiveLie::EndlessSize, false, Then::NotYet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_proven_bytes_reach_nobody() {
    for lie in [GiveLie::Byte, GiveLie::Beyond] {
        survives(lie, true, Then::Short).await;
    }
    survives(GiveLie::EndlessSize, true, Then::NotYet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_without_end_are_refused() {
    for proves in [false, true] {
        survives(GiveLie::Endless, proves, Then::Short).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_here_stay_what_they_are_whatever_comes_again() {
    survives(GiveLie::Overlaps, false, Then::Waits(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size_or_content_than_the_main_signed_is_not_taken() {
    for lie in [GiveLie::Size, GiveLie::Root] {
        survives(lie, true, Then::Waits(2)).await;
    }
    survives(GiveLie::Root, false, Then::Waits(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_waits_through_the_silence_of_a_parent_and_gets_the_file_from_the_next() {
    for (lie, proves) in [(GiveLie::Silence, false), (GiveLie::HalfAndSilence, false), (GiveLie::HalfAndSilence, true)]
    {
        survives(lie, proves, Then::Waits(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_breaks_off_costs_nothing_that_had_arrived() {
    for lie in [GiveLie::HalfAndEnd, GiveLie::HalfAndNotNow] {
        for proves in [false, true] {
            survives(lie, proves, Then::Waits(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_denies_a_file_is_believed_only_while_nothing_is_signed() {
    survives(GiveLie::Refused, false, Then::Unknown).await;
    survives(GiveLie::Refused, true, Then::NotYet).await;
}
