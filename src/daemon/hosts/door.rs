//! `POST /api/v1/hosts/{uuid}/report` on the hosts' listeners.
//!
//! Headers: `Wuasync-Key` (the host's Ed25519 key, 52 characters of base32), `Wuasync-Sequence` (a number greater than in
//! every report before), `Wuasync-Signature` (128 hex digits), `Wuasync-Enrolment` where the host has a token (16 hex
//! digits of its name, `:`, 64 hex digits of proof), `Content-Encoding` (`gzip`, `deflate` or none). What is signed is said in
//! [`crate::domain::host::HostEnvelope`]. The body is what WAPT's agents report, as JSON.

use super::taking::{Taken, Taking};
use crate::{
    base::future::BoxFuture,
    domain::{
        host::{BodyEncoding, Enrolment, HostEnvelope, HostUuid, MAX_SENT_BYTES},
        key::HostKey,
    },
    front::api::{API_PREFIX, ApiAnswer, ApiRequest, HostsApi},
};
use data_encoding::HEXLOWER_PERMISSIVE;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_ENCODING};
use serde_json::json;
use std::sync::Arc;

/// When a host should come back, in seconds.
const COME_BACK: u64 = 300;

/// The door for reports.
pub(in crate::daemon) struct HostReports {
    taking: Arc<Taking>,
}

impl HostReports {
    /// Reports go to `taking`.
    pub(in crate::daemon) fn new(taking: Arc<Taking>) -> Self {
        Self { taking }
    }

    async fn report(&self, request: ApiRequest) -> ApiAnswer {
        if request.method != Method::POST {
            return ApiAnswer::not_allowed("POST");
        }
        let Some(uuid) = host_of(&request.path).and_then(|text| HostUuid::new(text).ok()) else {
            return ApiAnswer::refused(StatusCode::BAD_REQUEST, "the path names no host");
        };
        if request.body.len() > MAX_SENT_BYTES {
            return ApiAnswer::refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a report has at most 960 KiB as it is sent: pack it",
            );
        }
        match envelope(uuid, &request.headers, request.body.to_vec()) {
            Ok(envelope) => answer(self.taking.take(envelope, None, request.client.into()).await),
            Err((status, why)) => ApiAnswer::refused(status, why),
        }
    }
}

impl HostsApi for HostReports {
    fn serves(&self, path: &str) -> bool {
        host_of(path).is_some()
    }

    fn answer(&self, request: ApiRequest) -> BoxFuture<'_, ApiAnswer> {
        Box::pin(self.report(request))
    }
}

/// The part of the path that names the host.
fn host_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(API_PREFIX)?.strip_prefix("hosts/")?.strip_suffix("/report")?;
    (!rest.contains('/')).then_some(rest)
}

fn envelope(uuid: HostUuid, headers: &HeaderMap, body: Vec<u8>) -> Result<HostEnvelope, (StatusCode, &'static str)> {
    let bad = |why| (StatusCode::BAD_REQUEST, why);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let encoding = match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => BodyEncoding::Plain,
        Some(b"gzip" | b"x-gzip") => BodyEncoding::Gzip,
        Some(b"deflate") => BodyEncoding::Deflate,
        Some(_) => return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is neither gzip nor deflate")),
    };
    let key: Option<HostKey> = text("wuasync-key").and_then(|text| text.parse().ok());
    let sequence = text("wuasync-sequence").and_then(|text| text.parse().ok());
    let signature = text("wuasync-signature").and_then(|text| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok());
    let enrolment = match text("wuasync-enrolment") {
        None => None,
        Some(text) => Some(enrolment(text).ok_or(bad("Wuasync-Enrolment is malformed"))?),
    };
    Ok(HostEnvelope {
        uuid,
        sequence: sequence.ok_or(bad("Wuasync-Sequence is missing or no number"))?,
        key: key.ok_or(bad("Wuasync-Key is missing or no key"))?,
        signature: signature
            .filter(|bytes| bytes.len() == 64)
            .ok_or(bad("Wuasync-Signature is missing or malformed"))?,
        encoding,
        enrolment,
        body,
    })
}

fn enrolment(text: &str) -> Option<Enrolment> {
    let (token, proof) = text.split_once(':')?;
    let token = HEXLOWER_PERMISSIVE.decode(token.as_bytes()).ok()?.try_into().ok()?;
    let proof = HEXLOWER_PERMISSIVE.decode(proof.as_bytes()).ok()?.try_into().ok()?;
    Some(Enrolment { token, proof })
}

fn answer(taken: Taken) -> ApiAnswer {
    match taken {
        Taken::Kept { is_known, skipped } => {
            let state = if is_known { "known" } else { "taken" };
            ApiAnswer::json(StatusCode::OK, &json!({ "state": state, "skipped": skipped }))
        }
        Taken::Posted => ApiAnswer::json(StatusCode::ACCEPTED, &json!({ "state": "kept for the main" })),
        Taken::Waiting => ApiAnswer::json(StatusCode::ACCEPTED, &json!({ "state": "waiting for approval" })),
        Taken::Refused(why) => ApiAnswer::refused(StatusCode::FORBIDDEN, &why),
        Taken::Later(why) => ApiAnswer::come_back(StatusCode::SERVICE_UNAVAILABLE, COME_BACK, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_one_host_and_nothing_else() {
        for (path, host) in [
            ("/api/v1/hosts/abc/report", Some("abc")),
            ("/api/v1/hosts//report", Some("")),
            ("/api/v1/hosts/a/b/report", None),
            ("/api/v1/hosts/abc/report/", None),
            ("/api/v1/hosts/report", None),
            ("/api/v1/repositories/nearest", None),
        ] {
            assert_eq!(host_of(path), host, "{path}");
        }
    }

    #[test]
    fn headers_that_are_missing_or_malformed_are_named() {
        let uuid = HostUuid::new("h").unwrap();
        let signed = HostEnvelope::sign(uuid.clone(), 5, &[1; 32], BodyEncoding::Gzip, None, b"x".to_vec());
        let headers = |key: &str, sequence: &str, signature: &str, encoding: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("wuasync-key", key),
                ("wuasync-sequence", sequence),
                ("wuasync-signature", signature),
                ("content-encoding", encoding),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            envelope(uuid.clone(), &headers, b"x".to_vec())
        };
        let (key, signature) = (signed.key.to_string(), data_encoding::HEXLOWER.encode(&signed.signature));
        assert_eq!(headers(&key, "5", &signature, "GZIP").unwrap(), signed);
        for (wrong, why) in [
            (headers("", "5", &signature, "gzip"), "Wuasync-Key"),
            (headers(&key, "-5", &signature, "gzip"), "Wuasync-Sequence"),
            (headers(&key, "5", &signature[2..], "gzip"), "Wuasync-Signature"),
            (headers(&key, "5", &signature, "br"), "Content-Encoding"),
        ] {
            assert!(wrong.unwrap_err().1.starts_with(why));
        }
        assert_eq!(enrolment(&format!("{}:{}", "00".repeat(8), "11".repeat(32))).unwrap().proof, [0x11; 32]);
        assert!(enrolment("00:11").is_none() && enrolment("zz").is_none());
    }
}
