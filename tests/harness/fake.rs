//! Peers that lie: a parent with an honest main's key and state, and a child with a member's key.

use super::{Place, TestNode};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::task::JoinSet;
use wuasync::{
    base::clock::SystemClock,
    domain::{
        digest::Root,
        key::NodeKey,
        state::{Namespace, NodeHash},
    },
    repository::Repository,
    sync::{
        close::CloseCode,
        endpoint::{Endpoint, EndpointSettings},
        frames::{
            Ask, AskBucket, AskNode, Behind, Bucket, BucketEntry, Coming, Entries, EntryFrame, Frame, Get, Granted,
            Head, Hello, NamespaceName, Node, NotNow, Piece, Refused, RefusedReason, Seek, Welcome,
        },
        tls::{Admission, TransportKey},
        transport::Congestion,
        wire::{FrameReader, FrameWriter},
    },
};

pub type Reader = FrameReader<quinn::RecvStream>;
pub type Writer = FrameWriter<quinn::SendStream>;

struct Everybody;

impl Admission for Everybody {
    fn refusal(&self, _: &NodeKey) -> Option<CloseCode> {
        None
    }
}

/// What a false parent does otherwise than an honest one.
#[derive(Debug, Clone)]
pub enum Lie {
    /// Nothing: shows that the others are lies.
    None,
    /// Every content byte is another.
    Content,
    /// Sizes are off by one.
    Size,
    /// More ranges than were asked for.
    Grants,
    /// A frame of an unknown type where content is asked for.
    UnknownFrame,
    /// Entries without end.
    EndlessEntries,
    /// Empty entries without end.
    EmptyEntries,
    /// This head, whatever it is.
    Head(Vec<u8>),
    /// Trees are compared, and all nodes are zero.
    Nodes,
    /// Trees are compared, and buckets have an entry too many.
    Buckets,
    /// Trees are compared, and a bucket never ends.
    EndlessBucket,
    /// Entries with other values than were signed.
    Entries,
    /// An entry in a namespace that is not mirrored, which no signed root is compared with.
    Foreign,
    /// Frames that belong elsewhere.
    OutOfPlace,
    /// Files are asked for by their names.
    Gives(Arc<Gives>),
}

/// What a false parent gives by names.
#[derive(Debug)]
pub struct Gives {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether it says what the content is, and proves it.
    pub proves: bool,
    pub lie: GiveLie,
    /// How often it was asked.
    pub asked: AtomicUsize,
}

/// What a false parent does otherwise than an honest one where a file is asked for by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveLie {
    /// Nothing.
    None,
    /// A byte of the second group is another.
    Byte,
    /// The second piece goes beyond the size.
    Beyond,
    /// The second piece begins within the first, and has other bytes there.
    Overlaps,
    /// The file is a byte longer.
    Size,
    /// More than any file.
    EndlessSize,
    /// Another content.
    Root,
    /// A segment that begins within a group, for the first piece.
    Unaligned,
    /// The first piece again and again.
    Endless,
    /// Not a word.
    Silence,
    /// The first half, and then not a word.
    HalfAndSilence,
    /// The first half, and then the end.
    HalfAndEnd,
    /// The first half, and then it can't.
    HalfAndNotNow,
    /// It does not know the file.
    Refused,
}

/// A parent with a main's key and state.
pub struct FakeParent {
    pub address: std::net::SocketAddr,
    tasks: JoinSet<()>,
}

impl FakeParent {
    /// Ends without a word to anybody.
    pub fn stop(&mut self) {
        self.tasks.abort_all();
    }

    pub fn of(place: &Place, main: &TestNode, lie: Lie) -> Self {
        let endpoint = open_endpoint(place.key);
        let address = endpoint.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint, main.repository.clone(), lie));
        Self { address, tasks }
    }
}

/// An endpoint that admits everybody.
pub fn open_endpoint(key: [u8; 32]) -> Endpoint {
    let settings = EndpointSettings {
        congestion: Congestion::Cubic,
        admission: Arc::new(Everybody),
        clock: Arc::new(SystemClock),
    };
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), TransportKey::generate(key), settings).unwrap()
}

async fn accept(endpoint: Endpoint, repository: Arc<Repository>, lie: Lie) {
    let mut streams = JoinSet::new();
    while let Some(accepted) = endpoint.accept().await {
        let (repository, lie) = (repository.clone(), lie.clone());
        streams.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((send, receive)) = accepted.connection.accept_bi().await {
                served.spawn(serve(repository.clone(), lie.clone(), FrameReader::new(receive), FrameWriter::new(send)));
            }
        });
    }
}

async fn serve(repository: Arc<Repository>, lie: Lie, mut reader: Reader, mut writer: Writer) {
    let served = async {
        match reader.read_frame().await.ok()?? {
            Frame::Hello(hello) => state(&repository, &lie, &hello, &mut reader, &mut writer).await,
            Frame::Descend(_) => descent(&repository, &lie, &mut reader, &mut writer).await,
            Frame::Get(get) => content(&repository, &lie, get, &mut writer).await,
            Frame::Ask(ask) => match &lie {
                Lie::Gives(gives) => give(&repository, gives, ask, &mut reader, &mut writer).await,
                _ => None,
            },
            _ => None,
        }
    };
    served.await;
    writer.get_mut().finish().ok();
}

async fn state(
    repository: &Repository,
    lie: &Lie,
    hello: &Hello,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Option<()> {
    let features = if matches!(lie, Lie::Gives(_)) { 2 } else { 0 };
    writer.write_frame(Welcome { version: 1, features, name: "fake".parse().unwrap() }).await.ok()?;
    let head = repository.head().unwrap().to_bytes();
    let rows = repository.state().index.read().unwrap().log_after(0, 1_000).unwrap();
    let mut entries: Vec<_> = rows
        .into_iter()
        .map(|row| EntryFrame {
            seq: row.seq,
            namespace: NamespaceName::new(row.record.namespace.as_str()).unwrap(),
            key: row.record.key,
            body: row.record.body.unwrap_or_default(),
            removed: false,
        })
        .collect();
    match lie {
        Lie::Head(bytes) => writer.write_frame(Head { bytes: bytes.clone() }).await.ok()?,
        Lie::Nodes | Lie::Buckets | Lie::EndlessBucket => {
            writer.write_frame(Behind {}).await.ok()?;
            writer.write_frame(Head { bytes: head }).await.ok()?;
        }
        Lie::EndlessEntries => loop {
            writer.write_frame(Entries { entries: entries.clone() }).await.ok()?;
        },
        Lie::EmptyEntries => loop {
            writer.write_frame(Entries { entries: vec![] }).await.ok()?;
        },
        Lie::OutOfPlace => writer.write_frame(Get { items: vec![] }).await.ok()?,
        Lie::Foreign => {
            // It takes the place of a change that a later one makes void, so that all numbers fit.
            let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
            let void = (0..keys.len()).find(|at| keys[at + 1..].contains(&keys[*at])).unwrap();
            let (seq, namespace) = (entries[void].seq, NamespaceName::new("folder/other").unwrap());
            entries[void] = EntryFrame { seq, namespace, key: b"k".to_vec(), body: vec![1, 2], removed: false };
            writer.write_frame(Entries { entries }).await.ok()?;
            writer.write_frame(Head { bytes: head }).await.ok()?;
        }
        Lie::Entries => {
            entries.last_mut().unwrap().body.push(1);
            writer.write_frame(Entries { entries }).await.ok()?;
            writer.write_frame(Head { bytes: head }).await.ok()?;
        }
        _ => {
            if hello.seq == 0 {
                writer.write_frame(Entries { entries }).await.ok()?;
            }
            writer.write_frame(Head { bytes: head }).await.ok()?;
        }
    }
    while reader.read_frame().await.ok()?.is_some() {}
    None
}

async fn descent(repository: &Repository, lie: &Lie, reader: &mut Reader, writer: &mut Writer) -> Option<()> {
    let snapshot = repository.state().index.read().unwrap();
    writer.write_frame(Head { bytes: repository.head().unwrap().to_bytes() }).await.ok()?;
    loop {
        match reader.read_frame().await.ok()?? {
            Frame::AskNode(AskNode { namespace, inner }) => {
                let namespace = Namespace::new(namespace.as_str()).unwrap();
                let hashes: Vec<NodeHash> = match (lie, inner) {
                    (Lie::Nodes, _) => vec![[7; 32]; 64],
                    (_, None) => snapshot.inner_nodes(&namespace).unwrap().to_vec(),
                    (_, Some(inner)) => snapshot.buckets_of(&namespace, inner).unwrap().to_vec(),
                };
                writer.write_frame(Node { hashes }).await.ok()?;
            }
            Frame::AskBucket(AskBucket { namespace, bucket }) => {
                let namespace = Namespace::new(namespace.as_str()).unwrap();
                let rows = snapshot.bucket(&namespace, bucket).unwrap();
                let mut entries: Vec<_> = rows.into_iter().map(|(key, body)| BucketEntry { key, body }).collect();
                match lie {
                    Lie::Buckets => entries.push(BucketEntry { key: b"zzz".to_vec(), body: vec![1] }),
                    Lie::EndlessBucket => loop {
                        writer.write_frame(Bucket { entries: vec![], more: true }).await.ok()?;
                    },
                    _ => {}
                }
                writer.write_frame(Bucket { entries, more: false }).await.ok()?;
            }
            _ => return None,
        }
    }
}

async fn content(repository: &Repository, lie: &Lie, get: Get, writer: &mut Writer) -> Option<()> {
    for item in get.items {
        if let Lie::Gives(gives) = lie
            && gives.files.values().any(|bytes| Root::from(blake3::hash(bytes)) == item.root)
        {
            writer.write_frame(Refused { reason: RefusedReason::Unknown }).await.ok()?;
            continue;
        }
        let blob = repository.open_blob(&item.root).unwrap()?;
        let mut ranges = item.ranges.clone();
        if ranges.is_empty() && blob.size > 0 {
            ranges.push((0, blob.size));
        }
        let mut granted = Granted { size: blob.size, ranges: ranges.clone(), more: false };
        match lie {
            Lie::Size => granted.size += 1,
            Lie::Grants => granted.ranges = vec![(0, blob.size), (blob.size, blob.size + 1_000_000)],
            Lie::UnknownFrame => writer.write_raw(&[0, 0, 0, 2, 0x7f, 0xff]).await.ok()?,
            _ => {}
        }
        writer.write_frame(granted).await.ok()?;
        for (start, end) in ranges {
            let (data, outboard) = (blob.data.clone(), blob.outboard.clone());
            let mut encoder = wuasync::store::segment::SegmentEncoder::new(blob.size, start..end, data, outboard);
            while let Some(bytes) = encoder.next_batch(100_000).unwrap() {
                let mut bytes = bytes.to_vec();
                if matches!(lie, Lie::Content) {
                    bytes.iter_mut().rev().take(10).for_each(|byte| *byte ^= 1);
                }
                writer.write_raw(&bytes).await.ok()?;
            }
        }
    }
    Some(())
}

const STEP: u64 = 65_536;

async fn give(
    repository: &Repository,
    gives: &Gives,
    ask: Ask,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Option<()> {
    gives.asked.fetch_add(1, Relaxed);
    let bytes = gives.files.get(ask.name.as_str());
    let Some(bytes) = bytes.filter(|_| gives.lie != GiveLie::Refused) else {
        return writer.write_frame(Refused { reason: RefusedReason::Unknown }).await.ok();
    };
    if gives.lie == GiveLie::Silence {
        return std::future::pending().await;
    }
    let true_root = Root::from(blake3::hash(bytes));
    let root = if gives.lie == GiveLie::Root { Some(Root([7; 32])) } else { gives.proves.then_some(true_root) };
    let size = match gives.lie {
        GiveLie::Size => bytes.len() as u64 + 1,
        GiveLie::EndlessSize => u64::MAX,
        _ => bytes.len() as u64,
    };
    writer.write_frame(Coming { size, modified: Some(1_600_000_000), root }).await.ok()?;
    let mut wanted = ask.from..if ask.describe { ask.from } else { size };
    let mut steps = 0;
    loop {
        let seek = tokio::select! {
            biased;
            frame = reader.read_frame() => frame.ok()?,
            () = std::future::ready(()), if !wanted.is_empty() => None,
        };
        match seek {
            Some(Frame::Seek(Seek { start, end })) => wanted = start..end.min(size),
            Some(_) => return None,
            None if wanted.is_empty() => return None,
            None => {}
        }
        match gives.lie {
            GiveLie::HalfAndSilence if wanted.start >= size / 2 => std::future::pending().await,
            GiveLie::HalfAndEnd if wanted.start >= size / 2 => return None,
            GiveLie::HalfAndNotNow if wanted.start >= size / 2 => {
                return writer.write_frame(NotNow { retry_after_seconds: 1 }).await.ok();
            }
            _ => {}
        }
        let (frame, bytes) = piece(repository, gives, bytes, root, wanted.clone(), steps)?;
        writer.write_frame(frame).await.ok()?;
        writer.write_raw(&bytes).await.ok()?;
        steps += 1;
        if gives.lie != GiveLie::Endless {
            wanted.start = (wanted.start + STEP).min(wanted.end);
        }
    }
}

/// The next piece of what is wanted, or another one.
fn piece(
    repository: &Repository,
    gives: &Gives,
    bytes: &[u8],
    root: Option<Root>,
    wanted: std::ops::Range<u64>,
    steps: usize,
) -> Option<(Frame, Vec<u8>)> {
    let size = bytes.len() as u64;
    let mut range = wanted.start..(wanted.start + STEP).min(wanted.end);
    if let Some(root) = root {
        let root = if gives.lie == GiveLie::Root { Root::from(blake3::hash(bytes)) } else { root };
        let blob = repository.open_blob(&root).unwrap()?;
        let mut encoder =
            wuasync::store::segment::SegmentEncoder::new(size, range.clone(), blob.data.clone(), blob.outboard.clone());
        // A greater size than the true one was told: behind the end there is nothing to give.
        let mut segment = encoder.next_batch(1 << 20).unwrap()?.to_vec();
        if gives.lie == GiveLie::Byte && range.start > 0 {
            *segment.last_mut().unwrap() ^= 1;
        }
        match gives.lie {
            GiveLie::Beyond if steps > 0 => range.end = size + 1,
            GiveLie::Unaligned if steps == 0 => range.start += 5,
            _ => {}
        }
        return Some((Granted { size, ranges: vec![(range.start, range.end)], more: true }.into(), segment));
    }
    match gives.lie {
        GiveLie::Overlaps if range.start > 0 => range.start -= STEP / 2,
        GiveLie::Beyond if steps > 0 => range = size - 1..size + 1,
        _ => {}
    }
    let byte = |at: u64| bytes.get(at as usize).copied().unwrap_or(0);
    let mut piece: Vec<u8> = range.clone().map(byte).collect();
    match gives.lie {
        GiveLie::Byte if range.start == STEP => piece[7] ^= 1,
        GiveLie::Overlaps if range.start % STEP > 0 => piece[..STEP as usize / 2].fill(0),
        _ => {}
    }
    Some((Piece { offset: range.start, length: piece.len() as u32 }.into(), piece))
}
