//! A host waits for a file that the mirror has not reached, or is in the middle of: it comes first, and once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Given, Place, TestNode, folder, immutable, join, link::Link, noise, wait};

/// A main with these files, and a secondary that mirrors them over a slow link.
async fn mirror(files: &[(String, Vec<u8>)], bytes_a_second: u64) -> (TestNode, TestNode, Link, [Place; 2]) {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    for (name, bytes) in files {
        main_place.write(name, bytes);
    }
    for (name, bytes) in files {
        main.serves(name, bytes).await;
    }
    let mut parent = join(&lyon_place, main.invite("lyon", None)).await;
    let link = Link::to(main.address).await;
    link.slow_down_to(bytes_a_second);
    parent.addresses = vec![link.address.to_string()];
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    (main, lyon, link, [main_place, lyon_place])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_waits_for_the_end_of_what_is_being_mirrored_gets_it_at_once_and_nothing_comes_twice() {
    const SIZE: u64 = 24_000_000;
    let bytes = noise(1, SIZE as usize);
    let kb = immutable("kb", &bytes);
    let (main, lyon, link, _places) = mirror(&[(kb.clone(), bytes.clone())], 6_000_000).await;
    wait("the mirror is in the middle of it", || (lyon.received() > 1_000_000).then_some(())).await;
    let range = SIZE - 200_000..SIZE;
    assert_eq!(lyon.gives(&kb, range.clone()).await, Given::All(bytes[range.start as usize..].to_vec()));
    let received = lyon.received();
    assert!(received < SIZE / 2, "the end came before the middle: {received} bytes were here");
    // Nobody waits any more, and the rest comes too.
    lyon.serves(&kb, &bytes).await;
    lyon.catches_up_with(&main).await;
    assert!(lyon.received() <= SIZE + 256 * 1024, "{} bytes of content came", lyon.received());
    assert!(link.bytes() < SIZE * 11 / 10, "{} bytes went over the link", link.bytes());
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_at_the_end_of_a_long_list_comes_first_when_a_host_waits_for_it() {
    let files: Vec<_> = (0..40).map(|n| noise(n, 600_000)).collect();
    let files: Vec<_> = (0..).zip(files).map(|(n, bytes)| (immutable(&format!("f{n:02}"), &bytes), bytes)).collect();
    let (main, lyon, link, _places) = mirror(&files, 6_000_000).await;
    wait("the mirror is at work", || (lyon.received() > 500_000).then_some(())).await;
    let (last, bytes) = files.last().unwrap();
    assert_eq!(lyon.gives(last, 0..600_000).await, Given::All(bytes.clone()));
    let missing = lyon.repository.missing_after(&folder(), None, 100).unwrap().len();
    assert!(missing >= 20, "only {missing} files are behind it");
    for (name, bytes) in &files {
        lyon.serves(name, bytes).await;
    }
    lyon.catches_up_with(&main).await;
    assert!(link.bytes() < 24_000_000 * 11 / 10, "{} bytes went over the link", link.bytes());
    main.stop().await;
    lyon.stop().await;
}
