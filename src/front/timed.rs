//! A connection whose every wait on the client has an end.
//!
//! Three clocks, and at most one read clock and one write clock run at a time: a silent client between
//! requests, a head that dribbles in, and a client that does not take what it asked for. hyper's own
//! header clock also runs between requests and would close idle connections as early as slow ones,
//! so it stays off.

use super::exchange::Turn;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long a client may keep a connection waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From one answer to the first byte of the next request.
    pub idle: Duration,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two writes that take anything.
    pub write: Duration,
}

/// Wraps the bytes of an HTTP connection, beneath HTTP and above TLS.
pub(super) struct Timed<T> {
    io: T,
    patience: Patience,
    turn: Arc<Turn>,
    /// The turn that `head_began` speaks of.
    seen_turn: u64,
    head_began: bool,
    reading: Deadline,
    writing: Deadline,
}

impl<T> Timed<T> {
    pub(super) fn new(io: T, patience: Patience, turn: Arc<Turn>) -> Self {
        let seen_turn = turn.count();
        let (reading, writing) = (Deadline::default(), Deadline::default());
        Self { io, patience, turn, seen_turn, head_began: false, reading, writing }
    }

    /// Forgets the last request's head once its turn is over.
    fn follow_turn(&mut self) {
        let turn = self.turn.count();
        if turn != self.seen_turn {
            self.seen_turn = turn;
            self.head_began = false;
            self.reading.disarm();
        }
    }

    fn on_read(&mut self) {
        if !self.head_began && !Turn::is_ours(self.seen_turn) {
            self.head_began = true;
            self.reading.disarm();
        }
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if Turn::is_ours(self.seen_turn) {
            return Poll::Pending;
        }
        let patience = if self.head_began { self.patience.head } else { self.patience.idle };
        self.reading.poll(cx, patience)
    }

    /// Starts the read clock once an answer is over: hyper does not read again before bytes arrive, so
    /// its last flush is where the wait for them begins. A clock that runs out wakes the next read.
    fn await_request(&mut self, cx: &mut Context<'_>) {
        self.follow_turn();
        if self.poll_read_deadline(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// A write that is pending runs into the write clock; one that took something stops it.
    fn within_patience<V>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<V>>) -> Poll<io::Result<V>> {
        if written.is_ready() {
            self.writing.disarm();
            return written;
        }
        match self.writing.poll(cx, self.patience.write) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Pending,
        }
    }
}

/// A timer that is made when it is first needed and kept.
#[derive(Default)]
struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Deadline {
    fn disarm(&mut self) {
        self.armed = false;
    }

    /// Runs out `patience` after the first poll since it was disarmed; never `Ready(Ok)`.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<io::Result<()>> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(patience)));
        if !self.armed {
            sleep.as_mut().set(tokio::time::sleep(patience));
            self.armed = true;
        }
        sleep.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Timed<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let timed = self.get_mut();
        timed.follow_turn();
        let read = Pin::new(&mut timed.io).poll_read(cx, buf);
        if read.is_pending() {
            return timed.poll_read_deadline(cx);
        }
        timed.on_read();
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Timed<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let timed = self.get_mut();
        let written = Pin::new(&mut timed.io).poll_write(cx, buf);
        timed.within_patience(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let timed = self.get_mut();
        let written = Pin::new(&mut timed.io).poll_write_vectored(cx, bufs);
        timed.within_patience(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timed = self.get_mut();
        let flushed = Pin::new(&mut timed.io).poll_flush(cx);
        timed.await_request(cx);
        timed.within_patience(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timed = self.get_mut();
        let shut = Pin::new(&mut timed.io).poll_shutdown(cx);
        timed.within_patience(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const PATIENCE: Patience =
        Patience { idle: Duration::from_secs(60), head: Duration::from_secs(10), write: Duration::from_secs(30) };

    fn connection() -> (DuplexStream, Timed<DuplexStream>, Arc<Turn>) {
        let (client, server) = duplex(16);
        let turn = Arc::<Turn>::default();
        (client, Timed::new(server, PATIENCE, turn.clone()), turn)
    }

    async fn seconds_until_time_out(wait: impl Future<Output = io::Result<usize>>) -> u64 {
        let began = tokio::time::Instant::now();
        assert_eq!(wait.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_the_idle_time() {
        let (_client, mut server, _) = connection();
        assert_eq!(seconds_until_time_out(server.read(&mut [0; 9])).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_dribbles_in_is_given_the_head_time_from_its_first_byte() {
        let (mut client, mut server, _) = connection();
        let dribble = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(40)).await;
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        server.read_u8().await.unwrap();
        let head = async {
            loop {
                server.read_u8().await?;
            }
        };
        assert_eq!(seconds_until_time_out(head).await, 10);
        drop(server);
        dribble.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_its_answer_is_not_hurried_and_is_idle_afterwards() {
        let (mut client, mut server, turn) = connection();
        for _ in 0..2 {
            client.write_all(b"x").await.unwrap();
            server.read_u8().await.unwrap();
            turn.pass();
            let waiting = tokio::time::timeout(Duration::from_secs(1000), server.read(&mut [0; 9])).await;
            assert!(waiting.is_err());
            turn.pass();
        }
        assert_eq!(seconds_until_time_out(server.read(&mut [0; 9])).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_flush_of_an_answer_wakes_a_reader_that_has_no_other_reason_to_wake() {
        let (_client, mut server, turn) = connection();
        turn.pass();
        let mut buf = [0; 9];
        let mut polls = 0;
        let began = tokio::time::Instant::now();
        let read = std::future::poll_fn(|cx| {
            polls += 1;
            let read = Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut buf));
            if polls == 1 {
                turn.pass();
                assert!(Pin::new(&mut server).poll_flush(cx).is_ready());
            }
            read
        });
        let read = tokio::time::timeout(Duration::from_secs(1000), read).await.unwrap();
        assert_eq!((read.unwrap_err().kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_the_write_time_since_it_took_something() {
        let (mut client, mut server, _) = connection();
        server.write_all(&[0; 16]).await.unwrap();
        let taker = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.read_exact(&mut [0; 4]).await.unwrap();
            client
        });
        let write = async {
            loop {
                server.write_all(&[0; 4]).await?;
            }
        };
        assert_eq!(seconds_until_time_out(write).await, 50);
        drop(taker.await.unwrap());
    }
}
