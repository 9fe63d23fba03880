//! A socket of the simulated network as QUIC wants it.

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Packets that were sent in this process, as one digest: equal where every packet left at the same
/// time, from and to the same nodes, with the same length.
static TRACE: Mutex<Option<(blake3::Hasher, u64)>> = Mutex::new(None);

pub fn trace() -> (String, u64) {
    let trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
    let (hasher, packets) = trace.clone().unwrap_or_default();
    (hasher.finalize().to_hex()[..16].to_owned(), packets)
}

pub struct Socket {
    socket: Arc<turmoil::net::UdpSocket>,
    readable: Mutex<Option<Readable>>,
}

impl Socket {
    pub async fn bind(port: u16) -> io::Result<Self> {
        let socket = turmoil::net::UdpSocket::bind(("0.0.0.0", port)).await?;
        Ok(Self { socket: Arc::new(socket), readable: Mutex::default() })
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let mut trace = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
        let (hasher, packets) = trace.get_or_insert_default();
        let line =
            format!("{at:?} {:?} {} {}", self.socket.local_addr(), transmit.destination, transmit.contents.len());
        hasher.update(line.as_bytes());
        *packets += 1;
        // A packet to a node that is down is lost, as any other.
        self.socket.try_send_to(transmit.contents, transmit.destination).ok();
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.try_recv_from(&mut buffers[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ..RecvMeta::default() };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
            let socket = self.socket.clone();
            let waiting = readable.get_or_insert_with(|| Box::pin(async move { socket.readable().await }));
            let ended = ready!(waiting.as_mut().poll(cx));
            *readable = None;
            ended?;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}
