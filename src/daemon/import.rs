//! What Microsoft does not serve enters a folder from an administrator's hands: staged, hashed, signed.

use super::{
    api::{ApiError, ErrorCode, ImportQuery, ImportReply},
    control::Peer,
    router::{Answer, Api, audit, blocking},
};
use crate::{
    base::tasks,
    domain::{
        file::{FileRecord, MAX_FILE_BYTES},
        member::Role,
        name::FileName,
    },
    repository::{Repository, RepositoryError},
    store::download::{Download, DownloadKey, Origin, Shas},
};
use axum::{
    Extension, Json,
    body::Body,
    extract::{ConnectInfo, Query, State, rejection::QueryRejection},
};
use http_body_util::BodyExt;
use std::{io, sync::Arc};

/// What is gathered before it is written.
const STEP_BYTES: usize = 1 << 20;

pub(super) async fn import(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    mut body: Body,
) -> Answer<ImportReply> {
    let answer = take(api, peer, query, &mut body).await;
    if answer.is_err() {
        // Who is still sending hears the answer only when all is sent: a connection that closes is all it would see.
        while let Some(Ok(_)) = body.frame().await {}
    }
    answer
}

async fn take(
    api: Api,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    body: &mut Body,
) -> Answer<ImportReply> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let repository = &api.node.repository;
    if repository.role() != Role::Main {
        let text =
            "this node is a secondary: what enters its folder comes from the main; run `wuasync files import` there";
        return Err(ApiError::new(ErrorCode::Refused, text));
    }
    if repository.folder_path(&query.folder).is_none() {
        return Err(ApiError::new(ErrorCode::Unknown, format!("no folder {} is configured", query.folder)));
    }
    let name = FileName::new(&query.name).map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    if query.size > MAX_FILE_BYTES {
        return Err(ApiError::new(ErrorCode::Invalid, format!("{name} has more bytes than any mirrored file")));
    }
    let (repository, at, named) = (repository.clone(), query.clone(), name.clone());
    let Json(begun) = blocking(move || begin(&repository, &at, &named)).await?;
    let Some(download) = begun else {
        return Err(ApiError::new(ErrorCode::Refused, format!("{name} is being fetched or imported at this moment")));
    };
    let download = receive(download, body).await?;
    let (repository, at, named) = (api.node.repository.clone(), query.clone(), name.clone());
    let Json(entered) = blocking(move || enter(&repository, &at, &named, download)).await?;
    let reply = entered.map_err(|why| ApiError::new(ErrorCode::Refused, why))?;
    if !reply.was_here {
        audit(&api, peer, format!("imported {}/{name}, {} bytes, BLAKE3 {}", query.folder, reply.size, reply.root))
            .await?;
    }
    Ok(Json(reply))
}

/// None while somebody else has a download of this name.
fn begin(
    repository: &Arc<Repository>,
    query: &ImportQuery,
    name: &FileName,
) -> Result<Option<Download>, RepositoryError> {
    let downloads = repository.staging(&query.folder)?.downloads();
    let origin = Origin { size: query.size, modified: Some(query.modified) };
    match downloads.begin(DownloadKey::of(name), origin, Shas::Both) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(None),
        begun => begun.map(Some).map_err(RepositoryError::io("beginning to import", name)),
    }
}

/// The whole body into staging; what is cut leaves nothing.
async fn receive(mut download: Download, body: &mut Body) -> Result<Download, ApiError> {
    let failed = |why: String| ApiError::new(ErrorCode::Failed, why);
    let (mut gathered, mut ended) = (Vec::new(), false);
    while !ended {
        match body.frame().await {
            Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|bytes| gathered.extend_from_slice(bytes)),
            Some(Err(error)) => return discard(download, failed(format!("the file was cut short: {error}"))).await,
            None => ended = true,
        }
        if gathered.len() < STEP_BYTES && !ended {
            continue;
        }
        let bytes = std::mem::take(&mut gathered);
        let written = tasks::blocking(move || {
            let at = download.arrived();
            let written = download.write(at, vec![bytes.into()]);
            (download, written)
        });
        let (back, written) = written.await.map_err(|error| failed(error.to_string()))?;
        download = back;
        if let Err(error) = written {
            let why = match error.kind() {
                io::ErrorKind::StorageFull => "no room on the disk above `limits.disk_reserve`".to_owned(),
                io::ErrorKind::InvalidInput => "more bytes came than were announced".to_owned(),
                _ => format!("it can't be written: {error}"),
            };
            return discard(download, failed(why)).await;
        }
    }
    if download.is_whole() {
        Ok(download)
    } else {
        discard(download, failed("the file was cut short".to_owned())).await
    }
}

async fn discard(download: Download, why: ApiError) -> Result<Download, ApiError> {
    if let Ok(Err(error)) = tasks::blocking(move || download.discard()).await {
        tracing::warn!(%error, "what was imported in part can't be removed");
    }
    Err(why)
}

/// Into the folder; or why not, in words.
fn enter(
    repository: &Arc<Repository>,
    query: &ImportQuery,
    name: &FileName,
    download: Download,
) -> Result<Result<ImportReply, String>, RepositoryError> {
    let io = |doing| RepositoryError::io(doing, name.clone());
    let computed = download.digests().and_then(|digests| Some((digests, digests.sha1?)));
    let Some((digests, sha1)) = computed else {
        download.discard().map_err(io("discarding"))?;
        return Ok(Err("the file was cut short".to_owned()));
    };
    let held = repository.state().index.read()?.holding(&query.folder, name)?;
    let reply = ImportReply {
        folder: query.folder.clone(),
        name: name.to_string(),
        size: digests.size,
        root: digests.root,
        sha1,
        sha256: digests.sha256,
        was_here: held.as_ref().is_some_and(|held| held.root == digests.root),
    };
    let other = held.is_some() && !reply.was_here;
    let why = match name.promised_sha1() {
        Some(promised) if promised != sha1 => {
            Some(format!("the name promises SHA-1 {promised}, and the file has {sha1}: choose another with --name"))
        }
        _ if other => Some(format!(
            "{name} is here with other content: choose another name with --name, or remove that one first"
        )),
        _ => None,
    };
    if reply.was_here || why.is_some() {
        download.discard().map_err(io("discarding"))?;
        return Ok(why.map_or(Ok(reply), Err));
    }
    let staged = download.finish(query.modified, &repository.state().outboards).map_err(io("finishing"))?;
    let file = FileRecord { root: digests.root, size: digests.size, modified: query.modified };
    repository.enter(&query.folder, name, &staged, file)?;
    Ok(Ok(reply))
}
