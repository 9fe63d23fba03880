//! The control socket: HTTP for the commands of this machine's administrators.
//!
//! Owns the socket's file: its rights, the removal of a stale one, its end. Who may connect is
//! decided by those rights alone (0660, group `wuasync-admin` where it exists); the kernel's word
//! on who did connect is in the log beside everything that changes something.

use super::{
    api::{ApiError, ErrorCode},
    owner::{own_uid, user_name},
};
use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, connect_info::Connected},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// Members of this group may give commands.
pub const ADMIN_GROUP: &str = "wuasync-admin";

/// Owner and group, nobody else.
const MODE: u32 = 0o660;
/// Largest request: an invitation with every field at its limit is below 8 KiB.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// How long open requests may take to end once the daemon stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A control socket that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindControlError {
    /// Its daemon is alive.
    #[error("another wuasync answers at {0}; stop that one first, or set another `control` and `state_dir`")]
    Occupied(PathBuf),
    /// The user may not use what is there, or make it.
    #[error(
        "can't open the control socket {path}: let the daemon's user have its folder, as root: \
         `install -d -o {user} -m 755 {folder}`; commands are for root and for members of the group {ADMIN_GROUP}",
        path = .path.display(), folder = .path.parent().unwrap_or(.path).display()
    )]
    Denied {
        /// The socket's path.
        path: PathBuf,
        /// Who wanted it.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something that no daemon made is in the way, and stays there.
    #[error("{0} is no socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("can't open the control socket {path}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening control socket. Its file is removed when serving ends.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that a successor's socket is never removed.
    identity: (u64, u64),
}

impl ControlSocket {
    /// Opens the socket at `path`; a stale one, to which nobody answers, is replaced. It has its
    /// rights before it has its name.
    pub async fn bind(path: &Path) -> Result<Self, BindControlError> {
        check_unoccupied(path).await?;
        Self::create(path).map_err(|source| refused(path, source))
    }

    fn create(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            fs::create_dir(directory)?;
        }
        let mut unnamed = path.as_os_str().to_owned();
        unnamed.push(".new");
        let unnamed = PathBuf::from(unnamed);
        remove_if_there(&unnamed)?;
        let listener = UnixListener::bind(&unnamed)?;
        fs::set_permissions(&unnamed, fs::Permissions::from_mode(MODE))?;
        hand_to_admins(&unnamed);
        let identity = identity(&unnamed)?;
        fs::rename(&unnamed, path)?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Answers with `router` until `stop`, then ends what is under way, within seconds.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()> {
        let service = router
            .layer(middleware::from_fn(log_change))
            .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
            .into_make_service_with_connect_info::<Peer>();
        let server = axum::serve(self.listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        let result = tokio::select! {
            result = server => result,
            () = deadline(stop) => Ok(()),
        };
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            remove_if_there(&self.path)?;
        }
        result
    }
}

/// The process at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its effective user when it connected; `None` where the kernel does not tell.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

async fn log_change(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let Some(uid) = peer.uid else {
        return ApiError::new(ErrorCode::Refused, "the system does not tell who is asking").into_response();
    };
    if !request.method().is_safe() {
        tracing::info!(uid, method = %request.method(), path = request.uri().path(), "command");
    }
    next.run(request).await
}

/// Ends a while after `stop`: a peer that is silent, or in the middle of a request, keeps nothing running.
pub(super) async fn deadline(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

fn refused(path: &Path, source: io::Error) -> BindControlError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => BindControlError::Denied { path, user: user_name(own_uid()), source },
        _ => BindControlError::Io { path, source },
    }
}

/// Whether a socket can be opened at `path`: no daemon answers there, and nothing else is in the way.
pub(super) async fn check_unoccupied(path: &Path) -> Result<(), BindControlError> {
    let failed = |source| refused(path, source);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindControlError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(BindControlError::Occupied(path.to_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Best effort: without the group, or without the right to give it away, the owner's group stays.
fn hand_to_admins(path: &Path) {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(gid) = group_id(&groups, ADMIN_GROUP) else { return };
    if let Err(error) = chown(path, None, Some(gid)) {
        tracing::warn!(%error, group = ADMIN_GROUP, "can't give the control socket to its group: make the daemon's user a member of it");
    }
}

/// The number of group `name` in the text of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    let mut fields = lines.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        (directory, path)
    }

    #[tokio::test]
    async fn the_socket_is_for_owner_and_group_and_leaves_nothing_behind() {
        let (_directory, path) = place();
        let socket = ControlSocket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let stop = CancellationToken::new();
        stop.cancel();
        socket.serve(Router::new(), stop).await.unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_socket_whose_daemon_is_gone_is_replaced() {
        let (_directory, path) = place();
        drop(ControlSocket::bind(&path).await.unwrap());
        assert!(path.exists());
        ControlSocket::bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_whose_daemon_answers_is_left_alone() {
        let (_directory, path) = place();
        let _first = ControlSocket::bind(&path).await.unwrap();
        let before = identity(&path).unwrap();
        assert!(matches!(ControlSocket::bind(&path).await, Err(BindControlError::Occupied(_))));
        assert_eq!(identity(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let (_directory, path) = place();
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlSocket::bind(&path).await, Err(BindControlError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_successors_socket_survives_the_end_of_the_first() {
        let (_directory, path) = place();
        let first = ControlSocket::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _second = ControlSocket::bind(&path).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        first.serve(Router::new(), stop).await.unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_may_not_be_made_comes_with_the_cure() {
        let denied =
            refused(Path::new("/run/wuasync/control.sock"), io::ErrorKind::PermissionDenied.into()).to_string();
        let user = user_name(own_uid());
        assert!(denied.contains(&format!("`install -d -o {user} -m 755 /run/wuasync`")), "{denied}");
        assert!(denied.contains(ADMIN_GROUP), "{denied}");
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nwuasync-admins:x:7:\n\nbroken\nwuasync-admin:x:998:anna,otto\n";
        assert_eq!(group_id(groups, ADMIN_GROUP), Some(998));
        assert_eq!(group_id(groups, "broken"), None);
        assert_eq!(group_id("wuasync-admin:x:many:", ADMIN_GROUP), None);
    }
}
