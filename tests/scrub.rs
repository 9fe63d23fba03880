//! What rots on a disk is found, leaves service, and comes back from whoever has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Place, TestNode, folder, immutable, join, name, noise, wait};
use wuasync::{
    domain::digest::Root,
    repository::{Found, Scrubbed},
    sync::{
        frames::{Frame, Get, GetItem},
        wire::{FrameReader, FrameWriter},
    },
};

async fn pair(main_place: &Place, lyon_place: &Place) -> (TestNode, TestNode) {
    let main = TestNode::main(main_place, "paris");
    main.enrol();
    let parent = join(lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(lyon_place, "lyon", Some(parent));
    (main, lyon)
}

fn is_not_served(node: &TestNode, text: &str) -> bool {
    matches!(node.repository.find(&folder(), &name(text)).unwrap(), Found::NotYet | Found::Missing(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_whose_files_rotted_heals_them_from_a_secondary_and_signs_nothing() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (big, small, old) = (noise(1, 3_000_000), noise(2, 3_000), noise(3, 300_000));
    main_place.write(&immutable("big", &big), &big);
    main_place.write(&immutable("small", &small), &small);
    main_place.write_old("wsusscn2.cab", &old);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&immutable("big", &big), &big).await;
    lyon.serves(&immutable("small", &small), &small).await;
    lyon.serves("wsusscn2.cab", &old).await;
    let head = main.repository.head().unwrap();
    main_place.rot(&immutable("big", &big), 1_000_000);
    main_place.rot(&immutable("small", &small), 10);
    main_place.rot("wsusscn2.cab", 299_999);
    for (file, bytes) in
        [(immutable("big", &big), &big), (immutable("small", &small), &small), ("wsusscn2.cab".into(), &old)]
    {
        let read = main.scrub(&file).await;
        assert!(matches!(read, Scrubbed::Damaged { groups: 1, wanted: true, .. }), "{read:?}");
        main.serves(&file, bytes).await;
        assert_eq!(main_place.read(&file).as_ref(), Some(bytes));
        assert_eq!(main.scrub(&file).await, Scrubbed::Whole { bytes: bytes.len() as u64 });
    }
    let totals = main.repository.state().index.read().unwrap().damage_totals().unwrap();
    assert_eq!((totals.found_groups, totals.healed_groups), (3, 3));
    let now = main.repository.head().unwrap();
    assert_eq!((now.head().seq, &now.head().roots), (head.head().seq, &head.head().roots));
    lyon.catches_up_with(&main).await;
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_waits_for_a_secondary_that_has_what_rotted_and_takes_no_rotten_copy() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let big = noise(1, 3_000_000);
    let file = immutable("big", &big);
    main_place.write(&file, &big);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    let parent = join(&nice_place, main.invite("nice", None)).await;
    let nice = TestNode::secondary(&nice_place, "nice", Some(parent.clone()));
    lyon.serves(&file, &big).await;
    nice.serves(&file, &big).await;
    nice.stop().await;
    lyon_place.rot(&file, 2_000_000);
    main_place.rot(&file, 500_000);
    assert!(matches!(main.scrub(&file).await, Scrubbed::Damaged { wanted: true, .. }));
    lyon.raises(&file).await;
    assert!(is_not_served(&main, &file) && is_not_served(&lyon, &file));
    assert_eq!((main_place.read(&file), lyon_place.read(&file)), (None, None));
    let nice = TestNode::secondary(&nice_place, "nice", Some(parent));
    for node in [&main, &lyon] {
        node.serves(&file, &big).await;
    }
    main.raises("it is whole again, from nice").await;
    assert_eq!((main_place.read(&file).as_ref(), lyon_place.read(&file).as_ref()), (Some(&big), Some(&big)));
    for node in [main, lyon, nice] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_whose_file_rotted_fetches_it_again() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let big = noise(1, 3_000_000);
    let file = immutable("big", &big);
    main_place.write(&file, &big);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&file, &big).await;
    lyon_place.rot(&file, 2_999_999);
    assert!(matches!(lyon.scrub(&file).await, Scrubbed::Damaged { groups: 1, wanted: true, .. }));
    lyon.serves(&file, &big).await;
    assert_eq!(lyon_place.read(&file), Some(big));
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_gives_its_parent_content_and_nothing_else_on_the_parents_streams() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let small = noise(1, 3_000);
    main_place.write(&immutable("small", &small), &small);
    let (main, lyon) = pair(&main_place, &lyon_place).await;
    lyon.serves(&immutable("small", &small), &small).await;
    let given = wait("the child says that it gives", || {
        main.shared.children().first().filter(|child| child.gives).map(|child| child.name.clone())
    });
    assert_eq!(given.await, "lyon");
    let connection = main.shared.connection_of(&lyon.key).unwrap();
    let ask = async |frame: Frame| {
        let (send, receive) = connection.open_bi().await.unwrap();
        FrameWriter::new(send).write_frame(frame).await.unwrap();
        FrameReader::new(receive).read_frame().await
    };
    let get = |root| Get { items: vec![GetItem { root, ranges: vec![] }] };
    let granted = ask(get(Root::from(blake3::hash(&small))).into()).await.unwrap();
    assert!(matches!(granted, Some(Frame::Granted(granted)) if granted.size == 3_000));
    assert!(matches!(ask(get(Root([9; 32])).into()).await.unwrap(), Some(Frame::Refused(_))));
    assert!(ask(wuasync::sync::frames::Behind {}.into()).await.is_err());
    assert!(connection.close_reason().is_none(), "the connection goes on");
    main.stop().await;
    lyon.stop().await;
}
