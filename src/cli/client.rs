//! Asking the daemon: HTTP/1.1 over its control socket, one request after the other.

use crate::daemon::{
    api::{ApiError, ErrorCode},
    config::Config,
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, SizeHint},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::Write,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};
use tokio::{net::UnixStream, sync::mpsc};

/// Largest answer that is read: a page of files is below 1 MiB, a check of a ruined folder may be long.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// How long the daemon may take for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the daemon gave no answer, or which it gave.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody listens.
    #[error(
        "no daemon answers at {path}: start it with `systemctl start wuasync` or `wuasync serve`, or name its configuration with --config"
    )]
    NotRunning {
        /// The control socket.
        path: PathBuf,
    },
    /// The socket is not for this user.
    #[error(
        "{path} is not for you: commands are for root and for members of the group wuasync-admin (`usermod -aG wuasync-admin NAME`, then log in again)"
    )]
    Denied {
        /// The control socket.
        path: PathBuf,
    },
    /// The socket can't be used for another reason.
    #[error("can't reach the daemon at {path}")]
    Connect {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon went away before it had answered.
    #[error("the daemon at {path} went away before it had answered")]
    Lost {
        /// The control socket.
        path: PathBuf,
        /// What was seen of it.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("the daemon does not answer; see its log")]
    Slow,
    /// The question can't be asked.
    #[error("can't put the question")]
    Request(#[from] http::Error),
    /// The answer is not what this version expects.
    #[error("the daemon's answer is not understood ({what}); is it of another version?")]
    NotUnderstood {
        /// What was found.
        what: String,
    },
    /// The daemon says why it did not.
    #[error("{0}")]
    Api(ApiError),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    requests: SendRequest<RequestBody>,
}

type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes of a file that are read at once while it is sent.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks that wait for the daemon to take them.
const BLOCKS: usize = 4;

impl Client {
    /// Connects to the control socket of `config`. Needs a tokio runtime.
    pub async fn connect(config: &Config) -> Result<Self, ClientError> {
        Self::at(&config.control).await
    }

    /// Connects to the control socket at `path`.
    pub async fn at(path: &Path) -> Result<Self, ClientError> {
        let path = path.to_owned();
        let stream = match UnixStream::connect(&path).await {
            Ok(stream) => stream,
            Err(error) => return Err(unconnected(path, error)),
        };
        let (requests, connection) = match http1::handshake(TokioIo::new(stream)).await {
            Ok(both) => both,
            Err(source) => return Err(ClientError::Lost { path, source }),
        };
        // The connection's end shows in the request that is under way.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self { path, requests })
    }

    /// Asks for `path`, which starts with a slash and is percent-encoded.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let request = request(Method::GET, path, Bytes::new())?;
        tokio::time::timeout(PATIENCE, self.ask(request)).await.map_err(|_| ClientError::Slow)?
    }

    /// Has something done, and waits for as long as it takes.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&mut self, path: &str, body: &B) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| not_understood(&error))?;
        self.ask(request(Method::POST, path, body.into())?).await
    }

    /// Has something removed, and waits for as long as it takes; `path` as in [`Client::get`].
    pub async fn delete<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        self.ask(request(Method::DELETE, path, Bytes::new())?).await
    }

    /// Sends exactly `size` bytes of `from`, telling `sent` how many as they leave.
    pub async fn upload<T: DeserializeOwned>(
        &mut self,
        path: &str,
        from: impl Read + Send + 'static,
        size: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<T, ClientError> {
        let (blocks, receiver) = mpsc::channel(BLOCKS);
        tokio::task::spawn_blocking(move || send_blocks(from.take(size), &blocks, sent));
        let body = UnsyncBoxBody::new(Upload { blocks: receiver, left: size });
        self.ask(request_of(Method::POST, path).body(body)?).await
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: Request<RequestBody>) -> Result<T, ClientError> {
        let lost = |source| ClientError::Lost { path: self.path.clone(), source };
        self.requests.ready().await.map_err(lost)?;
        let answer = self.requests.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| not_understood(&*error))?.to_bytes();
        if !status.is_success() {
            return Err(ClientError::Api(api_error(status, &body)));
        }
        serde_json::from_slice(&body).map_err(|error| not_understood(&error))
    }
}

fn unconnected(path: PathBuf, error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { path },
        io::ErrorKind::PermissionDenied => ClientError::Denied { path },
        _ => ClientError::Connect { path, source: error },
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<RequestBody>, http::Error> {
    let body = UnsyncBoxBody::new(Full::new(body).map_err(|never| match never {}));
    request_of(method, path).header(header::CONTENT_TYPE, "application/json").body(body)
}

fn request_of(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost")
}

/// Until the end, an error, or the daemon's word that it wants no more.
fn send_blocks(mut from: impl Read, blocks: &mpsc::Sender<io::Result<Bytes>>, sent: impl Fn(u64)) {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let read = from.read(&mut block).map(|read| {
            block.truncate(read);
            Bytes::from(block)
        });
        let count = match &read {
            Ok(block) if block.is_empty() => return,
            Ok(block) => block.len() as u64,
            Err(_) => 0,
        };
        if blocks.blocking_send(read).is_err() || count == 0 {
            return;
        }
        sent(count);
    }
}

/// A file as the body of a request.
struct Upload {
    blocks: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let block = task::ready!(self.blocks.poll_recv(cx));
        if let Some(Ok(block)) = &block {
            self.left = self.left.saturating_sub(block.len() as u64);
        }
        let is_short = block.is_none() && self.left > 0;
        let short = is_short.then(|| Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")));
        Poll::Ready(block.map(|block| block.map(Frame::data)).or(short))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The daemon's own words; where a layer below them answered, its status.
fn api_error(status: http::StatusCode, body: &[u8]) -> ApiError {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let code = match status.as_u16() {
            404 => ErrorCode::Unknown,
            401 | 403 | 405 => ErrorCode::Refused,
            400..=499 => ErrorCode::Invalid,
            _ => ErrorCode::Failed,
        };
        let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
        ApiError::new(code, format!("the daemon answers {status} {text}").trim_end())
    })
}

fn not_understood(error: &dyn std::error::Error) -> ClientError {
    ClientError::NotUnderstood { what: error.to_string() }
}

/// `text` as a part of a path or query; slashes stay, for file names.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => encoded.push(byte.into()),
            // Writing to a text can't fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::control::ControlSocket;
    use axum::{
        Json, Router,
        extract::{Path as UrlPath, Query},
        routing::{get, post},
    };
    use std::collections::BTreeMap;
    use tokio_util::sync::CancellationToken;

    /// A daemon that answers with `router` while `work` asks it.
    async fn with_daemon<T>(router: Router, work: impl AsyncFnOnce(Client) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let socket = ControlSocket::bind(&path).await.unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(socket.serve(router, stop.clone()));
        let result = work(Client::at(&path).await.unwrap()).await;
        stop.cancel();
        server.await.unwrap().unwrap();
        assert!(!path.exists());
        result
    }

    #[tokio::test]
    async fn questions_and_answers_pass_the_socket() {
        let router = Router::new()
            .route("/sum", post(async |Json(numbers): Json<Vec<u64>>| Json(numbers.iter().sum::<u64>())))
            .route("/file/{folder}/{*name}", get(async |UrlPath(both): UrlPath<(String, String)>| Json(both)))
            .route("/query", get(async |Query(query): Query<BTreeMap<String, String>>| Json(query)));
        with_daemon(router, async |mut client| {
            assert_eq!(client.post::<_, u64>("/sum", &[1, 2]).await.unwrap(), 3);
            let name = "sub/a b%20 é#?&.cab";
            let path = format!("/file/waptwua/{}", percent_encoded(name));
            let found: (String, String) = client.get(&path).await.unwrap();
            assert_eq!(found, ("waptwua".to_owned(), name.to_owned()));
            let found: BTreeMap<String, String> =
                client.get(&format!("/query?after={}", percent_encoded(name))).await.unwrap();
            assert_eq!(found["after"], name);
        })
        .await;
    }

    #[tokio::test]
    async fn a_refusal_comes_with_the_daemons_own_words() {
        let refusal = || ApiError::new(ErrorCode::Refused, "the cap stands against it");
        let router = Router::new().route("/no", get(async move || refusal()));
        with_daemon(router, async |mut client| {
            let found = client.get::<u64>("/no").await.unwrap_err();
            assert!(matches!(found, ClientError::Api(error) if error == refusal()));
            let found = client.get::<u64>("/nowhere").await.unwrap_err();
            assert!(matches!(found, ClientError::Api(error) if error.code == ErrorCode::Unknown));
        })
        .await;
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused() {
        let router = Router::new().route("/take", post(async |Json(_): Json<String>| Json(0)));
        with_daemon(router, async |mut client| {
            assert_eq!(client.post::<_, u64>("/take", &"x".repeat(60_000)).await.unwrap(), 0);
            let found = client.post::<_, u64>("/take", &"x".repeat(70_000)).await.unwrap_err();
            assert!(matches!(found, ClientError::Api(error) if error.code == ErrorCode::Invalid));
        })
        .await;
    }

    #[tokio::test]
    async fn an_answer_of_another_shape_is_not_taken() {
        let router = Router::new().route("/text", get(async || "not JSON"));
        with_daemon(router, async |mut client| {
            let found = client.get::<u64>("/text").await.unwrap_err();
            assert!(matches!(found, ClientError::NotUnderstood { .. }), "{found}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_and_one_that_is_gone_are_both_not_running() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        assert!(matches!(Client::at(&path).await, Err(ClientError::NotRunning { .. })));
        drop(ControlSocket::bind(&path).await.unwrap());
        assert!(matches!(Client::at(&path).await, Err(ClientError::NotRunning { .. })));
    }

    #[test]
    fn a_socket_without_the_right_to_it_names_the_group() {
        let error = unconnected(PathBuf::from("/x"), io::ErrorKind::PermissionDenied.into());
        assert!(matches!(&error, ClientError::Denied { .. }) && error.to_string().contains("wuasync-admin"));
    }
}
