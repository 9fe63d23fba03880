//! How a Windows machine hands in its report.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use super::processes::PATIENCE;
use data_encoding::HEXLOWER;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};
use wuasync::domain::host::{BodyEncoding, HostEnvelope};

/// Sends a report; status and what was answered.
pub fn send(to: SocketAddr, envelope: &HostEnvelope) -> (u16, Value) {
    post(to, &head(envelope, ""), &envelope.body)
}

/// The same, of a host behind a proxy on this machine.
pub fn send_from(address: &str, to: SocketAddr, envelope: &HostEnvelope) -> (u16, Value) {
    post(to, &head(envelope, &format!("X-Forwarded-For: {address}\r\n")), &envelope.body)
}

/// A request's head without its end, with further lines.
pub fn head(envelope: &HostEnvelope, more: &str) -> String {
    let encoding = match envelope.encoding {
        BodyEncoding::Plain => "identity",
        BodyEncoding::Gzip => "gzip",
        BodyEncoding::Deflate => "deflate",
    };
    let mut head = format!(
        "POST /api/v1/hosts/{}/report HTTP/1.1\r\nHost: wuasync\r\nConnection: close\r\nContent-Encoding: {encoding}\r\n\
         Content-Length: {}\r\nWuasync-Key: {}\r\nWuasync-Sequence: {}\r\nWuasync-Signature: {}\r\n{more}",
        envelope.uuid,
        envelope.body.len(),
        envelope.key,
        envelope.sequence,
        HEXLOWER.encode(&envelope.signature)
    );
    if let Some(enrolment) = envelope.enrolment {
        let (token, proof) = (HEXLOWER.encode(&enrolment.token), HEXLOWER.encode(&enrolment.proof));
        head += &format!("Wuasync-Enrolment: {token}:{proof}\r\n");
    }
    head
}

/// Sends a head without its end, and a body, of which the daemon may not want to hear all.
pub fn post(to: SocketAddr, head: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    // Whoever is answered before all is sent may find the connection reset behind the answer.
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap();
    (status, serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap())
}
