//! Listening sockets that systemd opened for the daemon (`wuasync.socket`): ports that need rights which the daemon
//! has not, and connections that wait in them while it starts again.
//!
//! A setting takes the socket that listens on its address, or on every address where the setting says so. What no
//! setting takes has its connections closed at once: systemd holds the socket as well, and they would wait for ever.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// After a connection that could not be taken, for want of descriptors say.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What was handed over and is not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    taken: Vec<SocketAddr>,
}

/// What there is for an address.
#[derive(Debug)]
pub(super) enum ForAddress {
    /// This socket.
    Socket(TcpListener),
    /// A socket that was taken for another setting listens there.
    Covered,
    /// Nothing: the daemon has to listen by itself.
    Nothing,
}

impl Inherited {
    /// What systemd handed over. To be asked once, before there are threads.
    pub(super) fn from_environment() -> Self {
        let mut inherited = listenfd::ListenFd::from_env();
        let sockets = (0..inherited.len()).filter_map(|at| match inherited.take_tcp_listener(at) {
            Ok(socket) => socket.and_then(|socket| Some((socket.local_addr().ok()?, socket))),
            Err(error) => {
                tracing::warn!(at, %error, "a socket of systemd is not used");
                None
            }
        });
        Self { sockets: sockets.collect(), taken: Vec::new() }
    }

    /// The socket for an address of the configuration.
    pub(super) fn take(&mut self, wanted: SocketAddr) -> ForAddress {
        if self.taken.iter().any(|bound| covers(*bound, wanted)) {
            return ForAddress::Covered;
        }
        let Some(at) = self.sockets.iter().position(|(bound, _)| covers(*bound, wanted)) else {
            return ForAddress::Nothing;
        };
        let (bound, socket) = self.sockets.swap_remove(at);
        self.taken.push(bound);
        ForAddress::Socket(socket)
    }

    /// Closes whatever connects where no setting listens, until `cancel`. Needs a tokio runtime.
    pub(super) fn close_rest(self, cancel: &CancellationToken) {
        for (address, socket) in self.sockets {
            tracing::info!(%address, "no setting listens here: connections are closed at once");
            tokio::spawn(cancel.clone().run_until_cancelled_owned(close_all(address, socket)));
        }
    }
}

async fn close_all(address: SocketAddr, socket: TcpListener) {
    let socket = match socket.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(socket)) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%address, %error, "connections that no setting takes wait");
            return;
        }
    };
    loop {
        if socket.accept().await.is_err() {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

/// Whether a socket that is bound to `bound` gets what is sent to `wanted`, and nothing that was not wanted.
fn covers(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let all = bound.ip().is_unspecified() && wanted.ip().is_unspecified() && (bound.is_ipv6() || wanted.is_ipv4());
    bound == wanted || all && bound.port() == wanted.port()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpStream};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn inherited(addresses: &[&str]) -> Inherited {
        let bind = |text: &&str| {
            let socket = TcpListener::bind(text).unwrap();
            (socket.local_addr().unwrap(), socket)
        };
        Inherited { sockets: addresses.iter().map(bind).collect(), taken: Vec::new() }
    }

    #[test]
    fn a_setting_takes_the_socket_that_hears_what_it_wants_and_no_more() {
        for (bound, wanted, is_covered) in [
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::]:80", true),
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "[::]:80", false),
            ("[::]:80", "127.0.0.1:80", false),
            ("[::]:80", "0.0.0.0:443", false),
            ("10.0.0.1:80", "10.0.0.1:80", true),
        ] {
            assert_eq!(covers(address(bound), address(wanted)), is_covered, "{bound} {wanted}");
        }
    }

    #[test]
    fn one_socket_serves_every_setting_that_it_covers_and_other_addresses_are_bound() {
        let mut inherited = inherited(&["[::]:0"]);
        let port = inherited.sockets[0].0.port();
        let (v4, v6) = (SocketAddr::new([0, 0, 0, 0].into(), port), inherited.sockets[0].0);
        assert!(matches!(inherited.take(address("127.0.0.1:0")), ForAddress::Nothing));
        assert!(matches!(inherited.take(v4), ForAddress::Socket(_)));
        assert!(matches!(inherited.take(v6), ForAddress::Covered));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_connects_where_no_setting_listens_is_sent_away_at_once() {
        let inherited = inherited(&["127.0.0.1:0"]);
        let at = inherited.sockets[0].0;
        let cancel = CancellationToken::new();
        inherited.close_rest(&cancel);
        let closed = tokio::task::spawn_blocking(move || TcpStream::connect(at).unwrap().read(&mut [0]));
        // Nothing comes, or the connection is reset.
        assert!(!closed.await.unwrap().is_ok_and(|bytes| bytes > 0));
        cancel.cancel();
    }
}
