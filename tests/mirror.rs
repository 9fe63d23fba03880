//! Two and three nodes keep real folders the same.

mod harness;

use harness::{Place, TestNode, immutable, join, noise};

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_mirrors_what_the_main_adopted_and_what_is_dropped_later() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (big, small, old) = (noise(1, 5_000_001), noise(2, 3_000), noise(3, 70_000));
    main_place.write(&immutable("big", &big), &big);
    main_place.write(&immutable("sub/small", &small), &small);
    main_place.write_old("wsusscn2.cab", &old);
    main_place.write(&immutable("empty", b""), b"");
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&immutable("big", &big), &big).await;
    lyon.serves(&immutable("sub/small", &small), &small).await;
    lyon.serves("wsusscn2.cab", &old).await;
    lyon.serves(&immutable("empty", b""), b"").await;
    assert_eq!(lyon_place.read(&immutable("big", &big)), Some(big));

    let late = noise(4, 200_000);
    main_place.write(&immutable("late", &late), &late);
    lyon.serves(&immutable("late", &late), &late).await;
    main.stop().await;
    lyon.stop().await;
}
