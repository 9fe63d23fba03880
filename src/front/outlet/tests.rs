use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Bytes that a kernel could send; only `sendable` says so.
struct Lying {
    bytes: Vec<u8>,
    sendable: bool,
}

impl ReadAt for Lying {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, offset)
    }

    fn send_at(&self, socket: std::os::fd::BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        if !self.sendable {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let rest = &self.bytes[(offset as usize).min(self.bytes.len())..];
        if rest.is_empty() {
            Ok(0)
        } else {
            Ok(rustix::net::send(socket, &rest[..rest.len().min(len)], SendFlags::NOSIGNAL)?)
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 + 1).collect()
}

fn lies(sendable: bool, len: usize, range: Range<u64>) -> Part {
    Part::Lies(Arc::new(Lying { bytes: bytes(len), sendable }), range)
}

async fn connection() -> (Arc<Outlet>, Direct, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let outlet = Arc::<Outlet>::default();
    (outlet.clone(), Direct::new(accepted.unwrap().0, outlet), client.unwrap())
}

/// Writes pieces as HTTP does: as many as there are at once.
async fn write(direct: &mut Direct, mut pieces: VecDeque<Piece>) -> io::Result<()> {
    while let Some(first) = pieces.front() {
        if !first.has_remaining() {
            pieces.pop_front();
            continue;
        }
        let mut written = {
            let mut slices = [IoSlice::new(&[]); 64];
            let count = pieces.iter().fold(0, |count, piece| count + piece.chunks_vectored(&mut slices[count..]));
            direct.write_vectored(&slices[..count]).await?
        };
        for piece in &mut pieces {
            let step = written.min(piece.remaining());
            piece.advance(step);
            written -= step;
        }
    }
    Ok(())
}

async fn received(mut client: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn bytes_and_ranges_leave_in_their_order_whether_or_not_the_kernel_can_send_them() {
    for sendable in [true, false] {
        let (outlet, mut direct, client) = connection().await;
        let receiving = tokio::spawn(received(client));
        let read = |text: &'static [u8]| Part::Read(Bytes::from_static(text));
        let parts = [
            read(b"head"),
            lies(sendable, 300_000, 7..262_151),
            lies(sendable, 300_000, 262_151..300_000),
            read(b"head"),
            read(b"body"),
            lies(sendable, 10, 9..10),
            read(b"end"),
        ];
        let pieces = parts.into_iter().map(|part| outlet.piece(part)).collect();
        write(&mut direct, pieces).await.unwrap();
        direct.write_all(b".").await.unwrap();
        drop(direct);
        let all = [b"head", &bytes(300_000)[7..], b"headbody", &bytes(10)[9..], b"end."].concat();
        assert!(receiving.await.unwrap() == all, "{sendable}");
    }
}

#[tokio::test]
async fn whoever_takes_a_blank_for_bytes_or_lets_it_go_sends_nothing_more() {
    type Misuse = fn(&Arc<Outlet>, Piece) -> Vec<u8>;
    let misuses: [Misuse; 3] = [
        |_, mut piece| piece.copy_to_bytes(50).to_vec(),
        |_, piece| {
            drop(piece);
            b"next".to_vec()
        },
        |outlet, mut piece| {
            // It was never sent.
            outlet.line().ranges.clear();
            piece.advance(100);
            b"next".to_vec()
        },
    ];
    for (number, misuse) in misuses.into_iter().enumerate() {
        let (outlet, mut direct, client) = connection().await;
        let rest = misuse(&outlet, outlet.piece(lies(true, 100, 0..100)));
        assert!(direct.write_all(&rest).await.is_err(), "{number}");
        drop(direct);
        assert_eq!(received(client).await, b"", "{number}");
    }
}

#[tokio::test]
async fn a_blank_without_its_range_is_never_written() {
    let (_, mut direct, client) = connection().await;
    assert!(direct.write_all(&BLANK[5..9]).await.is_err());
    drop(direct);
    assert_eq!(received(client).await, b"");
}

#[tokio::test]
async fn a_range_that_ends_early_is_an_error() {
    for sendable in [true, false] {
        let (outlet, mut direct, client) = connection().await;
        let pieces = [outlet.piece(lies(sendable, 60, 0..100))].into();
        assert_eq!(write(&mut direct, pieces).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(direct.write_all(b"more").await.is_err());
        drop(direct);
        assert_eq!(received(client).await, bytes(60));
    }
}
