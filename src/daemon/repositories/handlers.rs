//! Repositories and rules over the API.

use super::{World, answer::read_query, world::View};
use crate::{
    daemon::{
        api::{
            ApiError, DistanceRequest, ErrorCode, MoveRequest, NearestQuery, NearestReply, RepositoryReport,
            RepositoryRuleQuery, RepositoryRuleReport, RepositoryRuleRequest, RepositoryRulesReport,
        },
        control::Peer,
        node::Node,
        router::{Answer, Api, audit, blocking},
    },
    domain::{
        member::{NodeName, Role},
        nearest::{Condition, Declared, MAX_DISTANCE, MAX_RULES, RepositoryUrl, Rule, SitePair, Target},
    },
    repository::RepositoryError,
};
use axum::{
    Extension, Json,
    extract::{
        ConnectInfo, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};
use std::net::{IpAddr, Ipv4Addr};

/// Between the sequences of two rules, so that one fits between them.
const STEP: u32 = 10;

type Caller = Option<Extension<ConnectInfo<Peer>>>;

pub(in crate::daemon) async fn list(State(api): State<Api>) -> Answer<Vec<RepositoryReport>> {
    blocking(move || reports(&api.node)).await
}

/// Every member, by name.
pub(in crate::daemon) fn reports(node: &Node) -> Result<Vec<RepositoryReport>, RepositoryError> {
    let view = node.world.view()?;
    let now = node.repository.clock().unix_seconds();
    let is_late = |name: &NodeName| node.world.is_late(name);
    Ok((0..view.lineup.len()).filter_map(|at| report(&view, at, now, is_late)).collect())
}

fn report(view: &View, at: usize, now: u64, is_late: impl Fn(&NodeName) -> bool) -> Option<RepositoryReport> {
    let standing = view.lineup.get(at)?;
    let arriving = view.known.get(at)?.as_ref().map_or(0, |known| known.arriving_bytes);
    Some(RepositoryReport {
        name: standing.name.to_string(),
        site: standing.site.to_string(),
        role: standing.role,
        is_here: at == view.own,
        url: standing.url.as_ref().map(ToString::to_string),
        silent_seconds: standing.silent_seconds,
        lag_files: standing.lag_files,
        lag_bytes: standing.lag_bytes,
        arriving_bytes_per_second: arriving,
        load_bytes_per_second: standing.load_bytes,
        round_trip_ms: standing.round_trip_ms,
        whole_at: forecast(standing.lag_bytes, arriving, now),
        is_late: is_late(&standing.name),
    })
}

/// When so many bytes will have arrived; `None` where none are lacking or none arrive.
fn forecast(lag_bytes: u64, arriving: u64, now: u64) -> Option<u64> {
    if lag_bytes == 0 {
        return None;
    }
    Some(now.saturating_add(lag_bytes.checked_div(arriving)?))
}

pub(in crate::daemon) async fn nearest(
    State(api): State<Api>,
    query: Result<Query<NearestQuery>, QueryRejection>,
) -> Answer<NearestReply> {
    let Query(query) = query.map_err(|error| invalid(error.body_text()))?;
    // An administrator asks for somebody else: where the question comes from says nothing.
    let first = query.ip.as_deref().and_then(|ip| ip.split(',').next()).and_then(|ip| ip.trim().parse().ok());
    let seen_as: IpAddr = first.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let (host, wanted) = read_query(query, seen_as).map_err(|error| invalid(error.to_string()))?;
    blocking(move || api.node.world.nearest(&host, wanted.as_ref())).await
}

pub(in crate::daemon) async fn rules(State(api): State<Api>) -> Answer<RepositoryRulesReport> {
    blocking(move || all_rules(&api.node.world)).await
}

fn all_rules(world: &World) -> Result<RepositoryRulesReport, RepositoryError> {
    let declared = world.repository.declared()?;
    let members: Vec<_> = world.repository.members()?.into_iter().map(|member| member.name).collect();
    let unused = |rule: &Rule| match &rule.target {
        Target::Member(name) if !members.contains(name) => Some(format!("{name} is no member")),
        _ => None,
    };
    let distances = declared.distances.pairs().map(|(pair, distance)| distance_of(&pair, Some(distance))).collect();
    let rules = declared.rules.iter().map(|rule| RepositoryRuleReport { unused: unused(rule), ..rule_report(rule) });
    Ok(RepositoryRulesReport { rules: rules.collect(), distances, ..world.wapt.report() })
}

fn distance_of(pair: &SitePair, distance: Option<u32>) -> DistanceRequest {
    let (one, other) = pair.sites();
    DistanceRequest { one: one.clone(), other: other.clone(), distance }
}

/// A rule as people know it.
pub(in crate::daemon) fn rule_report(rule: &Rule) -> RepositoryRuleReport {
    RepositoryRuleReport {
        name: rule.name.to_string(),
        sequence: rule.sequence,
        condition: rule.condition.kind().to_owned(),
        value: rule.condition.value(),
        negation: rule.negation,
        no_fallback: rule.no_fallback,
        to: rule.target.to_string(),
        proxy: rule.proxy.as_ref().map(ToString::to_string),
        unused: None,
    }
}

pub(in crate::daemon) async fn put_rule(
    State(api): State<Api>,
    peer: Caller,
    request: Result<Json<RepositoryRuleRequest>, JsonRejection>,
) -> Answer<RepositoryRuleReport> {
    let Json(request) = request.map_err(|error| invalid(error.body_text()))?;
    only_main(&api)?;
    let declared = declared(&api).await?;
    let rule = rule_of(request, &declared)?;
    let (node, put) = (api.node.clone(), rule.clone());
    let put = blocking(move || {
        node.repository.put_repository_rules(&[put])?;
        all_rules(&node.world)
    });
    let Json(all) = put.await?;
    audit(&api, peer, format!("put the repository rule {}", rule.name)).await?;
    let added = all.rules.into_iter().find(|added| added.name == rule.name.as_str());
    Ok(Json(added.unwrap_or_else(|| rule_report(&rule))))
}

fn rule_of(request: RepositoryRuleRequest, declared: &Declared) -> Result<Rule, ApiError> {
    let others = || declared.rules.iter().filter(|rule| rule.name != request.name);
    if others().count() >= MAX_RULES {
        return Err(ApiError::new(ErrorCode::Refused, format!("there are {MAX_RULES} rules, and no room for more")));
    }
    let there = declared.rules.iter().find(|rule| rule.name == request.name).map(|rule| rule.sequence);
    let behind = others().map(|rule| rule.sequence).max().unwrap_or(0).saturating_add(STEP);
    let url = |text: &str| RepositoryUrl::new(text).map_err(|error| invalid(error.to_string()));
    Ok(Rule {
        sequence: request.sequence.or(there).unwrap_or(behind),
        condition: Condition::read(&request.condition, &request.value).map_err(|error| invalid(error.to_string()))?,
        negation: request.negation,
        no_fallback: request.no_fallback,
        target: match request.to.contains("://") {
            true => Target::Url(url(&request.to)?),
            false => Target::Member(NodeName::new(&request.to).map_err(|error| invalid(error.to_string()))?),
        },
        proxy: request.proxy.as_deref().map(url).transpose()?,
        name: request.name,
    })
}

pub(in crate::daemon) async fn remove_rule(
    State(api): State<Api>,
    peer: Caller,
    query: Result<Query<RepositoryRuleQuery>, QueryRejection>,
) -> Answer<RepositoryRuleReport> {
    let Query(RepositoryRuleQuery { name }) = query.map_err(|error| invalid(error.body_text()))?;
    only_main(&api)?;
    let declared = declared(&api).await?;
    let rule = declared.rules.iter().find(|rule| rule.name == name).ok_or_else(|| no_rule(&name))?;
    let (node, removed) = (api.node.clone(), name.clone());
    blocking(move || node.repository.remove_repository_rule(&removed)).await.map(drop)?;
    audit(&api, peer, format!("removed the repository rule {name}")).await?;
    Ok(Json(rule_report(rule)))
}

pub(in crate::daemon) async fn move_rule(
    State(api): State<Api>,
    peer: Caller,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Answer<RepositoryRulesReport> {
    let Json(MoveRequest { name, place }) = request.map_err(|error| invalid(error.body_text()))?;
    only_main(&api)?;
    let declared = declared(&api).await?;
    let rules = moved(declared.rules, &name, place).ok_or_else(|| no_rule(&name))?;
    let node = api.node.clone();
    blocking(move || node.repository.put_repository_rules(&rules)).await.map(drop)?;
    audit(&api, peer, format!("moved the repository rule {name} to place {place}")).await?;
    self::rules(State(api)).await
}

/// The rules with one of them at `place`, the first being 1, and numbers anew; `None` where there is none of the name.
fn moved(mut rules: Vec<Rule>, name: &crate::domain::nearest::RuleName, place: u32) -> Option<Vec<Rule>> {
    let from = rules.iter().position(|rule| rule.name == *name)?;
    let rule = rules.remove(from);
    let to = usize::try_from(place).unwrap_or(usize::MAX).saturating_sub(1).min(rules.len());
    rules.insert(to, rule);
    for (rule, sequence) in rules.iter_mut().zip((STEP..).step_by(STEP as usize)) {
        rule.sequence = sequence;
    }
    Some(rules)
}

pub(in crate::daemon) async fn put_distance(
    State(api): State<Api>,
    peer: Caller,
    request: Result<Json<DistanceRequest>, JsonRejection>,
) -> Answer<DistanceRequest> {
    let Json(DistanceRequest { one, other, distance }) = request.map_err(|error| invalid(error.body_text()))?;
    only_main(&api)?;
    if one == other || distance.is_some_and(|distance| distance > MAX_DISTANCE) {
        return Err(invalid(format!("a distance is between two sites, and {MAX_DISTANCE} at most")));
    }
    let pair = SitePair::new(one, other);
    let (node, put) = (api.node.clone(), pair.clone());
    blocking(move || node.repository.put_distance(put, distance)).await.map(drop)?;
    let said = distance.map_or_else(|| "nothing".to_owned(), |distance| distance.to_string());
    let (one, other) = pair.sites();
    audit(&api, peer, format!("declared the distance of {one} and {other}: {said}")).await?;
    Ok(Json(distance_of(&pair, distance)))
}

async fn declared(api: &Api) -> Result<Declared, ApiError> {
    let node = api.node.clone();
    blocking(move || node.repository.declared()).await.map(|Json(declared)| declared)
}

fn only_main(api: &Api) -> Result<(), ApiError> {
    let is_main = api.node.repository.role() == Role::Main;
    let text = "only the main repository declares rules and distances; run this there";
    if is_main { Ok(()) } else { Err(ApiError::new(ErrorCode::Refused, text)) }
}

fn no_rule(name: &crate::domain::nearest::RuleName) -> ApiError {
    ApiError::new(ErrorCode::Unknown, format!("no rule is named {name}; see `wuasync repositories rules list`"))
}

fn invalid(text: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> RepositoryRuleRequest {
        RepositoryRuleRequest {
            name: name.parse().unwrap(),
            sequence: None,
            condition: "agent ip".to_owned(),
            value: "10.1.0.0/16".to_owned(),
            negation: false,
            no_fallback: false,
            to: "lyon".to_owned(),
            proxy: None,
        }
    }

    fn rules(names: &[&str]) -> Declared {
        let mut declared = Declared::default();
        for name in names {
            let rule = rule_of(request(name), &declared).unwrap();
            declared.rules.push(rule);
        }
        declared
    }

    #[test]
    fn a_new_rule_comes_last_and_a_changed_one_keeps_its_place() {
        let declared = rules(&["a", "b"]);
        assert_eq!(declared.rules.iter().map(|rule| rule.sequence).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(rule_of(request("a"), &declared).unwrap().sequence, 10);
        assert_eq!(
            rule_of(RepositoryRuleRequest { sequence: Some(7), ..request("a") }, &declared).unwrap().sequence,
            7
        );
        let to = |to: &str| rule_of(RepositoryRuleRequest { to: to.to_owned(), ..request("c") }, &declared);
        assert_eq!(to("http://x/wapt").unwrap().target.to_string(), "http://x");
        assert!(to("ftp://x").is_err() && to("a b").is_err());
    }

    #[test]
    fn a_moved_rule_stands_at_its_place_and_all_have_numbers_with_room_between_them() {
        let names = |place, name: &str| {
            let moved = moved(rules(&["a", "b", "c"]).rules, &name.parse().unwrap(), place)?;
            assert_eq!(moved.iter().map(|rule| rule.sequence).collect::<Vec<_>>(), [10, 20, 30]);
            Some(moved.iter().map(|rule| rule.name.to_string()).collect::<String>())
        };
        assert_eq!(names(1, "c").as_deref(), Some("cab"));
        assert_eq!(names(2, "a").as_deref(), Some("bac"));
        assert_eq!(names(99, "a").as_deref(), Some("bca"));
        assert_eq!(names(1, "x"), None);
    }

    #[test]
    fn a_forecast_needs_something_lacking_and_something_arriving() {
        assert_eq!(forecast(0, 5, 100), None);
        assert_eq!(forecast(50, 0, 100), None);
        assert_eq!(forecast(50, 5, 100), Some(110));
    }
}
