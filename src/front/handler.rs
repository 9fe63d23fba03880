//! From a request to its response: reads the target, asks the source, follows the plan.

use super::{
    api::{ApiRequest, Apis},
    body::FileBody,
    client,
    exchange::{AnswerBody, Content, Exchange},
    growing::GrowingBody,
    request::{self, FileRequest, ReadRequestError, Target},
    respond::{self, Meta, Plan},
    usher::{self, Passage, Usher, Way},
};
use crate::{
    base::clock::SharedClock,
    domain::digest::Root,
    supply::{
        Client,
        source::{Answer, Ask, GrowingFile, HeldFile, Source},
    },
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER},
    request::Parts,
};
use hyper::body::Body;
use serde_json::{Map, Value};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What `/healthz` says beside `"status": "ok"`.
pub type Health = Arc<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// Whether what an address says of others is believed.
pub type IsTrusted = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Everything that an answer is made of.
#[derive(Clone)]
pub struct Front {
    /// Who is asked for files.
    pub source: Arc<dyn Source>,
    /// Called for every `/healthz`; must not block.
    pub health: Health,
    /// Who answers what is under `/api/v1/`.
    pub apis: Apis,
    /// Who knows where files are answered; without one all are answered here.
    pub usher: Option<Arc<dyn Usher>>,
    /// Whose `X-Forwarded-For` is believed.
    pub is_trusted: IsTrusted,
    /// The time of answers.
    pub clock: SharedClock,
}

/// An answer whose body has not begun.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

impl Front {
    /// Answers one request; where it has a body that nobody reads, the last one of its connection.
    pub(super) async fn respond<B>(
        &self,
        head: Parts,
        body: B,
        exchange: Exchange,
        is_tls: bool,
    ) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut is_unread = !body.is_end_stream();
        let mut answered = match request::read(&head) {
            Err(refused) => refusal(refused),
            Ok(Target::Health) => self.healthy(),
            Ok(Target::Api) => {
                let (answered, is_read) = self.api(&head, body, exchange.peer().ip()).await;
                is_unread = !is_read;
                answered
            }
            Ok(Target::File(file)) => {
                let client = client::of(&head.headers, exchange.peer().ip(), &*self.is_trusted);
                match self.way(&head, &file, client, exchange.peer().ip(), is_tls).await {
                    Way::Here => self.file(&head, file, Client::Host(client), exchange.is_direct()).await,
                    Way::Elsewhere(url) => elsewhere(&url),
                    Way::NotNow(wait) => come_back(StatusCode::SERVICE_UNAVAILABLE, wait),
                }
            }
        };
        if head.method == Method::HEAD {
            answered.content = Content::EMPTY;
        }
        if is_unread {
            answered.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(exchange.answer(answered.status, answered.content));
        *response.status_mut() = answered.status;
        *response.headers_mut() = answered.headers;
        response
    }

    fn healthy(&self) -> Answered {
        let mut health = (self.health)();
        health.insert("status".to_owned(), "ok".into());
        answer(StatusCode::OK, "application/json", Value::Object(health).to_string().into())
    }

    async fn api<B>(&self, head: &Parts, body: B, peer: IpAddr) -> (Answered, bool)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let request = ApiRequest {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers.clone(),
            client: client::of(&head.headers, peer, &*self.is_trusted),
            body: Bytes::new(),
        };
        let (answer, is_read) = self.apis.answer(request, body).await;
        let mut headers = answer.headers;
        headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
        (Answered { status: answer.status, headers, content: Content::Bytes(answer.body) }, is_read)
    }

    async fn way(&self, head: &Parts, file: &FileRequest, client: IpAddr, peer: IpAddr, is_tls: bool) -> Way {
        let Some(usher) = &self.usher else { return Way::Here };
        let passage = Passage {
            file: file.clone(),
            is_get: head.method == Method::GET,
            client,
            is_marked: usher::is_marked(&head.uri),
            is_encrypted: usher::is_encrypted(&head.headers, is_tls, (self.is_trusted)(peer.to_canonical())),
        };
        usher.way(passage).await
    }

    async fn file(&self, head: &Parts, file: FileRequest, client: Client, is_direct: bool) -> Answered {
        let FileRequest { folder, name } = file.clone();
        let ask = Ask { folder, name, client, describe: head.method == Method::HEAD };
        match self.source.find(&ask).await {
            Answer::Held(held) => self.held(head, file, held, is_direct).await,
            Answer::Growing(growing) => self.growing(head, file, growing, is_direct),
            Answer::Unknown => refusal(ReadRequestError::NoFile),
            Answer::NotYet { retry_after } => come_back(StatusCode::SERVICE_UNAVAILABLE, retry_after),
            Answer::OverQuota { retry_after } => come_back(StatusCode::TOO_MANY_REQUESTS, retry_after),
        }
    }

    /// A file that arrives while it is sent: what is not here is waited for.
    fn growing(&self, head: &Parts, file: FileRequest, growing: GrowingFile, is_direct: bool) -> Answered {
        let meta = self.meta(&file, growing.size, growing.modified, growing.root);
        let Plan { status, headers, range } = respond::plan(&head.method, &head.headers, &meta);
        let reader = if range.is_empty() { None } else { growing.reader(range) };
        let content =
            reader.map_or(Content::EMPTY, |reader| Content::Growing(file, GrowingBody::new(reader, is_direct)));
        Answered { status, headers, content }
    }

    fn meta(&self, file: &FileRequest, size: u64, modified: Option<i64>, root: Option<Root>) -> Meta {
        let content_type = respond::content_type(&file.name);
        Meta { size, modified, root, content_type, now: self.clock.unix_seconds() }
    }

    async fn held(&self, head: &Parts, file: FileRequest, held: HeldFile, is_direct: bool) -> Answered {
        let meta = self.meta(&file, held.size, Some(held.modified), held.root);
        let Plan { status, headers, range } = respond::plan(&head.method, &head.headers, &meta);
        if range.is_empty() {
            return Answered { status, headers, content: Content::EMPTY };
        }
        let opened = match is_direct {
            true => FileBody::open_unread(held.bytes, range).await,
            false => FileBody::open(held.bytes, range).await,
        };
        match opened {
            Ok(body) => Answered { status, headers, content: Content::File(file, body) },
            Err(error) => {
                tracing::warn!(folder = %file.folder, name = %file.name, %error, "a file can't be read");
                text(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

fn refusal(refused: ReadRequestError) -> Answered {
    let mut answered = text(refused.status());
    if refused == ReadRequestError::Method {
        answered.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answered
}

/// For this question alone: the next one may be answered here.
fn elsewhere(url: &str) -> Answered {
    let Ok(url) = HeaderValue::from_str(url) else { return text(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut answered = text(StatusCode::FOUND);
    answered.headers.insert(LOCATION, url);
    answered.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answered
}

/// With the wait in whole seconds, rounded up: a client that comes back too early asks in vain.
fn come_back(status: StatusCode, retry_after: Duration) -> Answered {
    let mut answered = text(status);
    let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0)).max(1);
    answered.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    answered
}

/// The status in words: clients learn neither paths nor causes.
fn text(status: StatusCode) -> Answered {
    let reason = status.canonical_reason().unwrap_or("error");
    answer(status, "text/plain; charset=utf-8", format!("{reason}\n").into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answered {
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_LENGTH, HeaderValue::from(body.len())),
    ]);
    Answered { status, headers, content: Content::Bytes(body) }
}
