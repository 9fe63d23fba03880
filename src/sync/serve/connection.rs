//! Accepts connections and sorts their streams.

use super::{blobs, descent, joining::Doorkeeper, session};
use crate::{
    domain::{key::NodeKey, member::MemberRecord},
    repository::{Admission, RepositoryError},
    sync::{
        close::CloseCode,
        endpoint::{Accepted, Endpoint},
        frames::Frame,
        shared::{Child, ChildGuard, Shared},
        tls::Purpose,
        wire::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError},
    },
};
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Why a stream ended before its time. The other streams of the connection go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The peer's frames can't be read.
    #[error("reading from a member")]
    Read(#[from] ReadFrameError),
    /// The answer can't be written.
    #[error("writing to a member")]
    Write(#[from] WriteFrameError),
    /// A chunk of content can't be written.
    #[error("sending content to a member")]
    Send(#[from] quinn::WriteError),
    /// Bytes or rows can't be read here.
    #[error("reading for a member")]
    Repository(#[from] RepositoryError),
    /// A frame that does not belong there.
    #[error("a {0} frame out of place")]
    OutOfPlace(&'static str),
    /// No version in common.
    #[error("no version of the protocol in common: the member speaks {0} to {1}")]
    Version(u16, u16),
    /// Work on a blocking thread was cut short.
    #[error("stopping")]
    Stopping(#[from] tokio::task::JoinError),
}

/// Serves members and joiners on one endpoint.
pub struct Server {
    shared: Arc<Shared>,
    doorkeeper: Arc<Doorkeeper>,
}

impl Server {
    /// A server of what `shared` holds.
    pub fn new(shared: Arc<Shared>, doorkeeper: Arc<Doorkeeper>) -> Self {
        Self { shared, doorkeeper }
    }

    /// Accepts until `cancel`, then waits for the connections to end.
    pub async fn run(self, endpoint: Arc<Endpoint>, cancel: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = endpoint.accept() => accepted,
            };
            let Some(accepted) = accepted else { break };
            let (shared, doorkeeper, cancel) = (self.shared.clone(), self.doorkeeper.clone(), cancel.clone());
            tasks.spawn(async move {
                match accepted.purpose {
                    Purpose::Join => doorkeeper.answer(accepted).await,
                    Purpose::Member => serve_member(shared, doorkeeper, accepted, cancel).await,
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn serve_member(shared: Arc<Shared>, doorkeeper: Arc<Doorkeeper>, accepted: Accepted, cancel: CancellationToken) {
    let Accepted { connection, key, .. } = accepted;
    let member = match shared.repository.admission(&key) {
        Ok(Admission::Member(member)) => member,
        Ok(Admission::Expired(_)) => return CloseCode::Revoked.close(&connection),
        Ok(Admission::Stranger) => return CloseCode::NotMember.close(&connection),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "looking up a member failed");
            return CloseCode::Busy.close(&connection);
        }
    };
    tracing::info!(member = %member.name, address = %connection.remote_address(), "connected");
    let guard = Arc::new(shared.add_child(child_of(&shared, &connection, &member)));
    let streams = TaskTracker::new();
    let mut changes = shared.repository.changes();
    loop {
        tokio::select! {
            () = cancel.cancelled() => {
                CloseCode::ShuttingDown.close(&connection);
                break;
            }
            Ok(()) = changes.changed() => {
                if !is_admitted(&shared, &key) {
                    tracing::info!(member = %member.name, "revoked; its connection is closed");
                    CloseCode::Revoked.close(&connection);
                    break;
                }
            }
            stream = connection.accept_bi() => {
                let Ok(stream) = stream else { break };
                let serving = Stream {
                    shared: shared.clone(),
                    doorkeeper: doorkeeper.clone(),
                    connection: connection.clone(),
                    guard: guard.clone(),
                    member: member.clone(),
                };
                streams.spawn(serving.run(stream));
            }
        }
    }
    streams.close();
    streams.wait().await;
    tracing::info!(member = %member.name, "disconnected");
}

fn is_admitted(shared: &Shared, key: &NodeKey) -> bool {
    !matches!(shared.repository.admission(key), Ok(Admission::Stranger | Admission::Expired(_)))
}

fn child_of(shared: &Shared, connection: &Connection, member: &MemberRecord) -> Child {
    Child {
        key: member.key,
        name: member.name.to_string(),
        site: member.site.to_string(),
        address: connection.remote_address(),
        since: shared.clock().unix_seconds(),
        at: (0, 0),
        missing: (0, 0),
    }
}

/// One stream of a member.
struct Stream {
    shared: Arc<Shared>,
    doorkeeper: Arc<Doorkeeper>,
    connection: Connection,
    guard: Arc<ChildGuard>,
    member: MemberRecord,
}

impl Stream {
    async fn run(self, (send, receive): (SendStream, RecvStream)) {
        let mut reader = FrameReader::new(receive);
        let mut writer = FrameWriter::new(send);
        let served = self.serve(&mut reader, &mut writer).await;
        match served {
            Ok(()) => {
                writer.get_mut().finish().ok();
            }
            Err(error) => self.on_error(&error, &mut writer),
        }
    }

    async fn serve(
        &self,
        reader: &mut FrameReader<RecvStream>,
        writer: &mut FrameWriter<SendStream>,
    ) -> Result<(), ServeError> {
        match reader.read_frame().await? {
            Some(Frame::Hello(hello)) => session::serve(&self.shared, &self.guard, &hello, reader, writer).await,
            Some(Frame::Descend(descend)) => descent::serve(&self.shared, &descend, reader, writer).await,
            Some(Frame::Get(get)) => blobs::serve(&self.shared, &self.member, get, reader, writer).await,
            Some(Frame::Join(join)) => self.doorkeeper.relay(join, writer).await,
            Some(other) => Err(ServeError::OutOfPlace(other.name())),
            None => Ok(()),
        }
    }

    fn on_error(&self, error: &ServeError, writer: &mut FrameWriter<SendStream>) {
        writer.get_mut().reset(CloseCode::Protocol.into()).ok();
        let name = &self.member.name;
        match error {
            ServeError::Read(read) if read.is_violation() => {
                tracing::warn!(member = %name, error = error as &dyn std::error::Error, "a member broke the protocol");
                CloseCode::Protocol.close(&self.connection);
            }
            ServeError::OutOfPlace(_) => {
                tracing::warn!(member = %name, %error, "a member broke the protocol");
                CloseCode::Protocol.close(&self.connection);
            }
            ServeError::Version(..) => {
                tracing::warn!(member = %name, %error, "a member was turned away");
                CloseCode::Version.close(&self.connection);
            }
            ServeError::Repository(_) => {
                tracing::error!(member = %name, error = error as &dyn std::error::Error, "serving a member failed");
            }
            ServeError::Read(_) | ServeError::Write(_) | ServeError::Send(_) | ServeError::Stopping(_) => {
                tracing::debug!(member = %name, error = error as &dyn std::error::Error, "a stream ended");
            }
        }
    }
}
