//! Answers hosts that look for the nearest repository.

use super::{World, answer::read_query};
use crate::{
    base::future::BoxFuture,
    domain::nearest::{NEAREST_PATH, NearestQuery, NearestReply},
    front::api::{ApiAnswer, ApiRequest, HostsApi},
};
use axum::extract::Query;
use http::{Method, StatusCode, Uri};
use std::sync::Arc;

/// The part of the hosts' API that tells where to pull from.
pub struct HostsNearest(
    /// What it tells of.
    pub Arc<World>,
);

impl HostsApi for HostsNearest {
    fn serves(&self, path: &str) -> bool {
        path == NEAREST_PATH
    }

    fn answer(&self, request: ApiRequest) -> BoxFuture<'_, ApiAnswer> {
        Box::pin(async move {
            if request.method != Method::GET && request.method != Method::HEAD {
                return ApiAnswer::not_allowed("GET, HEAD");
            }
            let Some(query) = query_of(request.query.as_deref()) else {
                return ApiAnswer::refused(StatusCode::BAD_REQUEST, "the query is malformed");
            };
            let (host, wanted) = match read_query(query, request.client) {
                Ok(read) => read,
                Err(error) => return ApiAnswer::refused(StatusCode::BAD_REQUEST, &error.to_string()),
            };
            let world = self.0.clone();
            let answered = tokio::task::spawn_blocking(move || world.nearest(&host, wanted.as_ref())).await;
            match answered {
                Ok(Ok(reply)) => for_hosts(reply),
                Ok(Err(error)) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the nearest repository can't be told");
                    ApiAnswer::refused(StatusCode::INTERNAL_SERVER_ERROR, "it can't be told")
                }
                Err(_) => ApiAnswer::refused(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            }
        })
    }
}

fn query_of(query: Option<&str>) -> Option<NearestQuery> {
    let uri: Uri = format!("/?{}", query.unwrap_or_default()).parse().ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(query)| query)
}

/// Hosts are not told how other sites are.
fn for_hosts(reply: NearestReply) -> ApiAnswer {
    let reply = NearestReply { passed_over: Vec::new(), ..reply };
    match serde_json::to_value(&reply) {
        Ok(value) => ApiAnswer::json(StatusCode::OK, &value),
        Err(_) => ApiAnswer::refused(StatusCode::INTERNAL_SERVER_ERROR, "it can't be told"),
    }
}
