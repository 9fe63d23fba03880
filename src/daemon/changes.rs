//! What the published edition tells otherwise than the one before, over the API. Looks only.

use super::{
    api::{ApiError, ChangesQuery, ChangesReply, ErrorCode},
    node::Node,
    router::{Answer, Api, blocking},
};
use crate::{
    domain::edition::{FileChange, UpdateChange},
    repository::RepositoryError,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use std::ops::ControlFlow;

/// Changes in one page. All of one update come together, which may be a few more.
const PAGE: usize = 2_000;

pub(super) async fn changes(
    State(api): State<Api>,
    query: Result<Query<ChangesQuery>, QueryRejection>,
) -> Answer<ChangesReply> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let Json(told) = blocking(move || page(&api.node, query)).await?;
    let nothing = "no edition before the published one was read here: there is nothing to compare; `wuasync cab diff FILE FILE` \
                   compares two cabinets";
    told.map(Json).ok_or_else(|| ApiError::new(ErrorCode::Unknown, nothing))
}

fn page(node: &Node, query: ChangesQuery) -> Result<Option<ChangesReply>, RepositoryError> {
    let repository = &node.repository;
    let (Some(new), Some(old)) = (repository.edition()?, repository.previous_edition()?) else { return Ok(None) };
    let mut reply = ChangesReply {
        old: old.into(),
        new: new.into(),
        updates: Vec::new(),
        files: Vec::new(),
        next_update: None,
        next_file: None,
    };
    if query.after_file.is_none() {
        repository.each_changed_update(query.after_update, &mut |change: UpdateChange| {
            let last = reply.updates.last().map(|last: &UpdateChange| last.id.guid());
            if reply.updates.len() >= PAGE && last != Some(change.id.guid()) {
                reply.next_update = last;
                return ControlFlow::Break(());
            }
            reply.updates.push(change);
            ControlFlow::Continue(())
        })?;
    }
    if reply.next_update.is_none() {
        let room = PAGE.saturating_sub(reply.updates.len()).max(1);
        repository.each_changed_file(query.after_file, &mut |change: FileChange| {
            if reply.files.len() >= room {
                reply.next_file = reply.files.last().map(|last| last.sha1);
                return ControlFlow::Break(());
            }
            reply.files.push(change);
            ControlFlow::Continue(())
        })?;
    }
    Ok(Some(reply))
}
