//! One host's question, from its query to its reply.

use super::{
    World,
    world::{Indexed, View, Wanted},
};
use crate::{
    domain::{
        name::{FileName, FolderName},
        nearest::{Holds, Host, MAX_HOST_ADDRESSES, NearestQuery, NearestReply, PassedOverReply, PlaceReply},
    },
    policy::nearest::{Nearest, Place, Question, Served},
    repository::RepositoryError,
};
use std::net::IpAddr;

/// The folder of updates.
const USUAL_FOLDER: &str = "waptwua";

/// A question that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::daemon) enum QueryError {
    /// No file can have the name.
    #[error("no file can have that name")]
    File,
    /// No folder can have the name.
    #[error("no folder can have that name")]
    Folder,
    /// Texts that are no addresses, or too many.
    #[error("ip takes at most 16 addresses, with commas between them")]
    Addresses,
    /// Names that can't be.
    #[error("host, domain and site have 1 to 255 bytes without control characters")]
    Host,
}

/// Who asks, and for what.
pub(in crate::daemon) fn read_query(
    query: NearestQuery,
    seen_as: IpAddr,
) -> Result<(Host, Option<Wanted>), QueryError> {
    let NearestQuery { file, folder, ip, host, domain, site } = query;
    let wanted = match file {
        None => None,
        Some(file) => {
            let folder = folder.as_deref().unwrap_or(USUAL_FOLDER);
            let folder = FolderName::new(folder).map_err(|_| QueryError::Folder)?;
            Some(Wanted::new(folder, FileName::new(&file).map_err(|_| QueryError::File)?))
        }
    };
    let addresses = ip.as_deref().unwrap_or_default().split(',').filter(|text| !text.trim().is_empty());
    let addresses = addresses.take(MAX_HOST_ADDRESSES + 1).map(|text| text.trim().parse::<IpAddr>());
    let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(|_| QueryError::Addresses)?;
    if addresses.len() > MAX_HOST_ADDRESSES {
        return Err(QueryError::Addresses);
    }
    let seen = Host::seen_as(seen_as);
    let host = Host { addresses, name: host, domain, site, ..seen };
    Ok((host.checked().map_err(|_| QueryError::Host)?, wanted))
}

impl World {
    /// Where `host` pulls from. Reads rows.
    pub(in crate::daemon) fn nearest(
        &self,
        host: &Host,
        wanted: Option<&Wanted>,
    ) -> Result<NearestReply, RepositoryError> {
        let view = self.view()?;
        let indexed = self.indexed(&view, wanted)?;
        let is_unknown = indexed.is_some_and(|indexed| !indexed.is_named && !indexed.is_here);
        Ok(self.decide(&view, host, wanted.zip(indexed), |nearest| NearestReply {
            is_unknown,
            ..reply(&view, wanted, nearest)
        }))
    }

    /// The decision in a view, handed to `take`.
    pub(in crate::daemon) fn nearest_in<R>(
        &self,
        view: &View,
        host: &Host,
        wanted: Option<&Wanted>,
        take: impl FnOnce(&Nearest<'_>) -> R,
    ) -> Result<R, RepositoryError> {
        let indexed = self.indexed(view, wanted)?;
        Ok(self.decide(view, host, wanted.zip(indexed), take))
    }

    fn indexed(&self, view: &View, wanted: Option<&Wanted>) -> Result<Option<Indexed>, RepositoryError> {
        wanted.map(|wanted| self.file(wanted, view.seq())).transpose()
    }

    fn decide<R>(
        &self,
        view: &View,
        host: &Host,
        file: Option<(&Wanted, Indexed)>,
        take: impl FnOnce(&Nearest<'_>) -> R,
    ) -> R {
        let held = file.map(|(wanted, indexed)| view.holds(wanted, indexed));
        let holds = |at: usize| held.as_ref().map_or(Holds::Yes, |held| held(at));
        let further_rules = self.wapt.used();
        let question = Question {
            host,
            declared: view.declared(),
            further_rules: &further_rules,
            lineup: &view.lineup,
            asked: view.own,
            holds: &holds,
        };
        take(&question.answer())
    }
}

fn reply(view: &View, wanted: Option<&Wanted>, nearest: &Nearest<'_>) -> NearestReply {
    NearestReply {
        is_unknown: false,
        file: wanted.map(|wanted| format!("{}/{}", wanted.folder, wanted.name)),
        places: nearest.places.iter().filter_map(|place| place_reply(view, wanted, place)).collect(),
        passed_over: nearest
            .passed_over
            .iter()
            .map(|(who, fault)| PassedOverReply { who: who.clone(), why: fault.to_string() })
            .collect(),
    }
}

fn place_reply(view: &View, wanted: Option<&Wanted>, place: &Place<'_>) -> Option<PlaceReply> {
    let (standing, holds) = match place.served {
        Served::By(at, holds) => (Some(view.lineup.get(at)?), holds),
        Served::At(_) => (None, Holds::Unknown),
    };
    let url = match place.served {
        Served::By(..) => standing?.url.as_ref()?,
        Served::At(url) => url,
    };
    Some(PlaceReply {
        url: url.to_string(),
        file_url: wanted.map(|wanted| url.of_file(&wanted.folder, &wanted.name)),
        name: standing.map(|standing| standing.name.to_string()),
        site: standing.map(|standing| standing.site.to_string()),
        holds: match (wanted, holds) {
            (None, _) | (_, Holds::Unknown) => None,
            (Some(_), Holds::Yes) => Some(true),
            (Some(_), Holds::No) => Some(false),
        },
        reason: place.reason.to_string(),
        proxy: place.rule().and_then(|rule| rule.proxy.as_ref()).map(ToString::to_string),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(file: Option<&str>, ip: Option<&str>) -> NearestQuery {
        NearestQuery { file: file.map(str::to_owned), ip: ip.map(str::to_owned), ..NearestQuery::default() }
    }

    #[test]
    fn a_query_names_a_file_of_the_usual_folder_and_addresses() {
        let seen = "192.0.2.1".parse().unwrap();
        let (host, wanted) = read_query(query(Some("a.cab"), Some("10.0.0.7, 2001:db8::1")), seen).unwrap();
        assert_eq!((host.addresses.len(), host.seen_as), (2, seen));
        assert_eq!(
            wanted.map(|wanted| (wanted.folder.to_string(), wanted.name.to_string())),
            Some(("waptwua".to_owned(), "a.cab".to_owned()))
        );
        let (host, wanted) = read_query(NearestQuery::default(), "::ffff:10.0.0.7".parse().unwrap()).unwrap();
        assert_eq!((host.own_addresses(), wanted), (&["10.0.0.7".parse().unwrap()][..], None));
    }

    #[test]
    fn questions_that_make_no_sense_are_refused_for_their_reason() {
        let seen = "192.0.2.1".parse().unwrap();
        let refused = |query| read_query(query, seen).unwrap_err();
        assert_eq!(refused(query(Some("../a"), None)), QueryError::File);
        assert_eq!(refused(query(None, Some("10.0.0.300"))), QueryError::Addresses);
        assert_eq!(refused(query(None, Some(&"::1,".repeat(17)))), QueryError::Addresses);
        assert_eq!(refused(NearestQuery { host: Some("a\n".to_owned()), ..NearestQuery::default() }), QueryError::Host);
        let folder = NearestQuery { folder: Some("A B".to_owned()), ..query(Some("a"), None) };
        assert_eq!(refused(folder), QueryError::Folder);
    }
}
