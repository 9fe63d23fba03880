//! Accepts connections and sorts their streams.

use super::{ask, askings, blobs, damage::DamageDesk, descent, joining::Doorkeeper, reports, session};
use crate::{
    base::{bucket::Way, throttle::Urgency},
    domain::{member::MemberRecord, name::FolderName},
    repository::{Admission, RepositoryError},
    sync::{
        close::CloseCode,
        endpoint::{Accepted, Endpoint},
        frames::Frame,
        shared::{Child, ChildGuard, Shared},
        tls::{Admission as _, Purpose},
        wire::{FrameReader, FrameWriter, ReadFrameError, WriteFrameError},
    },
};
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Content streams of one member that are served at once, each with two steps in memory: a member
/// uses eight.
pub(super) const CONTENT_STREAMS: usize = 16;
/// Files that are given to one member at once because somebody waits for them; each has one step in memory.
const ASK_STREAMS: usize = 64;
/// Streams of hosts' reports, and of what hosts ask for, of one member: those that it uses, and as many that are ending.
const REPORT_STREAMS: usize = 4;
/// Eight streams move a step each through a link of 112 kbit/s in this time; slower members are let go.
const STALL: Duration = Duration::from_secs(300);
/// How often a member's time is looked at, whether or not rows change.
const EXPIRY_EVERY: Duration = Duration::from_secs(30);

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
    /// A folder that the member can't have from here.
    #[error("a member asks for folder {0}, which it may not or can't have from here")]
    Folder(FolderName),
    /// Nothing went through for too long.
    #[error("a member neither reads nor writes")]
    Stalled,
    /// Work on a blocking thread was cut short.
    #[error("stopping")]
    Stopping(#[from] tokio::task::JoinError),
}

/// Gives one step on a stream its time.
pub(super) async fn patiently<T, E: Into<ServeError>>(
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, ServeError> {
    tokio::time::timeout(STALL, step).await.map_err(|_| ServeError::Stalled)?.map_err(Into::into)
}

/// Writes content in turns of this node's ceiling.
pub(super) async fn write_content(
    shared: &Shared,
    writer: &mut FrameWriter<SendStream>,
    mut bytes: Bytes,
    urgency: Urgency,
) -> Result<(), ServeError> {
    while !bytes.is_empty() {
        let turn = bytes.split_to(bytes.len().min(shared.throttle.turn_bytes()));
        shared.throttle.turn(Way::Out, turn.len(), urgency).await;
        patiently(writer.get_mut().write_chunk(turn)).await?;
    }
    Ok(())
}

/// Serves members and joiners on one endpoint.
pub struct Server {
    shared: Arc<Shared>,
    doorkeeper: Arc<Doorkeeper>,
    damage: Arc<DamageDesk>,
}

impl Server {
    /// A server of what `shared` holds.
    pub fn new(shared: Arc<Shared>, doorkeeper: Arc<Doorkeeper>) -> Self {
        let damage = Arc::new(DamageDesk::new(shared.clone()));
        Self { shared, doorkeeper, damage }
    }

    /// Accepts until `cancel`, then waits for the connections to end.
    pub async fn run(self, endpoint: Arc<Endpoint>, cancel: CancellationToken) {
        let server = Arc::new(self);
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => break,
                accepted = endpoint.accept() => accepted,
            };
            let Some(accepted) = accepted else { break };
            let lane = accepted.lane.clone();
            tasks.spawn_on(server.clone().on_accepted(accepted, cancel.clone()), &lane);
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn on_accepted(self: Arc<Self>, accepted: Accepted, cancel: CancellationToken) {
        let connection = accepted.connection.clone();
        let served = async {
            match accepted.purpose {
                Purpose::Join => self.doorkeeper.answer(accepted).await,
                Purpose::Member => self.serve_member(accepted).await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => CloseCode::ShuttingDown.close(&connection),
            () = served => {}
        }
    }

    async fn serve_member(&self, Accepted { connection, key, .. }: Accepted) {
        // Looked at before the row is read, so that no revocation falls between the two.
        let mut changes = self.shared.repository.changes();
        let member = match self.shared.repository.admission(&key) {
            Ok(Admission::Member(member)) => Arc::new(member),
            // Admitted a moment ago: what it is worth now is said the same way.
            _ => return self.shared.repository.refusal(&key).unwrap_or(CloseCode::Busy).close(&connection),
        };
        tracing::info!(member = %member.name, address = %connection.remote_address(), "connected");
        let serving = Arc::new(Serving {
            shared: self.shared.clone(),
            doorkeeper: self.doorkeeper.clone(),
            damage: self.damage.clone(),
            guard: self.shared.add_child(child_of(&self.shared, &connection, &member), &connection),
            connection,
            member,
            state: Semaphore::new(1),
            descent: Semaphore::new(1),
            content: Semaphore::new(CONTENT_STREAMS),
            asks: Semaphore::new(ASK_STREAMS),
            reports: Semaphore::new(REPORT_STREAMS),
        });
        let mut expiry = tokio::time::interval(EXPIRY_EVERY);
        // Dropped with this task: no stream outlives its connection.
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                Ok(()) = changes.changed() => if !serving.is_admitted() { break },
                _ = expiry.tick() => if !serving.is_admitted() { break },
                Some(_) = streams.join_next() => {}
                stream = serving.connection.accept_bi() => {
                    let Ok(stream) = stream else { break };
                    streams.spawn(serving.clone().serve_stream(stream));
                }
            }
        }
        tracing::info!(member = %serving.member.name, "disconnected");
    }
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
        gives: false,
    }
}

/// One member's connection.
struct Serving {
    shared: Arc<Shared>,
    doorkeeper: Arc<Doorkeeper>,
    damage: Arc<DamageDesk>,
    connection: Connection,
    guard: ChildGuard,
    member: Arc<MemberRecord>,
    state: Semaphore,
    descent: Semaphore,
    content: Semaphore,
    asks: Semaphore,
    reports: Semaphore,
}

impl Serving {
    /// Whether the member is what it was when it connected; if not, the connection is closed. One whose
    /// folders changed comes back and begins anew.
    fn is_admitted(&self) -> bool {
        let repository = &self.shared.repository;
        let code = match repository.admission(&self.member.key) {
            Ok(Admission::Member(member)) if member.folders == self.member.folders => return true,
            Ok(Admission::Member(_)) => CloseCode::Done,
            // It was a member: its row went since.
            Ok(Admission::Stranger) => CloseCode::Revoked,
            _ => repository.refusal(&self.member.key).unwrap_or(CloseCode::Busy),
        };
        tracing::info!(member = %self.member.name, reason = %code, "its row changed; its connection is closed");
        code.close(&self.connection);
        false
    }

    async fn serve_stream(self: Arc<Self>, (send, receive): (SendStream, RecvStream)) {
        let mut reader = FrameReader::new(receive);
        let mut writer = FrameWriter::new(send);
        match self.serve(&mut reader, &mut writer).await {
            Ok(()) => _ = writer.get_mut().finish(),
            Err(error) => self.on_error(&error, &mut writer),
        }
    }

    async fn serve(
        &self,
        reader: &mut FrameReader<RecvStream>,
        writer: &mut FrameWriter<SendStream>,
    ) -> Result<(), ServeError> {
        let member = &self.member;
        match patiently(reader.read_frame()).await? {
            Some(Frame::Hello(hello)) => {
                let Ok(_one) = self.state.try_acquire() else { return Err(ServeError::OutOfPlace("Hello")) };
                session::serve(&self.shared, &self.guard, member, &hello, reader, writer).await
            }
            Some(Frame::Descend(descend)) => {
                let Ok(_one) = self.descent.try_acquire() else { return Err(ServeError::OutOfPlace("Descend")) };
                descent::serve(&self.shared, member, &descend, reader, writer).await
            }
            Some(Frame::Get(get)) => {
                let _one = self.content.acquire().await;
                blobs::serve(&self.shared, member, get, reader, writer).await
            }
            Some(Frame::Ask(ask)) => {
                let _one = self.asks.acquire().await;
                ask::serve(&self.shared, member, ask, reader, writer).await
            }
            Some(Frame::BadGroup(bad)) => {
                self.damage.on_report(member.name.as_str(), bad).await;
                Ok(())
            }
            Some(Frame::Askings(told)) => {
                let Ok(_one) = self.reports.try_acquire() else { return Err(ServeError::OutOfPlace("Askings")) };
                askings::serve(&self.shared, told, reader).await
            }
            Some(Frame::HostReport(report)) => {
                let Ok(_one) = self.reports.try_acquire() else { return Err(ServeError::OutOfPlace("HostReport")) };
                reports::serve(&self.shared, member.key, report, reader, writer).await
            }
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
            ServeError::Folder(folder) => {
                tracing::warn!(member = %name, %folder, "a member asks for a folder that it can't have from here");
                CloseCode::Folder.close(&self.connection);
            }
            ServeError::Stalled => {
                tracing::warn!(member = %name, "a member neither reads nor writes; it is let go");
                CloseCode::Busy.close(&self.connection);
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
