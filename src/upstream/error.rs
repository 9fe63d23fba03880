//! What can go wrong on the way from an origin, and whether trying again can help.

use super::rules::Refusal;
use std::{error::Error, io, time::Duration};

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt within the same fetch may succeed.
    Again,
    /// Nothing is wrong with the file; a later fetch may succeed.
    Later,
    /// The same request fails for ever.
    Never,
}

/// One thing that went wrong. Each text says what to do, where somebody can do something.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// An address that may not be asked.
    #[error(transparent)]
    Refused(Refusal),
    /// More redirects than are followed, or a loop of them.
    #[error("more than {0} redirects")]
    TooManyRedirects(u32),
    /// A redirect that says not where to.
    #[error("a redirect to nowhere (status {0})")]
    RedirectToNowhere(u16),
    /// 404 or 410.
    #[error("the server does not have it (status {0})")]
    NotThere(u16),
    /// Another answer that says no.
    #[error("the server refuses it (status {0}): try it from this machine with curl")]
    Denied(u16),
    /// The proxy wants another login.
    #[error("the proxy refuses the login (status 407): correct user and password in `upstream.proxy`")]
    ProxyLogin,
    /// 429 or 503.
    #[error("the server asks to come back later (status {status})")]
    Busy {
        /// The status.
        status: u16,
        /// When it said so.
        retry_after: Option<Duration>,
    },
    /// Another answer of 500 and above.
    #[error("the server failed (status {0})")]
    ServerFailed(u16),
    /// An answer that does not belong to the request.
    #[error("an answer that does not belong to the request (status {0})")]
    Unexpected(u16),
    /// Compressed though that was not asked for.
    #[error(
        "the answer is encoded as {0:?} though nobody asked for it: look for a proxy on the way that changes content"
    )]
    Encoded(String),
    /// Nobody says how long the file is.
    #[error("neither the server nor the catalogue says how long it is")]
    NoLength,
    /// Longer than anything that is fetched.
    #[error("it has {size} bytes, more than {most}")]
    TooLarge {
        /// Its length in bytes.
        size: u64,
        /// The longest that is taken.
        most: u64,
    },
    /// A head or a range that makes no sense.
    #[error("the answer makes no sense: {0}")]
    Malformed(&'static str),
    /// The file changed while it was fetched.
    #[error("it changed at the server while it was fetched")]
    Changed,
    /// Not the promised length.
    #[error("{promised} bytes were promised, and {found} are there", found = .found.map_or("more".to_owned(), |n| n.to_string()))]
    WrongSize {
        /// The promised length.
        promised: u64,
        /// The length; none if it only is known to be greater.
        found: Option<u64>,
    },
    /// Not the promised bytes.
    #[error("digest {promised} was promised, and the bytes have {found}")]
    WrongDigest {
        /// The promised digest.
        promised: String,
        /// The digest of what arrived.
        found: String,
    },
    /// No connection.
    #[error("no connection: check the line, the name servers and `upstream.proxy`")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection failed before the answer.
    #[error("the connection failed before the answer")]
    Ask(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// The connection failed in the middle.
    #[error("the connection broke off after {arrived} of {size} bytes")]
    Cut {
        /// What is here.
        arrived: u64,
        /// The file's length.
        size: u64,
        /// What the system said, if it said anything.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Nothing arrives.
    #[error("nothing arrived for {} s", .0.as_secs_f32())]
    Stalled(Duration),
    /// Hardly anything arrives.
    #[error("less than {least} bytes arrived within {} s", .within.as_secs_f32())]
    Slow {
        /// What had to arrive.
        least: u64,
        /// Within this time.
        within: Duration,
    },
    /// This machine's disk.
    #[error("{doing}: check the disk, and the room on it")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Fault {
    /// Whether trying again can help.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Busy { .. }
            | Self::ServerFailed(_)
            | Self::Unexpected(_)
            | Self::Malformed(_)
            | Self::Changed
            | Self::Connect(_)
            | Self::Ask(_)
            | Self::NoAnswer(_)
            | Self::Cut { .. }
            | Self::Stalled(_)
            | Self::Slow { .. } => Verdict::Again,
            Self::Disk { .. } | Self::ProxyLogin => Verdict::Later,
            Self::Refused(_)
            | Self::TooManyRedirects(_)
            | Self::RedirectToNowhere(_)
            | Self::NotThere(_)
            | Self::Denied(_)
            | Self::Encoded(_)
            | Self::NoLength
            | Self::TooLarge { .. }
            | Self::WrongSize { .. }
            | Self::WrongDigest { .. } => Verdict::Never,
        }
    }

    /// When the server said to come back.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A file that could not be fetched, or looked at.
#[derive(Debug, thiserror::Error)]
#[error("{url}{}: {fault}", tried(*.attempts))]
pub struct UpstreamError {
    /// What was asked for, without login and query.
    pub url: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// What ended the last one.
    #[source]
    pub fault: Fault,
}

impl UpstreamError {
    /// Whether fetching it later can succeed.
    pub fn is_transient(&self) -> bool {
        self.fault.verdict() != Verdict::Never
    }

    /// When the server said to come back.
    pub fn retry_after(&self) -> Option<Duration> {
        self.fault.retry_after()
    }
}

fn tried(attempts: u32) -> String {
    if attempts > 1 { format!(" (tried {attempts} times)") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chain::chain;

    #[test]
    fn an_error_says_what_where_how_often_and_why() {
        let source: Box<dyn Error + Send + Sync> = Box::new(io::Error::other("refused"));
        let error = UpstreamError { url: "http://h/f".to_owned(), attempts: 3, fault: Fault::Connect(source) };
        assert!(error.is_transient());
        let text = chain(&error);
        assert!(text.starts_with("http://h/f (tried 3 times): no connection: check the line"), "{text}");
        assert!(text.ends_with("`upstream.proxy`: refused"), "{text}");
        let error = UpstreamError { url: "http://h/f".to_owned(), attempts: 1, fault: Fault::NotThere(404) };
        assert!(!error.is_transient());
        assert_eq!(chain(&error), "http://h/f: the server does not have it (status 404)");
    }
}
