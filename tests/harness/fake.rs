//! Peers that lie: a parent with an honest main's key and state, and a child with a member's key.

use super::{Place, TestNode};
use std::sync::Arc;
use tokio::task::JoinSet;
use wuasync::{
    base::clock::SystemClock,
    domain::{
        key::NodeKey,
        state::{Namespace, NodeHash},
    },
    repository::Repository,
    sync::{
        close::CloseCode,
        endpoint::{Endpoint, EndpointSettings},
        frames::{
            AskBucket, AskNode, Behind, Bucket, BucketEntry, Entries, EntryFrame, Frame, Get, Granted, Head, Hello,
            NamespaceName, Node, Welcome,
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
    writer.write_frame(Welcome { version: 1, features: 0, name: "fake".parse().unwrap() }).await.ok()?;
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
