//! Members that lie: nothing wrong gets a name, memory stays bounded, everybody else is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{
    Place, TestNode,
    fake::{FakeParent, Lie, open_endpoint},
    files_below, immutable, join,
    link::Link,
    noise, wait,
};
use wuasync::{
    domain::{
        digest::Root,
        state::{LineSigner, Namespace},
    },
    sync::{
        frames::{AskBucket, AskNode, Descend, Frame, Get, GetItem, Hello, NamespaceName, Progress},
        pull::ParentAddress,
        tls::Purpose,
        wire::{FrameReader, FrameWriter},
    },
};

const WORDS_OF_REFUSAL: &[&str] = &["refused", "no honest parent", "does not verify", "breaks off", "can't be reached"];

/// A secondary follows a liar until it complains; then the honest main takes its place.
async fn survives(lie: impl Fn(&Place, &TestNode) -> Lie) {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (big, small) = (noise(1, 1_000_000), noise(2, 3_000));
    let names = [immutable("big", &big), immutable("small", &small)];
    main_place.write(&names[0], &big);
    main_place.write(&names[1], &small);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&names[0], &big).await;
    main.serves(&names[1], &small).await;
    let mut parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lie = lie(&main_place, &main);
    let mut fake = FakeParent::of(&main_place, &main, lie.clone());
    let link = Link::to(fake.address).await;
    parent.addresses = vec![link.address.to_string()];
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    if !matches!(lie, Lie::None) {
        let alarmed = || WORDS_OF_REFUSAL.iter().any(|words| lyon.alarms(words)).then_some(());
        wait(&format!("an alarm about {lie:?}"), alarmed).await;
        for path in files_below(&lyon_place.folder()) {
            let name = path.strip_prefix(lyon_place.folder()).unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(&path).unwrap();
            assert!([&big, &small].contains(&&bytes) && names.contains(&name), "{name} after {lie:?}");
        }
        link.lead_to(main.address);
        fake.stop();
    }
    lyon.serves(&names[0], &big).await;
    lyon.serves(&names[1], &small).await;
    lyon.catches_up_with(&main).await;
    drop(fake);
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_parent_is_honest_if_told_so() {
    survives(|_, _| Lie::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_content_never_get_a_name() {
    for lie in [Lie::Content, Lie::Size, Lie::Grants] {
        survives(|_, _| lie.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_do_not_belong_end_the_connection() {
    for lie in [Lie::UnknownFrame, Lie::OutOfPlace] {
        survives(|_, _| lie.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_trees_are_found_against_the_signed_root() {
    for lie in [Lie::Nodes, Lie::Buckets] {
        survives(|_, _| lie.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_and_foreign_entries_never_reach_the_index() {
    for lie in [Lie::Entries, Lie::Foreign] {
        ends_with_the_signed_state(lie).await;
    }
}

async fn ends_with_the_signed_state(lie: Lie) {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let small = noise(2, 3_000);
    main_place.write(&immutable("small", &small), &small);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&immutable("small", &small), &small).await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let mut member = main.repository.members().unwrap().remove(0);
    member.site = "elsewhere".parse().unwrap();
    main.repository.admit(&member).unwrap();
    let fake = FakeParent::of(&main_place, &main, lie);
    let parent = ParentAddress { addresses: vec![fake.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.serves(&immutable("small", &small), &small).await;
    lyon.catches_up_with(&main).await;
    let snapshot = lyon.repository.state().index.read().unwrap();
    assert_eq!(snapshot.root_of(&Namespace::new("folder/other").unwrap()).unwrap(), [0; 32]);
    drop((fake, snapshot));
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_end_are_a_flood() {
    for lie in [Lie::EndlessEntries, Lie::EmptyEntries, Lie::EndlessBucket] {
        survives(|_, _| lie.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_forged_or_of_another_line_is_refused_with_an_alarm() {
    survives(|_, main| {
        let mut bytes = main.repository.head().unwrap().to_bytes();
        *bytes.last_mut().unwrap() ^= 1;
        Lie::Head(bytes)
    })
    .await;
    survives(|_, main| {
        let head = main.repository.head().unwrap().head().clone();
        Lie::Head(LineSigner::from_secret(&[9; 32]).sign(head).unwrap().to_bytes())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_head_is_refused_with_an_alarm() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let old = main.repository.head().unwrap().to_bytes();
    let small = noise(2, 3_000);
    main_place.write(&immutable("small", &small), &small);
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
    lyon.serves(&immutable("small", &small), &small).await;
    lyon.stop().await;
    let fake = FakeParent::of(&main_place, &main, Lie::Head(old));
    let parent = ParentAddress { addresses: vec![fake.address.to_string()], ..parent };
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.raises("older state").await;
    lyon.serves(&immutable("small", &small), &small).await;
    drop(fake);
    main.stop().await;
    lyon.stop().await;
}

fn namespace(name: &str) -> NamespaceName {
    NamespaceName::new(name).unwrap()
}

fn hello(namespaces: &[&str]) -> Hello {
    Hello {
        versions: (1, 1),
        features: 0,
        name: "lyon".parse().unwrap(),
        namespaces: namespaces.iter().map(|name| namespace(name)).collect(),
        epoch: 0,
        seq: 0,
        head_hash: [0; 32],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_child_is_closed_and_others_are_served() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let big = noise(1, 3_000_000);
    main_place.write(&immutable("big", &big), &big);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&immutable("big", &big), &big).await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let nice = TestNode::secondary(&nice_place, "nice", Some(join(&nice_place, main.invite("nice", None)).await));
    let endpoint = open_endpoint(lyon_place.key);

    let descend = || Frame::from(Descend { namespaces: vec![namespace("members")] });
    let frames: Vec<Vec<Frame>> = vec![
        vec![descend(), AskNode { namespace: namespace("members"), inner: Some(255) }.into()],
        vec![descend(), AskBucket { namespace: namespace("members"), bucket: 60_000 }.into()],
        vec![descend(), AskNode { namespace: namespace("folder/waptwua"), inner: None }.into()],
        vec![Progress { epoch: 0, seq: 0, missing_files: 0, missing_bytes: 0 }.into()],
        vec![hello(&["members"]).into(), descend()],
        vec![Hello { versions: (7, 9), ..hello(&[]) }.into()],
        vec![hello(&["folder/other"]).into()],
    ];
    for frames in frames {
        let connection = endpoint.connect(main.address, parent.key, Purpose::Member).await.unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        let mut writer = FrameWriter::new(send);
        let shown = format!("{frames:?}");
        for frame in frames {
            writer.write_frame(frame).await.unwrap();
        }
        let mut reader = FrameReader::new(receive);
        while let Ok(Some(_)) = reader.read_frame().await {}
        let closed = tokio::time::timeout(harness::PATIENCE, connection.closed()).await;
        assert!(matches!(closed, Ok(quinn::ConnectionError::ApplicationClosed(_))), "{shown}: {closed:?}");
    }
    for garbage in [&[0xff; 64][..], &[0, 0, 0, 2, 0x7f, 0xff], &[0, 0, 0, 8, 0, 1, 9, 9, 9, 9, 9, 9]] {
        let connection = endpoint.connect(main.address, parent.key, Purpose::Member).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(garbage).await.unwrap();
        tokio::time::timeout(harness::PATIENCE, connection.closed()).await.unwrap();
    }

    // Asks for much and reads nothing, on as many streams as there may be.
    let connection = endpoint.connect(main.address, parent.key, Purpose::Member).await.unwrap();
    let root = Root::from(blake3::hash(&big));
    let mut streams = Vec::new();
    for _ in 0..30 {
        let (send, receive) = connection.open_bi().await.unwrap();
        let mut writer = FrameWriter::new(send);
        let items = (0..1_000).map(|_| GetItem { root, ranges: vec![] }).collect();
        writer.write_frame(Get { items }).await.unwrap();
        streams.push((writer, receive));
    }
    let (send, receive) = connection.open_bi().await.unwrap();
    let mut writer = FrameWriter::new(send);
    writer.write_frame(hello(&["members", "folder/waptwua"])).await.unwrap();
    streams.push((writer, receive));

    let late = noise(7, 2_000_000);
    main_place.write(&immutable("late", &late), &late);
    nice.serves(&immutable("late", &late), &late).await;
    let sent = main.shared.sent_bytes.load(std::sync::atomic::Ordering::Relaxed);
    // What nobody reads stays in the windows: 16 streams with two steps each, and the send window.
    assert!(sent < 50_000_000, "{sent}");
    assert!(connection.close_reason().is_none());
    main.repository.revoke(&endpoint.public_key()).unwrap();
    tokio::time::timeout(harness::PATIENCE, connection.closed()).await.unwrap();
    drop(streams);
    main.stop().await;
    nice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_of_a_secondary_believes_the_line_and_not_its_parent() {
    let (main_place, lyon_place, bron_place) = (Place::new(1), Place::new(2), Place::new(3));
    let big = noise(1, 1_000_000);
    let name = immutable("big", &big);
    main_place.write(&name, &big);
    let main = TestNode::main(&main_place, "paris");
    main.serves(&name, &big).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(join(&lyon_place, main.invite("lyon", None)).await));
    lyon.serves(&name, &big).await;
    lyon.catches_up_with(&main).await;
    let parent = join(&bron_place, main.invite("bron", Some(&lyon))).await;
    lyon.catches_up_with(&main).await;
    // Signed by the parent itself, which bron was told to connect to.
    let head = main.repository.head().unwrap().head().clone();
    let own = LineSigner::from_secret(&lyon_place.key).sign(head).unwrap().to_bytes();
    for lie in [Lie::Head(own), Lie::Content] {
        let mut fake = FakeParent::of(&lyon_place, &lyon, lie);
        let parent = ParentAddress { addresses: vec![fake.address.to_string()], ..parent.clone() };
        let bron = TestNode::secondary(&bron_place, "bron", Some(parent));
        wait("an alarm", || WORDS_OF_REFUSAL.iter().any(|words| bron.alarms(words)).then_some(())).await;
        assert!(files_below(&bron_place.folder()).is_empty());
        fake.stop();
        bron.stop().await;
    }
    let bron = TestNode::secondary(&bron_place, "bron", Some(parent));
    bron.serves(&name, &big).await;
    for node in [bron, lyon, main] {
        node.stop().await;
    }
}
