//! Frames on a byte stream: `u32 length | u16 type | body`, big endian, the length counting type
//! and body. Knows nothing of QUIC: any `AsyncRead` and `AsyncWrite` carry them.
//!
//! Raw bytes may follow a frame (bao segments); they go through the same buffer, and whoever reads
//! knows their number from the frame. Memory follows what has arrived, never what a length claims.

use super::frames::Frame;
use crate::base::{
    bucket::Way,
    throttle::{Throttle, Urgency},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes in a frame, its length included.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

const LENGTH_BYTES: usize = 4;
const TYPE_BYTES: usize = 2;
const HEADER_BYTES: usize = LENGTH_BYTES + TYPE_BYTES;

/// Least room that is made for reading: a control stream of small frames costs no more than this.
const LEAST_READ_BYTES: usize = 4 * 1024;
/// Most room that is made for bytes that have not arrived: one group.
const MOST_READ_BYTES: usize = 64 * 1024;
/// Most room that is made at once for raw bytes, of which the reader chose the number: growing in steps
/// would copy them.
const MOST_RAW_BYTES: usize = 512 * 1024;

/// A stream that gave no frame. The stream can't be read any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// The stream failed.
    #[error("reading from the peer")]
    Io(#[source] io::Error),
    /// It ended within a frame or a segment.
    #[error("the stream ended in the middle")]
    Cut,
    /// The length is above the limit, or too small for a type.
    #[error("a frame of {length} bytes, where 2 to {limit} are allowed")]
    Length {
        /// As the frame claims.
        length: u32,
        /// What this reader allows.
        limit: usize,
    },
    /// Neither known nor marked as skippable.
    #[error("a frame of the unknown type {0:#06x}")]
    UnknownType(u16),
    /// The body is not what its type says, or above its limits.
    #[error("a damaged frame of type {number:#06x}")]
    Damaged {
        /// The frame's type.
        number: u16,
        /// What the decoder said.
        source: postcard::Error,
    },
}

impl ReadFrameError {
    /// Whether the peer broke the protocol, so that the connection has to be closed; else it or the
    /// network just went away.
    pub fn is_violation(&self) -> bool {
        match self {
            Self::Io(_) | Self::Cut => false,
            Self::Length { .. } | Self::UnknownType(_) | Self::Damaged { .. } => true,
        }
    }
}

/// Reads frames, and the raw bytes between them.
#[derive(Debug)]
pub struct FrameReader<R> {
    inner: R,
    buffer: BytesMut,
    limit: usize,
    /// Least room that is made for reading.
    least_room: usize,
    /// Bytes are read in turns of a ceiling, and how urgently.
    pace: Option<(Throttle, Urgency)>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of frames up to [`MAX_FRAME_BYTES`].
    pub fn new(inner: R) -> Self {
        Self::with_limit(inner, MAX_FRAME_BYTES)
    }

    /// A reader of frames up to `limit` bytes, their length included.
    pub fn with_limit(inner: R, limit: usize) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            limit: limit.min(MAX_FRAME_BYTES),
            least_room: LEAST_READ_BYTES,
            pace: None,
        }
    }

    /// Reads content below a ceiling: what is read lets the peer send as much. Small files then share the room of one
    /// read.
    pub fn below(self, throttle: &Throttle, urgency: Urgency) -> Self {
        Self { pace: Some((throttle.clone(), urgency)), least_room: MOST_READ_BYTES, ..self }
    }

    /// The next frame of a known type; `None` where the stream ends between frames. Nothing is lost
    /// when the future is dropped: the next call goes on.
    pub async fn read_frame(&mut self) -> Result<Option<Frame>, ReadFrameError> {
        while let Some(length) = self.read_length().await? {
            let frame = self.read_body(length).await?;
            if frame.is_some() {
                return Ok(frame);
            }
        }
        Ok(None)
    }

    /// Exactly `length` raw bytes. Nothing is lost when the future is dropped.
    pub async fn read_raw(&mut self, length: usize) -> Result<Bytes, ReadFrameError> {
        self.make_room(length.saturating_sub(self.buffer.len()).min(MOST_RAW_BYTES));
        self.fill(length).await?;
        let bytes = self.buffer.split_to(length).freeze();
        self.release();
        Ok(bytes)
    }

    /// The stream; bytes that were read ahead are lost.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The stream, to stop it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    async fn read_length(&mut self) -> Result<Option<usize>, ReadFrameError> {
        match self.fill(LENGTH_BYTES).await {
            Err(ReadFrameError::Cut) if self.buffer.is_empty() => return Ok(None),
            filled => filled?,
        }
        let claimed = (&self.buffer[..LENGTH_BYTES]).get_u32();
        let limit = self.limit.saturating_sub(LENGTH_BYTES);
        match usize::try_from(claimed) {
            Ok(length) if (TYPE_BYTES..=limit).contains(&length) => Ok(Some(length)),
            _ => Err(ReadFrameError::Length { length: claimed, limit }),
        }
    }

    async fn read_body(&mut self, length: usize) -> Result<Option<Frame>, ReadFrameError> {
        self.fill(HEADER_BYTES).await?;
        let number = (&self.buffer[LENGTH_BYTES..HEADER_BYTES]).get_u16();
        if !Frame::is_acceptable(number) {
            return Err(ReadFrameError::UnknownType(number));
        }
        let end = LENGTH_BYTES + length;
        self.fill(end).await?;
        let frame = Frame::decode_body(number, &self.buffer[HEADER_BYTES..end]).transpose();
        self.buffer.advance(end);
        self.release();
        frame.map_err(|source| ReadFrameError::Damaged { number, source })
    }

    async fn fill(&mut self, wanted: usize) -> Result<(), ReadFrameError> {
        while self.buffer.len() < wanted {
            self.make_room((wanted - self.buffer.len()).min(MOST_READ_BYTES));
            let turn = self.pace.as_ref().map_or(usize::MAX, |(throttle, _)| throttle.turn_bytes());
            let mut room = (&mut self.buffer).limit(turn);
            let read = self.inner.read_buf(&mut room).await.map_err(ReadFrameError::Io)?;
            if read == 0 {
                return Err(ReadFrameError::Cut);
            }
            if let Some((throttle, urgency)) = &self.pace {
                throttle.turn(Way::In, read, *urgency).await;
            }
        }
        Ok(())
    }

    /// Room for so many bytes more. What was taken out of the buffer keeps its memory: room is made in large steps.
    fn make_room(&mut self, bytes: usize) {
        if self.buffer.capacity() - self.buffer.len() < bytes {
            self.buffer.reserve(bytes.max(self.least_room));
        }
    }

    /// Gives back the room of a large frame.
    fn release(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > MOST_READ_BYTES {
            self.buffer = BytesMut::new();
        }
    }
}

/// A frame that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteFrameError {
    /// The stream failed.
    #[error("writing to the peer")]
    Io(#[source] io::Error),
    /// The frame is above its own limits; nothing was written.
    #[error("a {name} frame above its limits")]
    OverLimit {
        /// The frame's type.
        name: &'static str,
    },
}

/// The bytes of a frame of at most `limit` bytes, its length included.
pub fn encode_frame(frame: &Frame, limit: usize) -> Result<Vec<u8>, WriteFrameError> {
    let over_limit = || WriteFrameError::OverLimit { name: frame.name() };
    let [high, low] = frame.number().to_be_bytes();
    let mut bytes = frame.encode_body(vec![0, 0, 0, 0, high, low]).map_err(|_| over_limit())?;
    if bytes.len() > limit.min(MAX_FRAME_BYTES) {
        return Err(over_limit());
    }
    let length = u32::try_from(bytes.len() - LENGTH_BYTES).map_err(|_| over_limit())?;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// Writes frames, and raw bytes between them. A dropped future leaves the stream in the middle of a
/// frame: it can only be reset.
#[derive(Debug)]
pub struct FrameWriter<W> {
    inner: W,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer of frames up to [`MAX_FRAME_BYTES`].
    pub fn new(inner: W) -> Self {
        Self { inner }
    }

    /// Writes one frame.
    pub async fn write_frame(&mut self, frame: impl Into<Frame>) -> Result<(), WriteFrameError> {
        let bytes = encode_frame(&frame.into(), MAX_FRAME_BYTES)?;
        self.write_raw(&bytes).await
    }

    /// Writes bytes that a frame has announced.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> Result<(), WriteFrameError> {
        self.inner.write_all(bytes).await.map_err(WriteFrameError::Io)
    }

    /// Sends what is buffered below.
    pub async fn flush(&mut self) -> Result<(), WriteFrameError> {
        self.inner.flush().await.map_err(WriteFrameError::Io)
    }

    /// Ends the stream in good order.
    pub async fn finish(&mut self) -> Result<(), WriteFrameError> {
        self.inner.shutdown().await.map_err(WriteFrameError::Io)
    }

    /// The stream, for instance to write chunks without a copy.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The stream.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::clock::SystemClock,
        domain::{
            digest::Root,
            key::NodeKey,
            member::{NodeAddress, NodeName, SiteName},
        },
        sync::{bounded::Text, frames::*, secret::Secret},
    };
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, sync::Arc};

    const FIXTURE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/frames-v1.txt"));

    fn namespace(name: &str) -> NamespaceName {
        Text::new(name).unwrap()
    }

    fn samples() -> Vec<Frame> {
        let waptwua = namespace("folder/waptwua");
        let name = NodeName::new("lyon").unwrap();
        let root = Root([0xbb; 32]);
        vec![
            Hello {
                versions: (1, 2),
                features: 5,
                name: name.clone(),
                namespaces: vec![waptwua.clone(), namespace("members")],
                epoch: 1_700_000_000_000,
                seq: 300,
                head_hash: [0xcc; 32],
            }
            .into(),
            Welcome { version: 1, features: 4, name: name.clone() }.into(),
            Head { bytes: vec![1, 2, 3] }.into(),
            Entries {
                entries: vec![EntryFrame {
                    seq: 301,
                    namespace: waptwua.clone(),
                    key: b"a.cab".to_vec(),
                    body: vec![1, 0xff],
                    removed: true,
                }],
            }
            .into(),
            Behind {}.into(),
            Progress { epoch: 7, seq: 8, missing_files: 9, missing_bytes: 1 << 40 }.into(),
            Descend { namespaces: vec![namespace("rules")] }.into(),
            AskNode { namespace: waptwua.clone(), inner: Some(63) }.into(),
            Node { hashes: vec![[1; 32], [2; 32]] }.into(),
            AskBucket { namespace: waptwua, bucket: 4095 }.into(),
            Bucket { entries: vec![BucketEntry { key: b"k".to_vec(), body: b"v".to_vec() }], more: true }.into(),
            Get { items: vec![GetItem { root, ranges: vec![(0, 65_536), (1 << 33, 1 << 34)] }] }.into(),
            Granted { size: 1 << 34, ranges: vec![(0, 65_536)], more: false }.into(),
            Refused { reason: RefusedReason::Failed }.into(),
            BadGroup { root, offset: 65_536 }.into(),
            Ask {
                folder: Text::new("waptwua").unwrap(),
                name: Text::new("kb.cab").unwrap(),
                describe: false,
                from: 65_536,
            }
            .into(),
            Coming { size: 1 << 34, modified: Some(-2), root: Some(root) }.into(),
            Piece { offset: 65_536, length: 300 }.into(),
            Seek { start: 65_536, end: 1 << 33 }.into(),
            NotNow { retry_after_seconds: 300 }.into(),
            Join {
                secret: Secret::new([0xdd; 32]),
                name,
                site: SiteName::new("Lyon").unwrap(),
                addresses: vec![NodeAddress::new("lyon.example:4433").unwrap()],
                key: NodeKey([0xee; 32]),
            }
            .into(),
            Joined { member: vec![4, 5], head: vec![6] }.into(),
            JoinRefused { reason: JoinRefusedReason::Unavailable }.into(),
            HostReport { report: vec![7, 8] }.into(),
            HostReportTaken { outcome: ReportOutcome::Later }.into(),
            Askings {
                folder: Text::new("w").unwrap(),
                day: 128,
                names: vec![Text::new("a").unwrap()],
                members: vec![NodeKey([0xee; 32])],
            }
            .into(),
            Alive {
                member: NodeKey([0xee; 32]),
                silent_seconds: 300,
                url: Text::new("http://a"),
                load_bytes: 1,
                arriving_bytes: 2,
                can_fetch: true,
            }
            .into(),
            Holdings {
                member: NodeKey([0xee; 32]),
                folder: Text::new("waptwua").unwrap(),
                epoch: 7,
                seq: 8,
                missing_files: 9,
                missing_bytes: 300,
                whole: true,
                lacking: vec![5, 0x80, 1],
            }
            .into(),
            UrlSaid {
                member: NodeKey([0xee; 32]),
                url: Text::new("http://a"),
                said_at: 300,
                signature: vec![0xdd; 64],
            }
            .into(),
        ]
    }

    fn encoded(frame: &Frame) -> Vec<u8> {
        encode_frame(frame, MAX_FRAME_BYTES).unwrap()
    }

    fn with_length(rest: &[u8]) -> Vec<u8> {
        [&u32::try_from(rest.len()).unwrap().to_be_bytes(), rest].concat()
    }

    #[tokio::test]
    async fn every_type_keeps_the_bytes_of_its_fixture() {
        let mut lines = FIXTURE.lines();
        for frame in samples() {
            let line = format!("{} {}", frame.name(), HEXLOWER.encode(&encoded(&frame)));
            assert_eq!(lines.next(), Some(&*line));
            let bytes = encoded(&frame);
            assert_eq!(FrameReader::new(&bytes[..]).read_frame().await.unwrap(), Some(frame));
        }
        assert_eq!(lines.next(), None);
        let sampled: BTreeSet<_> = samples().iter().map(Frame::number).collect();
        assert_eq!(sampled, Frame::TYPES.iter().map(|(number, _)| *number).collect());
    }

    #[tokio::test]
    async fn frames_and_raw_bytes_share_a_stream_that_trickles() {
        let (near, far) = tokio::io::duplex(7);
        let segment = vec![0x5a; 200_000];
        let sent = segment.clone();
        let sender = tokio::spawn(async move {
            let mut writer = FrameWriter::new(near);
            for frame in samples() {
                writer.write_frame(frame).await.unwrap();
                writer.write_raw(&sent[..100]).await.unwrap();
            }
            writer.write_raw(&sent).await.unwrap();
            writer.finish().await.unwrap();
        });
        let mut reader = FrameReader::new(far);
        for frame in samples() {
            assert_eq!(reader.read_frame().await.unwrap(), Some(frame));
            assert_eq!(reader.read_raw(100).await.unwrap(), segment[..100]);
        }
        assert_eq!(reader.read_raw(segment.len()).await.unwrap(), segment);
        assert_eq!(reader.read_frame().await.unwrap(), None);
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn a_read_that_was_dropped_half_way_loses_nothing() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(far);
        let bytes = encoded(&samples()[0]);
        near.write_all(&bytes[..9]).await.unwrap();
        tokio::select! {
            biased;
            frame = reader.read_frame() => panic!("half a frame read as {frame:?}"),
            () = std::future::ready(()) => {}
        }
        let (written, frame) = tokio::join!(near.write_all(&bytes[9..]), reader.read_frame());
        written.unwrap();
        assert_eq!(frame.unwrap(), Some(samples().remove(0)));
    }

    #[tokio::test]
    async fn an_unknown_type_is_skipped_with_the_high_bit_and_refused_without() {
        let skippable = with_length(&[0x80, 0x77, 1, 2, 3]);
        let bytes = [skippable, encoded(&Behind {}.into())].concat();
        assert_eq!(FrameReader::new(&bytes[..]).read_frame().await.unwrap(), Some(Behind {}.into()));

        let critical = with_length(&[0x00, 0x77]);
        let error = FrameReader::new(&critical[..]).read_frame().await.unwrap_err();
        assert!(matches!(error, ReadFrameError::UnknownType(0x77)) && error.is_violation(), "{error}");
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_frame_is_cut_and_no_violation() {
        let bytes = encoded(&samples()[0]);
        for end in 1..bytes.len() {
            let error = FrameReader::new(&bytes[..end]).read_frame().await.unwrap_err();
            assert!(matches!(error, ReadFrameError::Cut) && !error.is_violation(), "{end}: {error}");
        }
        assert!(matches!(FrameReader::new(&bytes[..]).read_raw(9_999).await, Err(ReadFrameError::Cut)));
    }

    #[tokio::test]
    async fn lengths_out_of_bounds_are_refused_before_anything_else_arrives() {
        let most = u32::try_from(MAX_FRAME_BYTES - LENGTH_BYTES).unwrap();
        for length in [0, 1, most + 1, u32::MAX] {
            let error = FrameReader::new(&length.to_be_bytes()[..]).read_frame().await.unwrap_err();
            assert!(matches!(error, ReadFrameError::Length { length: l, .. } if l == length), "{error}");
        }
        let error = FrameReader::with_limit(&1021_u32.to_be_bytes()[..], 1024).read_frame().await.unwrap_err();
        assert!(matches!(error, ReadFrameError::Length { length: 1021, limit: 1020 }), "{error}");
    }

    #[tokio::test]
    async fn a_frame_at_the_limit_passes_and_one_above_is_not_written() {
        let bytes = |n| Frame::from(Head { bytes: vec![0; n] });
        let exact = encode_frame(&bytes(1000), 1008).unwrap();
        assert_eq!(FrameReader::with_limit(&exact[..], 1008).read_frame().await.unwrap(), Some(bytes(1000)));
        assert!(encode_frame(&bytes(1001), 1008).is_err());
        assert!(encode_frame(&bytes(MAX_HEAD_BYTES + 1), MAX_FRAME_BYTES).is_err());
    }

    #[tokio::test]
    async fn a_claimed_megabyte_costs_one_read_of_room_until_it_arrives() {
        let claim = [&0xf_0000_u32.to_be_bytes()[..], &[0x80, 0x01], &[0; 100]].concat();
        let mut reader = FrameReader::new(&claim[..]);
        assert!(reader.read_frame().await.is_err());
        assert!(reader.buffer.capacity() <= claim.len() + 2 * MOST_READ_BYTES, "{}", reader.buffer.capacity());
        let mut reader = FrameReader::new(&claim[..]);
        assert!(reader.read_raw(usize::MAX).await.is_err());
        assert!(reader.buffer.capacity() <= claim.len() + MOST_RAW_BYTES, "{}", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn small_files_share_the_room_of_one_read() {
        let (bytes, throttle) = ([7; 60_000], Throttle::unlimited(Arc::new(SystemClock)));
        let mut reader = FrameReader::new(&bytes[..]).below(&throttle, Urgency::Whenever);
        let first = reader.read_raw(4_096).await.unwrap();
        for n in 1..10 {
            let next = reader.read_raw(4_096).await.unwrap();
            assert_eq!(next.as_ptr() as usize, first.as_ptr() as usize + n * 4_096);
        }
    }

    #[tokio::test]
    async fn the_room_of_a_large_frame_is_given_back() {
        let large = with_length(&[&[0x80, 0x01][..], &[0; 900_000]].concat());
        let mut reader = FrameReader::new(&large[..]);
        assert_eq!(reader.read_frame().await.unwrap(), None);
        assert!(reader.buffer.capacity() <= MOST_READ_BYTES, "{}", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn bytes_after_a_body_are_damage() {
        let mut bytes = encoded(&Behind {}.into());
        bytes[3] += 1;
        bytes.push(0);
        let error = FrameReader::new(&bytes[..]).read_frame().await.unwrap_err();
        assert!(matches!(error, ReadFrameError::Damaged { number: 0x12, .. }), "{error}");
    }

    fn read_to_end(bytes: &[u8]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = FrameReader::new(bytes);
            while let Ok(Some(_)) = reader.read_frame().await {}
            assert!(reader.buffer.capacity() <= bytes.len() + 2 * MOST_READ_BYTES);
        });
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            read_to_end(&bytes);
        }

        #[test]
        fn arbitrary_bodies_of_every_type_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (number, _) in Frame::TYPES {
                read_to_end(&with_length(&[&number.to_be_bytes()[..], &body].concat()));
            }
        }

        #[test]
        fn damaged_frames_read_as_an_error_or_as_another_frame(
            at in any::<prop::sample::Index>(),
            which in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            let mut bytes = encoded(which.get(&samples()));
            let at = at.index(bytes.len());
            bytes[at] = with;
            read_to_end(&bytes);
        }
    }
}
