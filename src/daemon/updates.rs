//! What the published edition tells of updates, over the API. Looks only.

use super::{
    api::{ApiError, ErrorCode, UpdateFile, UpdateStory, UpdatesQuery, UpdatesReply},
    node::Node,
    router::{Answer, Api, blocking},
};
use crate::{
    domain::{
        edition::{Classification, EditionUpdate, Kb, Severity},
        name::FolderName,
        update::UpdateId,
    },
    repository::RepositoryError,
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};

/// Updates in one answer where nobody asked for another number.
const LIMIT: u32 = 100;
/// Most updates in one answer.
const MAX_LIMIT: u32 = 10_000;

/// What is looked for, understood.
#[derive(Debug, Default)]
struct Search {
    kb: Option<Kb>,
    id: Option<String>,
    words: Vec<String>,
    product: Option<String>,
    classification: Option<Classification>,
    severity: Option<Severity>,
    superseded: Option<bool>,
}

impl Search {
    fn of(query: &UpdatesQuery) -> Result<Self, String> {
        let text = query.text.as_deref().unwrap_or_default().trim();
        let kb = text.get(..2).filter(|start| start.eq_ignore_ascii_case("kb")).and_then(|_| text.parse().ok());
        let is_id = text.len() >= 36 && text.bytes().take(36).all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let words = || text.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let classification = query.classification.as_deref().map(|wanted| {
            let known = Classification::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(wanted));
            known.ok_or_else(|| {
                let all: Vec<_> = Classification::ALL.iter().map(|known| known.as_str()).collect();
                format!("{wanted:?} is no classification: {}", all.join(", "))
            })
        });
        let severity = query.severity.as_deref().map(|severity| severity.parse::<Severity>());
        Ok(Self {
            kb,
            id: is_id.then(|| text.to_lowercase()),
            words: if kb.is_some() || is_id { Vec::new() } else { words() },
            product: query.product.as_ref().map(|product| product.to_lowercase()),
            classification: classification.transpose()?,
            severity: severity.transpose().map_err(|error| error.to_string())?,
            superseded: query.superseded,
        })
    }

    fn is_meant(&self, update: &EditionUpdate) -> bool {
        let title = |word: &String| update.titles.iter().any(|title| title.text.to_lowercase().contains(word));
        let product = |wanted: &String| {
            let names = update.products().filter_map(|product| product.name.as_ref());
            names.into_iter().any(|name| name.to_lowercase().contains(wanted))
        };
        self.kb.is_none_or(|kb| update.kbs.contains(&kb))
            && self.id.as_ref().is_none_or(|id| update.id.to_string().starts_with(id))
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

fn find(node: &Node, search: &Search, limit: usize) -> Result<Option<UpdatesReply>, RepositoryError> {
    let repository = &node.repository;
    if repository.edition()?.is_none() {
        return Ok(None);
    }
    let mut updates = match search.kb {
        Some(kb) => repository.updates_of_kb(kb)?.into_iter().filter(|update| search.is_meant(update)).collect(),
        None => repository.updates_that(|update| search.is_meant(update), limit + 1)?,
    };
    let more = updates.len() > limit;
    updates.truncate(limit);
    Ok(Some(UpdatesReply { updates, more }))
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
    let index = repository.state().index.read()?;
    let folders: Vec<FolderName> = repository.folder_names().cloned().collect();
    let files = update.files.iter().map(|sha1| {
        let Some(file) = repository.state().editions.file(sha1)? else {
            return Ok(UpdateFile { name: None, size: None, is_held: false, url: None });
        };
        let name = file.url.as_ref().map(|url| url.file_name().clone());
        let mut is_held = false;
        for folder in &folders {
            is_held |= match &name {
                Some(name) => index.holding(folder, name)?.is_some(),
                None => false,
            };
        }
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
        assert_eq!(search("kb5087058").kb, Some(Kb(5_087_058)));
        assert_eq!(search("5087058").words, ["5087058"]);
        let id = "0FA1201D-4330-4fa8-8ae9-b877473b6441";
        assert_eq!((search(id).id, search(id).words.len()), (Some(id.to_lowercase()), 0));
        assert_eq!(search(" Cumulative  update ").words, ["cumulative", "update"]);
        let wrong = UpdatesQuery { classification: Some("security".to_owned()), ..UpdatesQuery::default() };
        assert!(Search::of(&wrong).unwrap_err().contains("SecurityUpdates"));
        let right = UpdatesQuery { classification: Some("securityupdates".to_owned()), ..UpdatesQuery::default() };
        assert_eq!(Search::of(&right).unwrap().classification, Some(Classification::SecurityUpdates));
    }
}
