//! systemd's journal, in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram for each event, with fields.
//!
//! `MESSAGE` is the line that people read, fields included; each field stands beside it as `WUASYNC_…`, so that
//! `journalctl -u wuasync WUASYNC_FOLDER=waptwua` finds it.

use std::{fmt::Write, io, os::unix::net::UnixDatagram, path::Path};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// A datagram takes more; a line that is longer says nothing to people.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The journal.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Connects to the journal at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        // Where the journal is gone nobody could be told of it.
        let _ = self.0.send(&datagram(*metadata.level(), metadata.target(), &fields));
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name.to_owned(), value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn datagram(level: Level, target: &str, fields: &Fields) -> Vec<u8> {
    let mut message = fields.message.clone();
    for (name, value) in &fields.others {
        // Writing to a String does not fail.
        let _ = write!(message, " {name}={value}");
    }
    let mut bytes = Vec::new();
    put(&mut bytes, "MESSAGE", &message);
    put(&mut bytes, "PRIORITY", priority(level));
    put(&mut bytes, "SYSLOG_IDENTIFIER", "wuasync");
    put(&mut bytes, "WUASYNC_TARGET", target);
    for (name, value) in &fields.others {
        put(&mut bytes, &key(name), value);
    }
    bytes
}

/// As syslog(3) counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// Capitals, digits and `_`, at most 64 of them.
fn key(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("WUASYNC_{}", plain.take(56).collect::<String>())
}

/// A value with line ends is counted, so that it can't pass for a further field.
fn put(bytes: &mut Vec<u8>, key: &str, value: &str) {
    let end = value.floor_char_boundary(MAX_VALUE_BYTES);
    let value = value.get(..end).unwrap_or(value);
    bytes.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn an_event_is_one_datagram_with_its_line_and_its_fields() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::connect(&path).unwrap());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "x", folder = "waptwua", files = 3, error = %"a\nPRIORITY=0", "needs attention");
        });
        let mut bytes = [0; 4096];
        let size = journal.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
        assert!(text.starts_with("MESSAGE\n"), "{text:?}");
        assert!(text.contains("needs attention folder=waptwua files=3 error=a\nPRIORITY=0\n"), "{text:?}");
        assert!(
            text.contains("\nPRIORITY=4\nSYSLOG_IDENTIFIER=wuasync\nWUASYNC_TARGET=x\nWUASYNC_FOLDER=waptwua\n"),
            "{text:?}"
        );
        assert!(text.contains("\nWUASYNC_FILES=3\nWUASYNC_ERROR\n\u{c}\0\0\0\0\0\0\0a\nPRIORITY=0\n"), "{text:?}");
    }

    #[test]
    fn values_are_bounded_and_keys_plain() {
        let mut bytes = Vec::new();
        put(&mut bytes, "A", &"é".repeat(MAX_VALUE_BYTES));
        assert!(bytes.len() <= MAX_VALUE_BYTES + 3);
        assert_eq!(key("log.target"), "WUASYNC_LOG_TARGET");
        assert_eq!(key(&"x".repeat(100)).len(), 64);
    }
}
