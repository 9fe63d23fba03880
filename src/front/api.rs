//! The hosts' API: what is under `/api/v1/` on the hosts' listeners and is no file.
//!
//! Owns the seam: who answers a path, and how much of a request's body is read, for how long and beside how
//! many others. Never knows what is answered. Whoever has something to say to hosts implements [`HostsApi`].

use crate::base::future::BoxFuture;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE, header::RETRY_AFTER};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::Value;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Every path of the API begins with it.
pub const API_PREFIX: &str = "/api/v1/";
/// Most bytes of one body as it is sent: a report of a host that has never been patched has a quarter of it.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// Most bytes of all bodies that are being read or answered.
const MAX_ALL_BODIES: usize = 64 << 20;
/// Most bytes of these from one address, so that whoever sends slowly leaves room for others: a hundred reports at once from
/// behind one router.
const MAX_BODIES_OF_ONE: usize = 8 << 20;
/// From the end of a request's head to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// When to come back while too many bodies are being read, in seconds.
const COME_BACK_SECONDS: u64 = 30;

/// One request, with its whole body.
#[derive(Debug)]
pub struct ApiRequest {
    /// Any method: what a path is not for is answered with [`ApiAnswer::not_allowed`].
    pub method: Method,
    /// The path as it was sent, from [`API_PREFIX`] on; nothing in it is decoded.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// As they were sent; at most 64.
    pub headers: HeaderMap,
    /// Who asks: the connection's peer, or whom trusted proxies name.
    pub client: IpAddr,
    /// At most [`MAX_BODY_BYTES`], as it was sent: `Content-Encoding` is the reader's matter.
    pub body: Bytes,
}

/// What is answered.
#[derive(Debug)]
pub struct ApiAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers; the length is added.
    pub headers: HeaderMap,
    /// Its body; not sent to a HEAD.
    pub body: Bytes,
}

impl ApiAnswer {
    /// JSON.
    pub fn json(status: StatusCode, value: &Value) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { status, headers, body: format!("{value}\n").into() }
    }

    /// A refusal: `{"error": why}`. Clients learn neither paths nor causes.
    pub fn refused(status: StatusCode, why: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": why }))
    }

    /// 405; `allowed` is for the `Allow` header.
    pub fn not_allowed(allowed: &'static str) -> Self {
        let mut answer = Self::refused(StatusCode::METHOD_NOT_ALLOWED, "this path is not for that method");
        answer.headers.insert(http::header::ALLOW, HeaderValue::from_static(allowed));
        answer
    }

    /// With `Retry-After`.
    pub fn come_back(status: StatusCode, seconds: u64, why: &str) -> Self {
        let mut answer = Self::refused(status, why);
        answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        answer
    }
}

/// Something that answers hosts.
pub trait HostsApi: Send + Sync {
    /// Whether this one answers `path` (undecoded, from [`API_PREFIX`] on). Must not block.
    fn serves(&self, path: &str) -> bool;

    /// Answers one request to a path that it serves. Work that blocks goes elsewhere.
    fn answer(&self, request: ApiRequest) -> BoxFuture<'_, ApiAnswer>;
}

/// Everybody who answers hosts, asked in order. Cheap to clone.
#[derive(Clone)]
pub struct Apis {
    apis: Arc<[Arc<dyn HostsApi>]>,
    room: Arc<Semaphore>,
    /// Bytes of bodies by who sends them; nobody stands there who sends none.
    senders: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// What one body takes of the memory that all share; given back when dropped.
struct Room {
    shared: Option<OwnedSemaphorePermit>,
    senders: Arc<Mutex<HashMap<IpAddr, usize>>>,
    sender: IpAddr,
    bytes: usize,
}

impl Room {
    /// Whether there was room for so many bytes more.
    fn take(&mut self, all: &Arc<Semaphore>, bytes: usize) -> bool {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let held = senders.get(&self.sender).copied().unwrap_or(0);
        if held + bytes > MAX_BODIES_OF_ONE {
            return false;
        }
        let taken = u32::try_from(bytes).ok().and_then(|bytes| all.clone().try_acquire_many_owned(bytes).ok());
        match (taken, &mut self.shared) {
            (None, _) => return false,
            (Some(taken), Some(shared)) => shared.merge(taken),
            (taken, shared) => *shared = taken,
        }
        senders.insert(self.sender, held + bytes);
        self.bytes += bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let held = senders.get(&self.sender).copied().unwrap_or(0);
        if held > self.bytes {
            senders.insert(self.sender, held - self.bytes);
        } else {
            senders.remove(&self.sender);
        }
    }
}

impl Default for Apis {
    /// Nobody: every path of the API is unknown.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Apis {
    /// The first that serves a path answers it.
    pub fn new(apis: Vec<Arc<dyn HostsApi>>) -> Self {
        Self { apis: apis.into(), room: Arc::new(Semaphore::new(MAX_ALL_BODIES)), senders: Arc::default() }
    }

    /// Reads the body and has the one who serves its path answer; `true` if the whole body was read.
    pub(super) async fn answer<B>(&self, mut request: ApiRequest, body: B) -> (ApiAnswer, bool)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(api) = self.apis.iter().find(|api| api.serves(&request.path)) else {
            return (ApiAnswer::refused(StatusCode::NOT_FOUND, "there is no such path"), body.is_end_stream());
        };
        let (senders, sender) = (self.senders.clone(), network_of(request.client));
        let mut room = Room { shared: None, senders, sender, bytes: 0 };
        match tokio::time::timeout(BODY_TIMEOUT, self.read(body, &mut room)).await {
            Err(_) => (ApiAnswer::refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"), false),
            Ok(Err(answer)) => (answer, false),
            Ok(Ok(body)) => {
                request.body = body;
                (api.answer(request).await, true)
            }
        }
    }

    /// The whole body; `room` is what it takes of the memory that all share.
    async fn read<B>(&self, mut body: B, room: &mut Room) -> Result<Bytes, ApiAnswer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiAnswer::refused(StatusCode::BAD_REQUEST, "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large());
            }
            if !room.take(&self.room, data.len()) {
                let why = "too many reports arrive at once";
                return Err(ApiAnswer::come_back(StatusCode::SERVICE_UNAVAILABLE, COME_BACK_SECONDS, why));
            }
            read.extend_from_slice(&data);
        }
        Ok(read.freeze())
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 one: whoever has one of these has all.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

fn too_large() -> ApiAnswer {
    ApiAnswer::refused(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 4 MiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn bodies_of_one_sender_leave_room_for_others_and_all_together_are_bounded() {
        let (all, senders) = (Arc::new(Semaphore::new(MAX_ALL_BODIES)), Arc::default());
        let room = |n: u8| Room {
            shared: None,
            senders: Arc::clone(&senders),
            sender: IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)),
            bytes: 0,
        };
        let mut one = room(1);
        assert!(one.take(&all, MAX_BODIES_OF_ONE - 1) && one.take(&all, 1) && !one.take(&all, 1));
        assert!(!room(1).take(&all, 1), "on another connection");
        let mut others: Vec<_> = (2..=8).map(room).collect();
        assert!(others.iter_mut().all(|other| other.take(&all, MAX_BODIES_OF_ONE)));
        assert!(!room(9).take(&all, 1), "nothing is left");
        drop(one);
        assert!(room(1).take(&all, MAX_BODIES_OF_ONE) && room(9).take(&all, 1));
        drop(others);
        assert!(senders.lock().unwrap().is_empty() && all.available_permits() == MAX_ALL_BODIES);
    }

    #[test]
    fn addresses_that_one_sender_has_by_the_billion_are_one() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
