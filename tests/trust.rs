//! Who may connect: tokens, members, revocation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod harness;

use harness::{Place, TestNode, fake::open_endpoint, immutable, join, noise, try_join, wait};
use std::sync::Arc;
use tokio::task::JoinSet;
use wuasync::{
    base::clock::{Clock, SystemClock},
    domain::member::Role,
    repository::Admission,
    sync::{
        close::CloseCode,
        endpoint::{Endpoint, EndpointSettings},
        frames::{Join, JoinRefusedReason as Reason},
        join::{JoinError, join_over},
        secret::Secret,
        tls::{Admission as Admits, Purpose, TransportKey},
        token::Token,
        transport::Congestion,
    },
};

/// Strangers that come at once, and guesses of one of them.
const FLOOD: u8 = 250;

struct Nobody;

impl Admits for Nobody {
    fn refusal(&self, _: &wuasync::domain::key::NodeKey) -> Option<CloseCode> {
        Some(CloseCode::NotMember)
    }
}

/// A node of another host: every loopback address is one to the rate limits.
fn endpoint_at(host: u8, key: [u8; 32]) -> Endpoint {
    let settings =
        EndpointSettings { congestion: Congestion::Cubic, admission: Arc::new(Nobody), clock: Arc::new(SystemClock) };
    Endpoint::bind(([127, 0, 1, host], 0).into(), TransportKey::generate(key), settings).unwrap()
}

/// One try to join with a secret.
async fn ask(endpoint: &Endpoint, token: &Token, secret: Secret) -> Result<(), JoinError> {
    let address = token.addresses[0].as_str().parse().unwrap();
    let connected = endpoint.connect(address, token.parent, Purpose::Join).await;
    // Refused before it was heard: as good as closed.
    let Ok(connection) = connected else { return Err(JoinError::Closed(CloseCode::Busy)) };
    let (name, site) = (token.name.clone(), token.site.clone());
    let request = Join { secret, name, site, addresses: vec![], key: endpoint.public_key() };
    join_over(&connection, request).await.map(drop)
}

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
    assert!(lyon.alarms("revoked"), "also after it tried again");
    assert_eq!(lyon.root_of(&immutable("two", &two)), None);
    lyon.serves(&immutable("one", &one), &one).await;
    assert_eq!(main.shared.children().len(), 1);
    lyon.stop().await;
    let outside = endpoint_at(9, lyon_place.key);
    let connection = outside.connect(main.address, main.key, Purpose::Member).await.unwrap();
    assert_eq!(CloseCode::of(&connection.closed().await), Some(CloseCode::Revoked));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_time_is_over_is_cut_off_and_stays_out_until_it_is_prolonged() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let (one, two) = (noise(1, 1_000), noise(2, 1_000));
    main_place.write(&immutable("one", &one), &one);
    let main = TestNode::main(&main_place, "paris");
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(join(&lyon_place, main.invite("lyon", None)).await));
    lyon.serves(&immutable("one", &one), &one).await;
    let mut member = main.repository.members().unwrap().remove(0);
    member.expires_at = Some(SystemClock.unix_ms() / 1_000 + 2);
    main.repository.admit(&member).unwrap();
    lyon.raises("revoked").await;
    wait("main has no child", || main.shared.children().is_empty().then_some(())).await;
    main_place.write(&immutable("two", &two), &two);
    main.serves(&immutable("two", &two), &two).await;
    let outside = endpoint_at(9, lyon_place.key);
    let connection = outside.connect(main.address, main.key, Purpose::Member).await.unwrap();
    assert_eq!(CloseCode::of(&connection.closed().await), Some(CloseCode::Revoked));
    assert_eq!(lyon.root_of(&immutable("two", &two)), None);
    member.expires_at = None;
    main.repository.admit(&member).unwrap();
    lyon.serves(&immutable("two", &two), &two).await;
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_strangers_at_once_are_turned_away_and_a_member_is_served_meanwhile() {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    let main = TestNode::main(&main_place, "paris");
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(join(&lyon_place, main.invite("lyon", None)).await));
    wait("lyon is connected", || lyon.shared.parent().connected_since).await;
    let since = lyon.shared.parent().connected_since;
    let strangers = Arc::new(open_endpoint([9; 32]));
    let mut flood = JoinSet::new();
    let (address, key) = (main.address, main.key);
    for _ in 0..FLOOD {
        let strangers = strangers.clone();
        flood.spawn(async move {
            let Ok(connection) = strangers.connect(address, key, Purpose::Member).await else { return };
            tokio::time::timeout(harness::PATIENCE, connection.closed()).await.expect("a stranger stays connected");
        });
    }
    let bytes = noise(1, 3_000_000);
    main_place.write(&immutable("f", &bytes), &bytes);
    lyon.serves(&immutable("f", &bytes), &bytes).await;
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    assert_eq!(lyon.shared.parent().connected_since, since, "on the same connection");
    let connected: Vec<_> = main.shared.children().into_iter().map(|child| child.name).collect();
    assert_eq!(connected, ["lyon"]);
    main.stop().await;
    lyon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_secrets_are_few_and_in_vain_and_honest_nodes_join_meanwhile() {
    let main_place = Place::new(1);
    let main = TestNode::main(&main_place, "paris");
    let tokens: Vec<_> = (0..12).map(|n| main.invite(&format!("site{n}"), None)).collect();
    let guesser = Arc::new(endpoint_at(200, [99; 32]));
    let (begun, mut flood) = (tokio::time::Instant::now(), JoinSet::new());
    for guess in 0..FLOOD {
        let (guesser, token) = (guesser.clone(), again(&tokens[0]));
        flood.spawn(async move { ask(&guesser, &token, Secret::new([guess; 32])).await });
    }
    let mut honest = JoinSet::new();
    for (host, token) in (1..).zip(tokens) {
        honest.spawn(async move {
            // Refused for the crowd alone: the person tries again.
            let endpoint = endpoint_at(host, [host; 32]);
            let deadline = tokio::time::Instant::now() + harness::PATIENCE;
            loop {
                match ask(&endpoint, &token, again(&token).secret).await {
                    Ok(()) => break,
                    Err(error @ JoinError::Refused(_)) => panic!("{error:?}"),
                    Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error:?}"),
                }
            }
        });
    }
    while let Some(joined) = honest.join_next().await {
        joined.unwrap();
    }
    let (mut heard, mut turned_away) = (0u64, 0);
    while let Some(guess) = flood.join_next().await {
        match guess.unwrap() {
            Err(JoinError::Refused(Reason::UnknownToken)) => heard += 1,
            other @ (Ok(()) | Err(JoinError::Refused(_))) => panic!("{other:?}"),
            // Closed, or too late on a machine that has enough to do.
            Err(_) => turned_away += 1,
        }
    }
    // A burst of ten and one every two seconds, for as long as the flood took.
    let most = 10 + begun.elapsed().as_secs() / 2 + 1;
    assert!((1..=most).contains(&heard), "{heard} guesses were heard, {turned_away} turned away");
    assert_eq!(main.repository.members().unwrap().len(), 12);
    main.stop().await;
}
