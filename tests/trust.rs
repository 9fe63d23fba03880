//! Who may connect: tokens, members, revocation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Place, TestNode, immutable, join, noise, try_join, wait};
use wuasync::{
    domain::member::Role,
    repository::Admission,
    sync::{frames::JoinRefusedReason as Reason, join::JoinError, token::Token},
};

fn refusal<T: std::fmt::Debug>(answer: Result<T, JoinError>) -> Reason {
    match answer {
        Err(JoinError::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// The same token again; tokens are not meant to be copied.
fn again(token: &Token) -> Token {
    Token::parse(&token.to_text().unwrap(), 0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_member_is_cut_off_at_once_and_stays_out_even_with_its_old_token() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let one = noise(1, 1_000);
    main_place.write(&immutable("one", &one), &one);
    let main = TestNode::main(&main_place, "paris");
    let token = main.invite("lyon", None);
    let parent = join(&lyon_place, again(&token)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    let nice = TestNode::secondary(&nice_place, "nice", Some(join(&nice_place, main.invite("nice", None)).await));
    lyon.serves(&immutable("one", &one), &one).await;
    nice.serves(&immutable("one", &one), &one).await;

    main.repository.revoke(&lyon.key).unwrap();
    lyon.raises("revoked").await;
    let two = noise(2, 1_000);
    main_place.write(&immutable("two", &two), &two);
    nice.serves(&immutable("two", &two), &two).await;
    // Its next try is refused as that of a stranger.
    lyon.raises("does not know this node").await;
    assert_eq!(lyon.root_of(&immutable("two", &two)), None);
    lyon.serves(&immutable("one", &one), &one).await;
    assert_eq!(main.shared.children().len(), 1);
    lyon.stop().await;
    assert_eq!(refusal(try_join(&lyon_place, token).await), Reason::Used);
    main.stop().await;
    nice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_turned_away_and_told_so() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(main.as_parent(&main)));
    lyon.raises("does not know this node as a member").await;
    assert_eq!(lyon.shared.parent().connected_since, None);
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_admits_one_node_once_in_its_time_and_the_same_node_may_ask_again() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let main = TestNode::main(&main_place, "paris");
    let token = main.invite("lyon", None);
    let first = try_join(&lyon_place, again(&token)).await.unwrap();
    let second = try_join(&lyon_place, again(&token)).await.unwrap();
    assert_eq!(first.member.len(), second.member.len());
    // Another node with the same token and name, then with a name of its own.
    assert_eq!(refusal(try_join(&nice_place, again(&token)).await), Reason::Used);
    let renamed = Token { name: "nice".parse().unwrap(), ..again(&token) };
    assert_eq!(refusal(try_join(&nice_place, renamed).await), Reason::Used);
    assert_eq!(main.repository.members().unwrap().len(), 1);
    main.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_expired_tokens_admit_nobody() {
    let (main_place, other_place, lyon_place) = (Place::new(1), Place::new(4), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    let other = TestNode::main(&other_place, "rome");
    let foreign = other.invite("lyon", None);
    let here = Token { addresses: main.invite("x", None).addresses, parent: main.key, ..foreign };
    assert_eq!(refusal(try_join(&lyon_place, here).await), Reason::UnknownToken);
    assert_eq!(refusal(try_join(&lyon_place, main.invite_for("lyon", 0)).await), Reason::Expired);
    assert_eq!(main.repository.members().unwrap(), []);
    main.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_for_one_name_admit_one_node() {
    let (main_place, lyon_place, nice_place) = (Place::new(1), Place::new(2), Place::new(3));
    let main = TestNode::main(&main_place, "paris");
    let (one, two) = (main.invite_for("lyon", 60), main.invite("lyon", None));
    let (one, two) = tokio::join!(try_join(&lyon_place, one), try_join(&nice_place, two));
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(main.repository.members().unwrap().len(), 1);
    main.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_nothing_of_a_folder_that_is_not_in_its_row() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let secret = noise(1, 1_000);
    main_place.write(&immutable("secret", &secret), &secret);
    let main = TestNode::main(&main_place, "paris");
    let mut token = main.invite_to("lyon", &["wapt"]);
    token.folders = vec![];
    let parent = join(&lyon_place, token).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    lyon.raises("may not or can't give").await;
    let client = lyon.ask_for(&main, wuasync::domain::digest::Root::from(blake3::hash(&secret))).await;
    assert!(matches!(client, Some(wuasync::sync::frames::Frame::Refused(_))), "{client:?}");
    assert!(lyon.repository.head().is_none());
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_the_same_key_takes_the_place_of_the_first_and_both_hear_why() {
    let (main_place, lyon_place, copy_place) = (Place::new(1), Place::new(2), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent.clone()));
    wait("lyon is connected", || lyon.shared.parent().connected_since).await;
    let copy = TestNode::secondary(&copy_place, "lyon", Some(parent));
    wait("the copy took over", || lyon.alarms("took its place").then_some(())).await;
    assert!(main.shared.children().len() <= 1);
    assert!(matches!(main.repository.admission(&lyon.key), Ok(Admission::Member(_))));
    assert_eq!(lyon.repository.role(), Role::Secondary);
    for node in [main, lyon, copy] {
        node.stop().await;
    }
}
