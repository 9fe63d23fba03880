//! Listening sockets that systemd opened for the daemon (`wuasync.socket`): ports that need rights which the daemon
//! has not, and connections that wait in them while it starts again.
//!
//! A setting takes the socket that listens on its address, or on every address where the setting says so. What no
//! setting takes refuses connections: systemd holds the socket as well, and they would wait for ever.

use rustix::net::{Shutdown, listen, shutdown};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Connections that wait for the daemon; the system's own limit counts as well.
const BACKLOG: i32 = 4_096;

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
    pub(super) fn take(&mut self, wanted: SocketAddr) -> io::Result<ForAddress> {
        if self.taken.iter().any(|bound| covers(*bound, wanted)) {
            return Ok(ForAddress::Covered);
        }
        let Some(at) = self.sockets.iter().position(|(bound, _)| covers(*bound, wanted)) else {
            return Ok(ForAddress::Nothing);
        };
        let (bound, socket) = self.sockets.swap_remove(at);
        // One that was left over in an earlier run does not listen.
        listen(&socket, BACKLOG)?;
        self.taken.push(bound);
        Ok(ForAddress::Socket(socket))
    }

    /// Lets what nobody took refuse connections.
    pub(super) fn refuse_rest(self) {
        for (address, socket) in self.sockets {
            match shutdown(&socket, Shutdown::Both) {
                Ok(()) => tracing::info!(%address, "no setting listens here: connections are refused"),
                Err(error) => tracing::warn!(%address, %error, "a socket of systemd that no setting takes stays open"),
            }
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
    use std::net::TcpStream;

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
        assert!(matches!(inherited.take(address("127.0.0.1:0")).unwrap(), ForAddress::Nothing));
        assert!(matches!(inherited.take(v4).unwrap(), ForAddress::Socket(_)));
        assert!(matches!(inherited.take(v6).unwrap(), ForAddress::Covered));
    }

    #[test]
    fn what_nobody_takes_refuses_and_listens_again_when_it_is_taken_later() {
        // A port that is given by number stays the socket's: here of an address that nobody else has.
        let inherited = inherited(&["127.77.85.65:4180"]);
        let (at, kept) = (inherited.sockets[0].0, inherited.sockets[0].1.try_clone().unwrap());
        TcpStream::connect(at).unwrap();
        inherited.refuse_rest();
        assert_eq!(TcpStream::connect(at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let mut again = Inherited { sockets: vec![(at, kept)], taken: Vec::new() };
        let ForAddress::Socket(_socket) = again.take(at).unwrap() else { panic!("it is there") };
        TcpStream::connect(at).unwrap();
    }
}
