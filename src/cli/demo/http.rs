//! What a host does: ask for a file and read it.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// A body that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// Its BLAKE3.
    pub(super) root: blake3::Hash,
}

/// Fetches `path`; `None` for any answer but 200.
pub(super) async fn fetch(from: SocketAddr, path: &str) -> io::Result<Option<Fetched>> {
    let stream = TcpStream::connect(from).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", from.to_string()).body(Empty::<Bytes>::new());
    let mut response = sender.send_request(request.map_err(io::Error::other)?).await.map_err(io::Error::other)?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    while let Some(frame) = response.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            hasher.update(&data);
            bytes += data.len() as u64;
        }
    }
    driver.abort();
    let whole = Fetched { bytes, root: hasher.finalize() };
    Ok((response.status() == StatusCode::OK).then_some(whole))
}

/// The path of a file in hosts' URLs.
pub(super) fn path_of(name: &str) -> String {
    format!("/waptwua/{}", crate::cli::client::percent_encoded(name))
}
