//! What a node does for its parent, on streams that the parent opens: content that the parent lost, and
//! reports of damage.
//!
//! The same answers, rights and limits as for a member below: the parent is one, by its row in the signed
//! state, and is asked for it again on every stream. A stream that is out of place is reset; the
//! connection, which this node needs, goes on.

use super::{
    blobs,
    connection::{CONTENT_STREAMS, ServeError, patiently},
    damage::DamageDesk,
};
use crate::{
    domain::{key::NodeKey, member::MemberRecord},
    repository::Admission,
    sync::{
        close::CloseCode,
        frames::Frame,
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinSet};

/// The bit in the features of a Hello that says that streams of the parent are answered.
pub(in crate::sync) const SERVES_PARENT: u64 = 1;

/// Serves one parent over its connection.
struct Upward {
    shared: Arc<Shared>,
    damage: DamageDesk,
    key: NodeKey,
    content: Semaphore,
}

/// Serves the parent of key `key` until the connection ends; answers with why it did.
pub(in crate::sync) async fn serve_parent(
    shared: &Arc<Shared>,
    connection: &Connection,
    key: NodeKey,
) -> ConnectionError {
    let damage = DamageDesk::new(shared.clone());
    let upward = Arc::new(Upward { shared: shared.clone(), damage, key, content: Semaphore::new(CONTENT_STREAMS) });
    // Dropped with this future: no stream outlives its connection.
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = streams.join_next() => {}
            stream = connection.accept_bi() => match stream {
                Ok(stream) => _ = streams.spawn(upward.clone().serve_stream(stream)),
                Err(ended) => return ended,
            },
        }
    }
}

impl Upward {
    async fn serve_stream(self: Arc<Self>, (send, receive): (SendStream, RecvStream)) {
        let mut reader = FrameReader::new(receive);
        let mut writer = FrameWriter::new(send);
        let parent = match self.shared.repository.admission(&self.key) {
            Ok(Admission::Member(parent)) => parent,
            // The rows that say who the parent is may be still on their way.
            Ok(Admission::Stranger | Admission::Revoked | Admission::Expired(_)) => {
                _ = writer.get_mut().reset(CloseCode::NotMember.into());
                return;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "looking up the parent failed");
                _ = writer.get_mut().reset(CloseCode::Busy.into());
                return;
            }
        };
        match self.serve(&parent, &mut reader, &mut writer).await {
            Ok(()) => _ = writer.get_mut().finish(),
            Err(error) => {
                tracing::warn!(parent = %parent.name, error = &error as &dyn std::error::Error, "a stream of the parent ended");
                _ = writer.get_mut().reset(CloseCode::Protocol.into());
            }
        }
    }

    async fn serve(
        &self,
        parent: &MemberRecord,
        reader: &mut FrameReader<RecvStream>,
        writer: &mut FrameWriter<SendStream>,
    ) -> Result<(), ServeError> {
        match patiently(reader.read_frame()).await? {
            Some(Frame::Get(get)) => {
                let _one = self.content.acquire().await;
                blobs::serve(&self.shared, parent, get, reader, writer).await
            }
            Some(Frame::BadGroup(bad)) => {
                self.damage.on_report(parent.name.as_str(), bad).await;
                Ok(())
            }
            Some(other) => Err(ServeError::OutOfPlace(other.name())),
            None => Ok(()),
        }
    }
}
