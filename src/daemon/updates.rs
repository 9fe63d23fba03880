//! What the published edition tells of updates, over the API. Looks only.

use super::{
    api::{ApiError, ErrorCode, UpdateFile, UpdateStory, UpdatesQuery, UpdatesReply},
    node::Node,
    router::{Answer, Api, blocking},
};
use crate::{
    catalog::{CatalogError, Snapshot},
    domain::{
        edition::{Classification, EditionUpdate, Kb, ParseKbError, ParseSeverityError, Severity},
        guid::Guid,
        name::{FileName, FolderName},
        update::UpdateId,
    },
    repository::RepositoryError,
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use std::{ops::ControlFlow, sync::Arc};

/// Updates in one answer where nobody asked for another number.
const LIMIT: u32 = 100;
/// Most updates in one answer.
const MAX_LIMIT: u32 = 10_000;

/// What is looked for, understood.
#[derive(Debug, Default)]
struct Search {
    kbs: Vec<Kb>,
    guid: Option<Guid>,
    revision: Option<u32>,
    words: Vec<String>,
    product: Option<String>,
    classification: Option<Classification>,
    severity: Option<Severity>,
    superseded: Option<bool>,
    held: Option<bool>,
    after: Option<UpdateId>,
}

impl Search {
    fn of(query: &UpdatesQuery) -> Result<Self, String> {
        let mut search = Self {
            product: query.product.as_ref().map(|product| product.to_lowercase()),
            superseded: query.superseded,
            held: query.held,
            after: query.after,
            ..Self::default()
        };
        search.read_text(query.text.as_deref().unwrap_or_default().trim())?;
        if let Some(kb) = &query.kb {
            search.kbs.push(kb.parse().map_err(|error: ParseKbError| error.to_string())?);
        }
        if let Some(id) = &query.id {
            search.read_id(id.trim())?;
        }
        search.words.extend(words(query.title.as_deref().unwrap_or_default()));
        if let Some(wanted) = &query.classification {
            let known = Classification::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(wanted));
            search.classification = Some(known.ok_or_else(|| {
                let all: Vec<_> = Classification::ALL.iter().map(|known| known.as_str()).collect();
                format!("{wanted:?} is no classification: {}", all.join(", "))
            })?);
        }
        if let Some(severity) = &query.severity {
            search.severity = Some(severity.parse().map_err(|error: ParseSeverityError| error.to_string())?);
        }
        Ok(search)
    }

    /// An article, an UpdateID, or words of a title.
    fn read_text(&mut self, text: &str) -> Result<(), String> {
        let is_kb = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("kb"));
        let is_id = text.len() >= 36 && text.bytes().take(36).all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        match text.parse() {
            Ok(kb) if is_kb => self.kbs.push(kb),
            _ if is_id => self.read_id(text)?,
            _ => self.words.extend(words(text)),
        }
        Ok(())
    }

    fn read_id(&mut self, text: &str) -> Result<(), String> {
        let wrong = || format!("{text:?} is no UpdateID, and none with _ and a RevisionNumber");
        let id: Option<UpdateId> = text.parse().ok();
        let guid = id.map(|id| id.guid()).or_else(|| text.parse().ok()).ok_or_else(wrong)?;
        if self.guid.replace(guid).is_some_and(|before| before != guid) {
            return Err("two different UpdateIDs are asked for".to_owned());
        }
        self.revision = id.map(|id| id.revision()).or(self.revision);
        Ok(())
    }

    fn is_meant(&self, update: &EditionUpdate) -> bool {
        let title = |word: &String| update.titles.iter().any(|title| title.text.to_lowercase().contains(word));
        let product = |wanted: &String| {
            let names = update.products().filter_map(|product| product.name.as_ref());
            names.into_iter().any(|name| name.to_lowercase().contains(wanted))
        };
        self.kbs.iter().all(|kb| update.kbs.contains(kb))
            && self.guid.is_none_or(|guid| update.id.guid() == guid)
            && self.revision.is_none_or(|revision| update.id.revision() == revision)
            && self.words.iter().all(title)
            && self.product.as_ref().is_none_or(product)
            && self.classification.is_none_or(|wanted| update.classification() == Some(wanted))
            && self.severity.is_none_or(|wanted| update.severity == Some(wanted))
            && self.superseded.is_none_or(|wanted| update.superseded_by.is_empty() != wanted)
    }
}

pub(super) async fn search(
    State(api): State<Api>,
    query: Result<Query<UpdatesQuery>, QueryRejection>,
) -> Answer<UpdatesReply> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let search = Search::of(&query).map_err(|error| ApiError::new(ErrorCode::Invalid, error))?;
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT) as usize;
    let node = api.node.clone();
    let Json(found) = blocking(move || find(&node, &search, limit)).await?;
    found.map(Json).ok_or_else(none_yet)
}

fn none_yet() -> ApiError {
    ApiError::new(ErrorCode::Unknown, "no edition is known here yet: `wuasync refresh` on the main fetches one")
}

/// In lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn find(node: &Node, search: &Search, limit: usize) -> Result<Option<UpdatesReply>, RepositoryError> {
    let repository = &node.repository;
    if repository.edition()?.is_none() {
        return Ok(None);
    }
    let held = Holdings::new(node)?;
    let mut reply = UpdatesReply { updates: Vec::new(), more: false };
    let mut each = |update: EditionUpdate| {
        let is_held = |wanted| Ok::<_, CatalogError>(held.of_update(&update)? == Some(wanted));
        if !search.is_meant(&update) || !search.held.map_or(Ok(true), is_held)? {
            return Ok(ControlFlow::Continue(()));
        }
        if reply.updates.len() == limit {
            reply.more = true;
            return Ok(ControlFlow::Break(()));
        }
        reply.updates.push(update);
        Ok(ControlFlow::Continue(()))
    };
    match search.kbs.first() {
        Some(kb) => {
            for update in repository.updates_of_kb(*kb, search.after)? {
                if each(update)?.is_break() {
                    break;
                }
            }
        }
        None => repository.each_update(search.guid, search.after, each)?,
    }
    Ok(Some(reply))
}

/// What is here, as of one commit.
struct Holdings<'a> {
    node: &'a Node,
    index: Arc<Snapshot>,
    folders: Vec<FolderName>,
}

impl<'a> Holdings<'a> {
    fn new(node: &'a Node) -> Result<Self, CatalogError> {
        let folders = node.repository.folder_names().cloned().collect();
        Ok(Self { node, index: node.repository.state().index.read()?, folders })
    }

    fn of_name(&self, name: &FileName) -> Result<bool, CatalogError> {
        for folder in &self.folders {
            if self.index.holding(folder, name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether all files of an update that have an address are here; none where none has one.
    fn of_update(&self, update: &EditionUpdate) -> Result<Option<bool>, CatalogError> {
        let mut held = None;
        for file in self.node.repository.state().editions.files(&update.files)? {
            let Some(url) = &file.url else { continue };
            held = Some(true);
            if !self.of_name(url.file_name())? {
                return Ok(Some(false));
            }
        }
        Ok(held)
    }
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Answer<UpdateStory> {
    let id: UpdateId = id.parse().map_err(|_| {
        ApiError::new(ErrorCode::Invalid, "write the update as UpdateID_RevisionNumber; `updates search` finds it")
    })?;
    let node = api.node.clone();
    let Json(story) = blocking(move || tell(&node, id)).await?;
    story.map(Json).ok_or_else(|| {
        let text = format!(
            "the published edition does not know {id}: drivers, major upgrades, previews and most out-of-band fixes \
             are in none; bring those as a WAPT package, or with `wuasync files import`"
        );
        ApiError::new(ErrorCode::Unknown, text)
    })
}

fn tell(node: &Node, id: UpdateId) -> Result<Option<UpdateStory>, RepositoryError> {
    let repository = &node.repository;
    let Some(update) = repository.edition_update(id)? else { return Ok(None) };
    let held = Holdings::new(node)?;
    let files = update.files.iter().map(|sha1| {
        let Some(file) = repository.state().editions.file(sha1)? else {
            return Ok(UpdateFile { name: None, size: None, is_held: false, url: None });
        };
        let name = file.url.as_ref().map(|url| url.file_name().clone());
        let is_held = name.as_ref().map_or(Ok(false), |name| held.of_name(name))?;
        let (name, url) = (name.map(|name| name.to_string()), file.url.map(|url| url.to_string()));
        Ok(UpdateFile { name, size: file.size, is_held, url })
    });
    let files = files.collect::<Result<_, RepositoryError>>()?;
    Ok(Some(UpdateStory { update, files }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Search {
        Search::of(&UpdatesQuery { text: Some(text.to_owned()), ..UpdatesQuery::default() }).unwrap()
    }

    #[test]
    fn what_is_looked_for_is_an_article_an_id_or_words() {
        assert_eq!(search("kb5087058").kbs, [Kb(5_087_058)]);
        assert_eq!(search("5087058").words, ["5087058"]);
        let guid = "0FA1201D-4330-4fa8-8ae9-b877473b6441";
        for (text, revision) in [(guid.to_owned(), None), (format!("{guid}_204"), Some(204))] {
            let search = search(&text);
            assert_eq!((search.guid, search.revision, search.words.len()), (guid.parse().ok(), revision, 0));
        }
        assert_eq!(search(" Cumulative  update ").words, ["cumulative", "update"]);
    }

    #[test]
    fn all_that_is_asked_has_to_be_understood() {
        let query = |key: &str, value: &str| {
            let query = serde_json::from_value(serde_json::json!({ key: value })).unwrap();
            Search::of(&query)
        };
        assert_eq!(
            query("classification", "securityupdates").unwrap().classification,
            Some(Classification::SecurityUpdates)
        );
        assert_eq!(query("kb", "5087058").unwrap().kbs, [Kb(5_087_058)]);
        assert_eq!(query("title", "Server 2025").unwrap().words, ["server", "2025"]);
        for (key, value, words) in [
            ("classification", "security", "SecurityUpdates"),
            ("severity", "grave", "Critical"),
            ("kb", "KBx", "no KB number"),
            ("id", "0fa1201d", "no UpdateID"),
            ("text", "0fa1201d-4330-4fa8-8ae9-b877473b6441_x", "no UpdateID"),
        ] {
            let error = query(key, value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
