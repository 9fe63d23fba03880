//! How a node becomes a member: one stream, one request of at most 1 KiB, one answer.
//!
//! The halves work on any byte stream; two thin functions put them on a QUIC connection. Who is
//! admitted is decided by the handler, which consumes the token by a durable commit before it
//! answers. An answer may be lost after that commit: a handler that meets a used token again, with
//! the key that it admitted, can give the same answer again.

use super::{
    close::CloseCode,
    endpoint::Accepted,
    frames::{Frame, Join, JoinRefused, JoinRefusedReason, Joined},
    limiter::{Rate, SourceLimiter},
    wire::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError, encode_frame},
};
use quinn::{Connection, ConnectionError};
use std::{future::Future, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// Most bytes in a request: this much is read from anybody.
pub const MAX_JOIN_BYTES: usize = 1024;
/// Most bytes in an answer: a member record and a head.
const MAX_ANSWER_BYTES: usize = 128 * 1024;
/// For one frame to pass in either direction.
const FRAME_DEADLINE: Duration = Duration::from_secs(5);
/// For the answer to come: a parent may have to ask the main, over several tiers.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// From one address: an administrator who sets up the nodes of a site, and his mistakes.
const JOINS_PER_SOURCE: Rate = Rate { burst: 10, every: Duration::from_secs(2) };
/// In all: a thousand sites in four minutes; each waits at most 5 s for its frame, so that at most
/// 80 strangers are connected.
const JOINS_OVERALL: Rate = Rate { burst: 60, every: Duration::from_millis(250) };
const JOIN_SOURCES: usize = 1024;

/// How often strangers may ask to join.
pub fn join_limiter() -> SourceLimiter {
    SourceLimiter::new(JOINS_OVERALL, JOINS_PER_SOURCE, JOIN_SOURCES)
}

/// Why a request to join brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The answer is no.
    #[error("the request to join was refused: {0}")]
    Refused(JoinRefusedReason),
    /// The peer closed the connection instead of answering.
    #[error("the connection was closed: {0}")]
    Closed(CloseCode),
    /// No stream for the request.
    #[error("opening a stream to the peer")]
    Open(#[source] ConnectionError),
    /// The request is above its limit, or did not get through.
    #[error("sending the request to join")]
    Send(#[source] WriteFrameError),
    /// The answer did not get through.
    #[error("reading the answer to the request to join")]
    Receive(#[source] ReadFrameError),
    /// The stream ended, or another frame came.
    #[error("the peer gave no answer to the request to join")]
    NoAnswer,
    /// The peer is silent.
    #[error("no answer to the request to join in time")]
    Late,
}

/// Asks to become a member.
pub async fn request_join<R, W>(reader: R, mut writer: W, join: Join) -> Result<Joined, JoinError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let request = encode_frame(&join.into(), MAX_JOIN_BYTES).map_err(JoinError::Send)?;
    let sent = timeout(FRAME_DEADLINE, send(&mut writer, &request)).await;
    sent.map_err(|_| JoinError::Late)?.map_err(JoinError::Send)?;

    let mut reader = FrameReader::with_limit(reader, MAX_ANSWER_BYTES);
    let answer = timeout(ANSWER_DEADLINE, reader.read_frame()).await;
    match answer.map_err(|_| JoinError::Late)?.map_err(JoinError::Receive)? {
        Some(Frame::Joined(joined)) => Ok(joined),
        Some(Frame::JoinRefused(JoinRefused { reason })) => Err(JoinError::Refused(reason)),
        _ => Err(JoinError::NoAnswer),
    }
}

/// Asks over a connection made for [`Purpose::Join`](super::tls::Purpose::Join), and closes it.
pub async fn join_over(connection: &Connection, join: Join) -> Result<Joined, JoinError> {
    let outcome = async {
        let (writer, reader) = connection.open_bi().await.map_err(JoinError::Open)?;
        request_join(reader, writer, join).await
    };
    let outcome = outcome.await.map_err(|error| name_close(error, connection));
    CloseCode::Done.close(connection);
    outcome
}

/// What the peer said when it closed tells more than the stream that broke by it.
fn name_close(error: JoinError, connection: &Connection) -> JoinError {
    let code = connection.close_reason().and_then(|reason| CloseCode::of(&reason));
    match (error, code) {
        (JoinError::Open(_) | JoinError::Send(_) | JoinError::Receive(_), Some(code)) => JoinError::Closed(code),
        (error, _) => error,
    }
}

/// A request to join that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ServeJoinError {
    /// No stream came.
    #[error("waiting for the stream of a joining node")]
    Open(#[source] ConnectionError),
    /// The request did not get through.
    #[error("reading a request to join")]
    Receive(#[source] ReadFrameError),
    /// Another frame, or none.
    #[error("a joining node sent no request to join")]
    NoRequest,
    /// The answer did not get through. What was decided stays decided.
    #[error("answering a request to join")]
    Send(#[source] WriteFrameError),
    /// The joining node is too slow.
    #[error("a joining node did not keep its 5 s")]
    Late,
}

impl ServeJoinError {
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Receive(error) if error.is_violation() => CloseCode::Protocol,
            Self::NoRequest => CloseCode::Protocol,
            Self::Late => CloseCode::JoinLate,
            Self::Open(_) | Self::Receive(_) | Self::Send(_) => CloseCode::Done,
        }
    }
}

/// Reads one request, lets `decide` answer it, and says how it was answered. `decide` is not
/// interrupted; it brings its own deadline, below the 20 s that the joining node waits.
pub async fn serve_join<R, W, F, D>(
    reader: R,
    mut writer: W,
    decide: D,
) -> Result<Result<(), JoinRefusedReason>, ServeJoinError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    D: FnOnce(Join) -> F,
    F: Future<Output = Result<Joined, JoinRefusedReason>>,
{
    let mut reader = FrameReader::with_limit(reader, MAX_JOIN_BYTES);
    let request = timeout(FRAME_DEADLINE, reader.read_frame()).await;
    let Some(Frame::Join(join)) = request.map_err(|_| ServeJoinError::Late)?.map_err(ServeJoinError::Receive)? else {
        return Err(ServeJoinError::NoRequest);
    };
    let (answer, outcome) = match decide(join).await {
        Ok(joined) => (Frame::from(joined), Ok(())),
        Err(reason) => (JoinRefused { reason }.into(), Err(reason)),
    };
    let answer = encode_frame(&answer, MAX_ANSWER_BYTES).map_err(ServeJoinError::Send)?;
    let sent = timeout(FRAME_DEADLINE, send(&mut writer, &answer)).await;
    sent.map_err(|_| ServeJoinError::Late)?.map_err(ServeJoinError::Send)?;
    Ok(outcome)
}

/// Serves one request on a connection accepted for [`Purpose::Join`](super::tls::Purpose::Join),
/// and closes it. A node can only ask for the key that it connected with.
pub async fn serve_join_over<F, D>(
    accepted: &Accepted,
    decide: D,
) -> Result<Result<(), JoinRefusedReason>, ServeJoinError>
where
    D: FnOnce(Join) -> F,
    F: Future<Output = Result<Joined, JoinRefusedReason>>,
{
    let connection = &accepted.connection;
    let outcome = async {
        let streams = timeout(FRAME_DEADLINE, connection.accept_bi()).await;
        let (writer, reader) = streams.map_err(|_| ServeJoinError::Late)?.map_err(ServeJoinError::Open)?;
        serve_join(reader, writer, |join| decide_for(accepted, join, decide)).await
    };
    let outcome = outcome.await;
    let code = match &outcome {
        Ok(Ok(())) => CloseCode::Done,
        Ok(Err(_)) => CloseCode::JoinRefused,
        Err(error) => error.close_code(),
    };
    if outcome.is_ok() {
        // The joining node closes once it has read the answer; a close from here could overtake it.
        let _ = timeout(FRAME_DEADLINE, connection.closed()).await;
    }
    code.close(connection);
    outcome
}

async fn decide_for<F, D>(accepted: &Accepted, join: Join, decide: D) -> Result<Joined, JoinRefusedReason>
where
    D: FnOnce(Join) -> F,
    F: Future<Output = Result<Joined, JoinRefusedReason>>,
{
    if join.key != accepted.key {
        return Err(JoinRefusedReason::UnknownToken);
    }
    decide(join).await
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, frame: &[u8]) -> Result<(), WriteFrameError> {
    let mut writer = FrameWriter::new(writer);
    writer.write_raw(frame).await?;
    writer.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::clock::SystemClock,
        domain::{
            key::NodeKey,
            member::{NodeAddress, NodeName, SiteName},
        },
        sync::{
            endpoint::{Endpoint, EndpointSettings},
            frames::Behind,
            secret::Secret,
            tls::{Admission, Purpose, TransportKey},
            transport::Congestion,
        },
    };
    use std::sync::Arc;
    use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

    fn join(key: NodeKey) -> Join {
        Join {
            secret: Secret::new([1; 32]),
            name: NodeName::new("lyon").unwrap(),
            site: SiteName::new("Lyon").unwrap(),
            addresses: vec![NodeAddress::new("lyon.example:4433").unwrap()],
            key,
        }
    }

    fn joined() -> Joined {
        Joined { member: vec![1, 2], head: vec![3; 20_000] }
    }

    type Half = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

    fn streams() -> (Half, Half) {
        let (near, far) = duplex(4096);
        (split(near), split(far))
    }

    #[tokio::test]
    async fn a_request_reaches_the_handler_and_its_answer_the_node() {
        let ((near_reader, near_writer), (far_reader, far_writer)) = streams();
        let (answer, served) = tokio::join!(
            request_join(near_reader, near_writer, join(NodeKey([9; 32]))),
            serve_join(far_reader, far_writer, async |request: Join| {
                assert_eq!(request, join(NodeKey([9; 32])));
                Ok(joined())
            }),
        );
        assert_eq!(answer.unwrap(), joined());
        assert_eq!(served.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_refusal_comes_with_its_reason() {
        let ((near_reader, near_writer), (far_reader, far_writer)) = streams();
        let (answer, served) = tokio::join!(
            request_join(near_reader, near_writer, join(NodeKey([9; 32]))),
            serve_join(far_reader, far_writer, async |_| Err(JoinRefusedReason::NameTaken)),
        );
        assert!(matches!(answer, Err(JoinError::Refused(JoinRefusedReason::NameTaken))));
        assert_eq!(served.unwrap(), Err(JoinRefusedReason::NameTaken));
    }

    async fn serve_bytes(bytes: &[u8]) -> ServeJoinError {
        let (mut near, far) = duplex(4096);
        near.write_all(bytes).await.unwrap();
        let (reader, writer) = split(far);
        serve_join(reader, writer, async |_| panic!("nothing to decide")).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_a_slow_a_large_and_a_wrong_request_are_each_refused_for_their_reason() {
        assert!(matches!(serve_bytes(&[]).await, ServeJoinError::Late));
        assert!(matches!(serve_bytes(&[0, 0, 1]).await, ServeJoinError::Late));
        let large = serve_bytes(&1021_u32.to_be_bytes()).await;
        assert!(matches!(large, ServeJoinError::Receive(ReadFrameError::Length { .. })), "{large}");
        let wrong = serve_bytes(&encode_frame(&Behind {}.into(), 1024).unwrap()).await;
        assert!(matches!(wrong, ServeJoinError::NoRequest), "{wrong}");
        assert_eq!((large.close_code(), wrong.close_code()), (CloseCode::Protocol, CloseCode::Protocol));
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_that_never_answers_is_left() {
        let ((reader, writer), _far) = streams();
        assert!(matches!(request_join(reader, writer, join(NodeKey([9; 32]))).await, Err(JoinError::Late)));
    }

    #[tokio::test]
    async fn a_request_above_1_kib_is_not_sent() {
        let mut large = join(NodeKey([9; 32]));
        large.addresses = vec![NodeAddress::new(&format!("{}:1", "a".repeat(250))).unwrap(); 4];
        let ((reader, writer), _far) = streams();
        let error = request_join(reader, writer, large).await.unwrap_err();
        assert!(matches!(error, JoinError::Send(WriteFrameError::OverLimit { name: "Join" })), "{error}");
    }

    struct Nobody;

    impl Admission for Nobody {
        fn refusal(&self, _key: &NodeKey) -> Option<CloseCode> {
            Some(CloseCode::NotMember)
        }
    }

    fn node(seed: u8) -> Endpoint {
        let settings = EndpointSettings {
            congestion: Congestion::Cubic,
            admission: Arc::new(Nobody),
            clock: Arc::new(SystemClock),
        };
        let key = TransportKey::generate([seed; 32]);
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), key, settings).unwrap()
    }

    async fn connect(stranger: &Endpoint, main: &Endpoint) -> (Connection, Accepted) {
        let address = main.local_addr().unwrap();
        let (connection, accepted) =
            tokio::join!(stranger.connect(address, main.public_key(), Purpose::Join), main.accept());
        (connection.unwrap(), accepted.unwrap())
    }

    #[tokio::test]
    async fn a_stranger_joins_over_quic_and_the_connection_is_over_after_one_answer() {
        let (main, stranger) = (node(1), node(2));
        let (connection, accepted) = connect(&stranger, &main).await;
        let (answer, served) = tokio::join!(
            join_over(&connection, join(stranger.public_key())),
            serve_join_over(&accepted, async |_| Ok(joined())),
        );
        assert_eq!(answer.unwrap(), joined());
        assert_eq!(served.unwrap(), Ok(()));
        assert!(connection.open_bi().await.is_err());
    }

    #[tokio::test]
    async fn a_stranger_that_asks_for_the_key_of_another_is_refused_unheard() {
        let (main, stranger) = (node(1), node(2));
        let (connection, accepted) = connect(&stranger, &main).await;
        let (answer, _served) = tokio::join!(
            join_over(&connection, join(NodeKey([9; 32]))),
            serve_join_over(&accepted, async |_| panic!("nothing to decide")),
        );
        assert!(matches!(answer, Err(JoinError::Refused(JoinRefusedReason::UnknownToken))));
    }

    #[tokio::test]
    async fn a_close_by_the_parent_is_told_in_its_words() {
        let (main, stranger) = (node(1), node(2));
        let (connection, accepted) = connect(&stranger, &main).await;
        CloseCode::Busy.close(&accepted.connection);
        let error = join_over(&connection, join(stranger.public_key())).await.unwrap_err();
        assert!(matches!(error, JoinError::Closed(CloseCode::Busy)), "{error}");
    }
}
