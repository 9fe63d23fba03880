//! Joining a line: with the daemon or without it, the same steps.

use super::{
    api::{ApiError, ErrorCode, JoinReply},
    config::Config,
    lock::StateLock,
    node::{StartError, congestion, repository_config, transport_key},
    owner,
    parent_file::{ParentFile, ParentFileError},
    random,
};
use crate::{
    base::{
        chain::chain,
        clock::{Clock, SystemClock},
    },
    domain::{
        member::{NodeAddress, Role},
        state::SignedHead,
    },
    repository::{Repository, RepositoryError},
    store::disk::real::RealDisk,
    sync::{
        endpoint::{ConnectError, Endpoint, EndpointSettings},
        frames::Join,
        join::{JoinError, join_over},
        pull::ParentAddress,
        tls::Purpose,
        token::{ParseTokenError, Token},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinLineError {
    /// Only secondaries join.
    #[error("this node is a main: its role must be \"secondary\" to join a line")]
    IsMain,
    /// Joining would leave files behind that the daemon can't open.
    #[error(
        "{state_dir} belongs to {owner}, and what {user} writes there the daemon could not open; \
         nothing was changed, and the token is still good: run `runuser -u {owner} -- wuasync join -`",
        state_dir = .state_dir.display()
    )]
    OtherUser {
        /// The state folder.
        state_dir: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who wants to join.
        user: String,
    },
    /// The text is no good token.
    #[error(transparent)]
    Token(ParseTokenError),
    /// The token's hour is over, by this machine's clock.
    #[error(
        "the pairing token has expired: by this machine's clock it is {now}; ask for a new token, or set the clock if that is wrong"
    )]
    Expired {
        /// What the clock says.
        now: String,
    },
    /// The node follows another line, with files that belong to it.
    #[error(
        "the token is for line {offered}, and this node follows {followed}; use --adopt-line to follow the other from here on with the files that lie here, or an empty state folder"
    )]
    OtherLine {
        /// The token's.
        offered: String,
        /// This node's.
        followed: String,
    },
    /// A folder that is mirrored here and not there, or not for this node.
    #[error("the token does not cover folder {0}")]
    Folder(String),
    /// The parent's name has no address.
    #[error("looking up {address}")]
    Resolve {
        /// The address in the token.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The parent can't be reached.
    #[error("can't reach the parent at {address}")]
    Connect {
        /// The address that was tried last.
        address: String,
        /// Why.
        source: ConnectError,
    },
    /// The parent said no, or broke off.
    #[error(transparent)]
    Refused(#[from] JoinError),
    /// What the parent showed is not signed by the line in the token.
    #[error("the parent's state is not signed by the line in the token")]
    Forged(#[from] crate::domain::state::VerifyHeadError),
    /// The line can't be changed.
    #[error("leaving the line that was followed")]
    Leave(#[from] RepositoryError),
    /// The state folder.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The parent file.
    #[error(transparent)]
    File(#[from] ParentFileError),
}

/// Joins while no daemon runs; the next start follows the parent.
pub async fn join_offline(config: &Config, text: &str, adopt_line: bool) -> Result<JoinReply, JoinLineError> {
    let token = read_token(config, text)?;
    check_user(&config.state_dir)?;
    let _lock = StateLock::take(&config.state_dir).map_err(StartError::from)?;
    let repository = Repository::open(
        Arc::new(RealDisk::new()),
        Arc::new(SystemClock),
        &repository_config(config),
        &mut random::fill,
    );
    let repository = Arc::new(repository.map_err(StartError::from)?);
    let settings = EndpointSettings {
        congestion: congestion(config.sync.congestion),
        admission: repository.clone(),
        clock: Arc::new(SystemClock),
    };
    let key = transport_key(&repository)?;
    let any = if config.sync.listen.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let any = any.parse().unwrap_or(config.sync.listen);
    let endpoint = Endpoint::bind(any, key, settings).map_err(StartError::from)?;
    let (reply, _) = redeem(config, &repository, &endpoint, token, adopt_line).await?;
    Ok(reply)
}

/// Joins with the parts of a running daemon.
pub(super) async fn join_line(
    config: &Config,
    repository: &Repository,
    endpoint: &Endpoint,
    text: &str,
    adopt_line: bool,
) -> Result<(JoinReply, ParentAddress), JoinLineError> {
    redeem(config, repository, endpoint, read_token(config, text)?, adopt_line).await
}

/// What can be known to be wrong before a state folder is made or opened: a main would get a line of its own.
fn read_token(config: &Config, text: &str) -> Result<Token, JoinLineError> {
    if config.role == Role::Main {
        return Err(JoinLineError::IsMain);
    }
    let now = SystemClock.unix_seconds();
    Token::parse(text, now).map_err(|error| match error {
        ParseTokenError::Expired => JoinLineError::Expired { now: time_text(now) },
        error => JoinLineError::Token(error),
    })
}

fn time_text(unix_seconds: u64) -> String {
    let known = i64::try_from(unix_seconds).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    known.map_or_else(|| unix_seconds.to_string(), |at| at.to_string())
}

/// Whoever joins while no daemon runs makes the files that the daemon is to open.
fn check_user(state_dir: &Path) -> Result<(), JoinLineError> {
    match owner::owner_of(state_dir) {
        Ok(Some(uid)) if uid != owner::own_uid() => Err(JoinLineError::OtherUser {
            state_dir: state_dir.to_owned(),
            owner: owner::user_name(uid),
            user: owner::user_name(owner::own_uid()),
        }),
        // What can't be looked at is told by the lock.
        _ => Ok(()),
    }
}

/// Redeems a token at its parent, and keeps what was learned.
async fn redeem(
    config: &Config,
    repository: &Repository,
    endpoint: &Endpoint,
    token: Token,
    adopt_line: bool,
) -> Result<(JoinReply, ParentAddress), JoinLineError> {
    check(repository, &token, adopt_line)?;
    let request = Join {
        secret: token.secret.clone(),
        name: token.name.clone(),
        site: token.site.clone(),
        addresses: config.sync.advertise.clone(),
        key: endpoint.public_key(),
    };
    let joined = ask(endpoint, &token, request).await?;
    SignedHead::verify(&joined.head, &token.line)?;
    if repository.line().is_some_and(|followed| followed != token.line) {
        repository.adopt_line(token.line)?;
        tracing::warn!(line = %token.line, "another line is followed from here on");
    }
    let parent = ParentAddress {
        addresses: token.addresses.iter().map(ToString::to_string).collect(),
        key: token.parent,
        line: token.line,
    };
    ParentFile { name: token.name.to_string(), parent: parent.clone() }.write(repository.state())?;
    tracing::info!(name = %token.name, line = %token.line, "joined");
    let address = parent.addresses.first().cloned().unwrap_or_default();
    Ok((JoinReply { name: token.name.to_string(), line: token.line.to_string(), parent: address }, parent))
}

/// What can be known to be wrong before anybody is asked.
fn check(repository: &Repository, token: &Token, adopt_line: bool) -> Result<(), JoinLineError> {
    if let Some(followed) = repository.line().filter(|followed| *followed != token.line && !adopt_line) {
        return Err(JoinLineError::OtherLine { offered: token.line.to_string(), followed: followed.to_string() });
    }
    let covered = |folder: &&_| token.folders.is_empty() || token.folders.contains(folder);
    match repository.folder_names().find(|folder| !covered(folder)) {
        Some(folder) => Err(JoinLineError::Folder(folder.to_string())),
        None => Ok(()),
    }
}

async fn ask(endpoint: &Endpoint, token: &Token, request: Join) -> Result<crate::sync::frames::Joined, JoinLineError> {
    let mut last = None;
    for address in &token.addresses {
        let resolved = match resolve(address).await {
            Ok(resolved) => resolved,
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        for socket in resolved {
            match endpoint.connect(socket, token.parent, Purpose::Join).await {
                Ok(connection) => return Ok(join_over(&connection, request).await?),
                Err(source) => last = Some(JoinLineError::Connect { address: address.to_string(), source }),
            }
        }
    }
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the token names no address");
    Err(last.unwrap_or_else(|| JoinLineError::Resolve { address: String::new(), source: nowhere() }))
}

async fn resolve(address: &NodeAddress) -> Result<Vec<std::net::SocketAddr>, JoinLineError> {
    let resolved = tokio::net::lookup_host(address.as_str()).await;
    resolved.map(Iterator::collect).map_err(|source| JoinLineError::Resolve { address: address.to_string(), source })
}

/// How a failed join is told.
pub fn join_error(error: &JoinLineError) -> ApiError {
    let code = match error {
        JoinLineError::Token(_) => ErrorCode::Invalid,
        JoinLineError::IsMain
        | JoinLineError::OtherUser { .. }
        | JoinLineError::Expired { .. }
        | JoinLineError::OtherLine { .. }
        | JoinLineError::Folder(_)
        | JoinLineError::Forged(_) => ErrorCode::Refused,
        JoinLineError::Refused(error) => refusal_code(error),
        JoinLineError::Start(error) => error.code(),
        JoinLineError::Resolve { .. }
        | JoinLineError::Connect { .. }
        | JoinLineError::File(_)
        | JoinLineError::Leave(_) => ErrorCode::Failed,
    };
    ApiError::new(code, chain(error))
}

/// A parent that says no is another thing than one that says nothing.
fn refusal_code(error: &JoinError) -> ErrorCode {
    match error {
        JoinError::Refused(_) => ErrorCode::Refused,
        JoinError::Closed(_)
        | JoinError::Open(_)
        | JoinError::Send(_)
        | JoinError::Receive(_)
        | JoinError::NoAnswer
        | JoinError::Late => ErrorCode::Failed,
    }
}
