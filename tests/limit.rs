//! The ceiling of a node's line: everything on the wire together keeps to it, uses it, and follows a reload.
//! `cargo bench --bench ceiling` measures how near it comes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;
mod processes;

use harness::{Place, TestNode, immutable, link::Link, noise, pair::pair, wait};
use processes::Node;
use std::time::{Duration, Instant};

/// Bytes a second.
const LIMIT: u64 = 4_000_000;

/// Bytes a second over the link, while content from `from` to `to` arrives.
async fn rate(lyon: &TestNode, link: &Link, from: u64, to: u64) -> f64 {
    wait("it has begun", || (lyon.received() >= from).then_some(())).await;
    let (begun, before) = (Instant::now(), link.bytes());
    wait("it has come", || (lyon.received() >= to).then_some(())).await;
    (link.bytes() - before) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_limit_keeps_to_it_as_sender_and_as_receiver() {
    for limits_main in [true, false] {
        let (main_place, lyon_place) = (Place::new(1), Place::new(2));
        let (main, lyon, link) = pair(&main_place, &lyon_place, 4, 6_000_000).await;
        let limited = if limits_main { &main } else { &lyon };
        limited.shared.limit(Some(LIMIT));
        // What was under way before the limit is not part of it.
        let rate = rate(&lyon, &link, 12_000_000, 20_000_000).await;
        // A busy machine may be slower, none is faster.
        assert!(rate < LIMIT as f64 * 1.1 && rate > LIMIT as f64 * 0.5, "{limits_main}: {rate}");
        limited.shared.limit(None);
        lyon.catches_up_with(&main).await;
        main.stop().await;
        lyon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_main_signs_does_not_wait_behind_content_that_is_held_back() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (main, lyon, _link) = pair(&main_place, &lyon_place, 8, 4_000_000).await;
    // Five minutes for all of it.
    main.shared.limit(Some(100_000));
    wait("content is under way", || (!lyon.shared.transfers().is_empty()).then_some(())).await;
    for seed in 100..103 {
        let bytes = noise(seed, 1_000);
        main_place.write(&immutable("late", &bytes), &bytes);
        let signed = Instant::now();
        wait("the index has it", || {
            let name = harness::name(&immutable("late", &bytes));
            lyon.repository.indexed(&harness::folder(), &name).unwrap()
        })
        .await;
        assert!(signed.elapsed() < Duration::from_secs(10));
    }
    assert!(lyon.received() < 16_000_000);
    main.shared.limit(None);
    lyon.catches_up_with(&main).await;
    main.stop().await;
    lyon.stop().await;
}

#[test]
fn the_limit_of_the_configuration_holds_until_a_reload_lifts_it_and_status_tells_it() {
    let main = Node::main("paris").with("[bandwidth]\nlimit = \"800 kbit/s\"\n").start();
    let bytes = processes::noise(1, 20_000_000);
    main.write(&processes::immutable("kb", &bytes), &bytes);
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    processes::wait("some of it has left", || (main.metric("line_sent_bytes_total") > 200_000).then_some(()));
    let (begun, before) = (Instant::now(), main.metric("line_sent_bytes_total"));
    processes::wait("more of it has left", || (main.metric("line_sent_bytes_total") > before + 150_000).then_some(()));
    let rate = (main.metric("line_sent_bytes_total") - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(rate < 150_000.0, "{rate}");
    assert!(main.ok("status").out.contains("limit 800 kbit/s"));
    assert_eq!(main.status()["rates"]["limit_bits_per_second"], 800_000);

    main.reconfigure("800 kbit/s", "");
    main.reload();
    lyon.catches_up_with(&main);
    assert!(!main.ok("status").out.contains("limit"));
}
