//! Content by root: granted ranges, then their bao segments. Small files go out many at a time.

use super::{
    connection::{ServeError, write_content},
    rights,
};
use crate::{
    base::{tasks, throttle::Urgency},
    domain::member::MemberRecord,
    repository::{Blob, Repository, RepositoryError},
    store::segment::{GROUP_BYTES, SegmentEncoder, aligned},
    sync::{
        frames::{Frame, Get, GetItem, Granted, Refused, RefusedReason},
        shared::Shared,
        wire::{FrameReader, FrameWriter, MAX_FRAME_BYTES, encode_frame},
    },
};
use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Bytes that one step on a blocking thread prepares: large enough to be worth the hop, small
/// enough that a stream holds little memory.
const STEP_BYTES: usize = 256 * 1024;

/// Serves one stream of requests.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    member: &MemberRecord,
    first: Get,
    reader: &mut FrameReader<RecvStream>,
    writer: &mut FrameWriter<SendStream>,
) -> Result<(), ServeError> {
    let mut next = Some(first);
    while let Some(get) = next {
        let mut sender = Some(Sender::new(shared.repository.clone(), member.clone(), get));
        let mut step = prepare(&mut sender);
        while let Some(preparing) = step {
            let (back, bytes) = preparing.await?;
            sender = Some(back);
            let Some(bytes) = bytes? else { break };
            step = prepare(&mut sender);
            shared.sent_bytes.fetch_add(bytes.len() as u64, Relaxed);
            write_content(shared, writer, bytes, Urgency::Whenever).await?;
        }
        next = match reader.read_frame().await? {
            Some(Frame::Get(get)) => Some(get),
            Some(other) => return Err(ServeError::OutOfPlace(other.name())),
            None => None,
        };
    }
    Ok(())
}

type Prepared = (Sender, Result<Option<Bytes>, ServeError>);

/// Starts the next step while the last one is still being written to the wire.
fn prepare(sender: &mut Option<Sender>) -> Option<tokio::task::JoinHandle<Prepared>> {
    let mut sender = sender.take()?;
    Some(tasks::blocking(move || {
        let bytes = sender.next_bytes();
        (sender, bytes)
    }))
}

/// Turns requests into bytes for the wire, a step at a time.
struct Sender {
    repository: Arc<Repository>,
    member: MemberRecord,
    items: VecDeque<GetItem>,
    segments: VecDeque<SegmentEncoder>,
}

impl Sender {
    fn new(repository: Arc<Repository>, member: MemberRecord, get: Get) -> Self {
        Self { repository, member, items: get.items.into(), segments: VecDeque::new() }
    }

    /// The next bytes; `None` when every item is answered.
    fn next_bytes(&mut self) -> Result<Option<Bytes>, ServeError> {
        let mut out = Vec::new();
        if self.items.len() > 1 {
            out.reserve(STEP_BYTES + GROUP_BYTES as usize);
        }
        while out.len() < STEP_BYTES {
            if let Some(segment) = self.segments.front_mut() {
                match segment.append_to(&mut out, STEP_BYTES) {
                    Ok(true) => {}
                    Ok(false) => _ = self.segments.pop_front(),
                    // What was granted can't be taken back: the stream ends short.
                    Err(source) => {
                        let what = "content for a member".into();
                        return Err(RepositoryError::Io { doing: "reading", what, source }.into());
                    }
                }
            } else if let Some(item) = self.items.pop_front() {
                out.extend(self.answer(&item)?);
            } else {
                break;
            }
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }

    fn answer(&mut self, item: &GetItem) -> Result<Vec<u8>, ServeError> {
        let frame: Frame = match self.open(item) {
            Ok(Some(blob)) => self.grant(&blob, item).into(),
            Ok(None) => Refused { reason: RefusedReason::Unknown }.into(),
            Err(error) => {
                tracing::warn!(root = %item.root, error = &error as &dyn std::error::Error, "content can't be read");
                Refused { reason: RefusedReason::Failed }.into()
            }
        };
        Ok(encode_frame(&frame, MAX_FRAME_BYTES)?)
    }

    fn open(&self, item: &GetItem) -> Result<Option<Blob>, RepositoryError> {
        if !rights::may_have(&self.repository, &self.member, &item.root)? {
            return Ok(None);
        }
        self.repository.open_blob(&item.root)
    }

    fn grant(&mut self, blob: &Blob, item: &GetItem) -> Granted {
        let ranges: Vec<(u64, u64)> = granted(&item.ranges, blob.size).collect();
        for &(start, end) in &ranges {
            let (data, outboard) = (blob.data.clone(), blob.outboard.clone());
            self.segments.push_back(SegmentEncoder::new(blob.size, start..end, data, outboard));
        }
        Granted { size: blob.size, ranges, more: false }
    }
}

/// What of the asked ranges exists, widened to whole groups; no ranges mean the whole file. A file of
/// no bytes has none to grant.
fn granted(asked: &[(u64, u64)], size: u64) -> impl Iterator<Item = (u64, u64)> {
    let whole = asked.is_empty().then_some((0, size));
    let mut last_end = 0;
    asked.iter().copied().chain(whole).filter_map(move |(start, end)| {
        let Range { start, end } = aligned(start.max(last_end)..end.min(size), size);
        last_end = end.max(last_end);
        (start < end).then_some((start, end))
    })
}

/// One group is what a small file is.
pub(in crate::sync) const SMALL_BYTES: u64 = GROUP_BYTES;
