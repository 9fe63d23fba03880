//! In which order a host tries repositories.
//!
//! 1. Rules, in their order, as WAPT does: the first that matches names the host's own repository; those that match
//!    after it are tried where it fails. After a rule that lets its hosts go nowhere else nothing follows.
//! 2. Where no rule matches, the repository that was asked: the host was configured to ask it.
//! 3. Then the others: those that have the file, by declared distance from the host's site, load and round trip;
//!    those that fetch it while they serve; the main before any whose distance nobody declared.
//!
//! Who is silent, without an address, too far behind, or unable to get a file that it lacks is passed over, and why
//! is told. What many answers share stands in the [`Lineup`]; an answer looks at the rules, at those whose distance
//! counts, and at as many of the others as it takes to fill [`MAX_PLACES`].

pub use super::lineup::{Fault, Lineup, NearestLimits};
use crate::domain::{
    member::{Role, SiteName},
    nearest::{Declared, Holds, Host, RepositoryUrl, Rule, Target},
};
use std::fmt;

/// Most places in one answer: a host that fails at so many has another trouble.
pub const MAX_PLACES: usize = 8;

/// Why a repository stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'a> {
    /// A rule sends the host there.
    Rule(&'a Rule),
    /// No rule matches, and the host asked there.
    Asked,
    /// It stands at the host's own site.
    SameSite,
    /// It has a declared distance from the host's site.
    Distance(u32),
    /// It is the main, whose distance nobody declared.
    Main,
    /// Nobody declared its distance.
    Elsewhere,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => {
                let not = if rule.negation { "not " } else { "" };
                write!(f, "rule {}: {not}{} {}", rule.name, rule.condition.kind(), rule.condition.value())
            }
            Self::Asked => f.write_str("no rule matches, and the host asked here"),
            Self::SameSite => f.write_str("at the host's site"),
            Self::Distance(far) => write!(f, "at a distance of {far}"),
            Self::Main => f.write_str("the main"),
            Self::Elsewhere => f.write_str("at a site whose distance nobody declared"),
        }
    }
}

/// Who serves a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served<'a> {
    /// A repository of the line, by its number in what was given.
    By(usize, Holds),
    /// Whoever answers at an address that a rule names.
    At(&'a RepositoryUrl),
}

/// One place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    /// Who serves it.
    pub served: Served<'a>,
    /// Why it is here.
    pub reason: Reason<'a>,
}

impl Place<'_> {
    /// The rule that sends the host there.
    pub fn rule(&self) -> Option<&Rule> {
        match &self.reason {
            Reason::Rule(rule) => Some(rule),
            _ => None,
        }
    }
}

/// Where a host pulls a file from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nearest<'a> {
    /// Best first; at most [`MAX_PLACES`].
    pub places: Vec<Place<'a>>,
    /// Whom rules would have sent it to, or whom it asked, and why it does not go there.
    pub passed_over: Vec<(String, Fault)>,
}

/// All that is known when a host asks.
pub struct Question<'a> {
    /// Who asks.
    pub host: &'a Host,
    /// What was declared.
    pub declared: &'a Declared,
    /// Rules of another origin, looked at after those that were declared.
    pub further_rules: &'a [Rule],
    /// Every repository.
    pub lineup: &'a Lineup,
    /// Which of them was asked.
    pub asked: usize,
    /// Whether a repository has the file; always [`Holds::Yes`] where none is asked for.
    pub holds: &'a dyn Fn(usize) -> Holds,
}

impl<'a> Question<'a> {
    /// The answer.
    pub fn answer(&self) -> Nearest<'a> {
        let mut nearest = Nearest::default();
        let (home, is_closed) = self.follow_rules(&mut nearest);
        if is_closed {
            return nearest;
        }
        let home = match home {
            Some(home) => home,
            None => {
                self.take_asked(&mut nearest);
                self.lineup.get(self.asked).map(|asked| &asked.site)
            }
        };
        self.add_others(&mut nearest, home);
        nearest
    }

    /// Places for the rules that match; the site of the first of them (`Some(None)` where it is unknown), and
    /// whether the host goes nowhere else.
    fn follow_rules(&self, nearest: &mut Nearest<'a>) -> (Option<Option<&'a SiteName>>, bool) {
        let mut home = None;
        let rules = self.declared.rules.iter().chain(self.further_rules);
        for rule in rules.filter(|rule| rule.matches(self.host)) {
            let target = self.lineup.target(&rule.target);
            let standing = target.and_then(|at| self.lineup.get(at));
            home.get_or_insert(standing.map(|standing| &standing.site));
            let served = match (&rule.target, target) {
                (_, Some(at)) => self.usable(at).map(|holds| Served::By(at, holds)),
                (Target::Url(url), None) => Ok(Served::At(url)),
                (Target::Member(_), None) => Err(Fault::NoMember),
            };
            match served {
                Ok(served) => nearest.add(Place { served, reason: Reason::Rule(rule) }),
                Err(fault) => nearest.pass_over(rule.target.to_string(), fault),
            }
            if rule.no_fallback {
                return (home, true);
            }
        }
        (home, false)
    }

    fn take_asked(&self, nearest: &mut Nearest<'a>) {
        let Some(asked) = self.lineup.get(self.asked) else { return };
        match self.usable(self.asked) {
            Ok(holds) => nearest.add(Place { served: Served::By(self.asked, holds), reason: Reason::Asked }),
            Err(fault) => nearest.pass_over(asked.name.to_string(), fault),
        }
    }

    /// Those whose distance counts, then the others: of either first those that have the file.
    fn add_others(&self, nearest: &mut Nearest<'a>, home: Option<&'a SiteName>) {
        let mut is_seen = vec![false; self.lineup.len()];
        let mut is_new = |at: usize| is_seen.get_mut(at).is_some_and(|seen| !std::mem::replace(seen, true));
        for place in &nearest.places {
            if let Served::By(at, _) = place.served {
                is_new(at);
            }
        }
        let near: Vec<_> = self.near(home).into_iter().filter(|at| is_new(*at)).collect();
        self.add_first(nearest, home, near.into_iter());
        self.add_first(nearest, home, self.lineup.by_ease().iter().copied().filter(|at| is_new(*at)));
    }

    /// Those of the host's own site, those at a declared distance from it, and the main, in this order.
    fn near(&self, home: Option<&SiteName>) -> Vec<usize> {
        let own = home.map(|home| (home, 0));
        let declared = home.into_iter().flat_map(|home| self.declared.distances.from(home));
        let at_sites = own
            .into_iter()
            .chain(declared)
            .flat_map(|(site, far)| self.lineup.at_site(site).iter().map(move |at| (far, self.lineup.ease(*at), *at)));
        let mains = self.lineup.mains().iter().map(|at| (u32::MAX, self.lineup.ease(*at), *at));
        let mut near: Vec<_> = at_sites.chain(mains).collect();
        near.sort_unstable();
        near.into_iter().map(|(.., at)| at).collect()
    }

    /// Fills what room is left: those that have the file come before those that have to fetch it.
    fn add_first(&self, nearest: &mut Nearest<'a>, home: Option<&SiteName>, from: impl Iterator<Item = usize>) {
        let room = MAX_PLACES.saturating_sub(nearest.places.len());
        let (mut having, mut fetching) = (Vec::with_capacity(room), Vec::with_capacity(room));
        for at in from {
            if having.len() == room {
                break;
            }
            match self.usable(at) {
                Ok(Holds::Yes) => having.push((at, Holds::Yes)),
                Ok(holds) if fetching.len() < room => fetching.push((at, holds)),
                _ => {}
            }
        }
        for (at, holds) in having.into_iter().chain(fetching) {
            nearest.add(Place { served: Served::By(at, holds), reason: self.reason(at, home) });
        }
    }

    fn reason(&self, at: usize, home: Option<&SiteName>) -> Reason<'a> {
        let Some(standing) = self.lineup.get(at) else { return Reason::Elsewhere };
        match home.and_then(|home| self.declared.distances.between(home, &standing.site)) {
            _ if home == Some(&standing.site) => Reason::SameSite,
            Some(far) => Reason::Distance(far),
            None if standing.role == Role::Main => Reason::Main,
            None => Reason::Elsewhere,
        }
    }

    /// What the repository has of the file, or why no host is sent there.
    fn usable(&self, at: usize) -> Result<Holds, Fault> {
        if let Some(fault) = self.lineup.fault(at) {
            return Err(fault);
        }
        let holds = (self.holds)(at);
        let can_fetch = self.lineup.get(at).is_some_and(|standing| standing.can_fetch);
        if holds != Holds::Yes && !can_fetch { Err(Fault::CanNotFetch) } else { Ok(holds) }
    }
}

impl<'a> Nearest<'a> {
    /// Nobody is named twice.
    fn add(&mut self, place: Place<'a>) {
        let is_same = |there: &Place<'_>| match (there.served, place.served) {
            (Served::By(one, _), Served::By(other, _)) => one == other,
            (Served::At(one), Served::At(other)) => one == other,
            _ => false,
        };
        if self.places.len() < MAX_PLACES && !self.places.iter().any(is_same) {
            self.places.push(place);
        }
    }

    fn pass_over(&mut self, who: String, fault: Fault) {
        if self.passed_over.len() < MAX_PLACES {
            self.passed_over.push((who, fault));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        member::NodeName,
        nearest::{Condition, SitePair, Standing},
    };
    use proptest::prelude::*;

    const LIMITS: NearestLimits = NearestLimits { silent_seconds: 60, lag_files: Some(100), lag_bytes: None };

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    fn standing(name: &str, role: Role) -> Standing {
        Standing {
            name: NodeName::new(name).unwrap(),
            site: site(name),
            role,
            url: Some(RepositoryUrl::new(&format!("http://{name}.example")).unwrap()),
            silent_seconds: Some(0),
            lag_files: 0,
            lag_bytes: 0,
            load_bytes: 0,
            round_trip_ms: None,
            can_fetch: true,
        }
    }

    /// The main and five sites; lyon is 1 from paris and 5 from berlin.
    fn line() -> Vec<Standing> {
        let mut line = vec![standing("main", Role::Main)];
        line.extend(["lyon", "paris", "berlin", "oslo", "rome"].map(|name| standing(name, Role::Secondary)));
        line
    }

    fn rule(name: &str, network: &str, target: &str) -> Rule {
        Rule {
            name: name.parse().unwrap(),
            sequence: 1,
            condition: Condition::AgentAddress(network.parse().unwrap()),
            negation: false,
            no_fallback: false,
            target: match RepositoryUrl::new(target) {
                Ok(url) => Target::Url(url),
                Err(_) => Target::Member(NodeName::new(target).unwrap()),
            },
            proxy: None,
        }
    }

    fn declared(rules: Vec<Rule>) -> Declared {
        let far = |to: &str, far| (SitePair::new(site("lyon"), site(to)), far);
        Declared { rules, distances: [far("paris", 1), far("berlin", 5)].into_iter().collect(), ..Declared::default() }
    }

    fn names(line: &[Standing], declared: &Declared, from: &str, holds: &dyn Fn(usize) -> Holds) -> Vec<String> {
        let host = Host::seen_as(from.parse().unwrap());
        let lineup = Lineup::new(line.to_vec(), LIMITS);
        let question = Question { host: &host, declared, further_rules: &[], lineup: &lineup, asked: 0, holds };
        let name = |place: &Place<'_>| match place.served {
            Served::By(at, _) => line[at].name.to_string(),
            Served::At(url) => url.to_string(),
        };
        question.answer().places.iter().map(name).collect()
    }

    const ALL: fn(usize) -> Holds = |_| Holds::Yes;

    #[test]
    fn a_rule_names_the_hosts_own_site_and_distances_from_there_order_the_others() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        let expected = ["lyon", "paris", "berlin", "main", "oslo", "rome"];
        assert_eq!(names(&line(), &declared, "10.1.2.3", &ALL), expected);
    }

    #[test]
    fn a_host_that_no_rule_knows_stays_with_whom_it_asked() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        assert_eq!(names(&line(), &declared, "10.2.2.3", &ALL)[0], "main");
    }

    #[test]
    fn a_site_that_is_silent_behind_or_without_an_address_is_passed_over_for_its_reason() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        let host = Host::seen_as("10.1.2.3".parse().unwrap());
        type Hurt = fn(&mut Standing);
        let hurts: [(Hurt, Fault); 5] = [
            (|lyon| lyon.silent_seconds = Some(61), Fault::Silent(61)),
            (|lyon| lyon.silent_seconds = None, Fault::NeverHeard),
            (|lyon| lyon.lag_files = 101, Fault::Behind(101, 0)),
            (|lyon| lyon.url = None, Fault::NoUrl),
            (|lyon| lyon.can_fetch = false, Fault::CanNotFetch),
        ];
        for (hurt, fault) in hurts {
            let mut line = line();
            hurt(&mut line[1]);
            let holds = |at| if at == 1 { Holds::No } else { Holds::Yes };
            let lineup = Lineup::new(line, LIMITS);
            let question = Question {
                host: &host,
                declared: &declared,
                further_rules: &[],
                lineup: &lineup,
                asked: 0,
                holds: &holds,
            };
            let nearest = question.answer();
            assert_eq!(nearest.passed_over, [("lyon".to_owned(), fault)]);
            assert_eq!(nearest.places[0].served, Served::By(2, Holds::Yes), "paris is next to lyon: {fault}");
        }
    }

    #[test]
    fn a_site_of_its_own_that_lacks_one_file_fetches_it_for_all_its_hosts() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        let holds = |at| if at == 0 || at == 3 { Holds::Yes } else { Holds::No };
        let found = names(&line(), &declared, "10.1.2.3", &holds);
        assert_eq!(found, ["lyon", "berlin", "main", "paris", "oslo", "rome"]);
    }

    #[test]
    fn after_a_rule_without_fallback_nothing_follows() {
        let mut only = rule("a", "10.1.0.0/16", "lyon");
        only.no_fallback = true;
        let declared = declared(vec![only, rule("b", "10.0.0.0/8", "paris")]);
        assert_eq!(names(&line(), &declared, "10.1.2.3", &ALL), ["lyon"]);
        let mut sick = line();
        sick[1].silent_seconds = None;
        assert!(names(&sick, &declared, "10.1.2.3", &ALL).is_empty(), "as with WAPT: nowhere else");
    }

    #[test]
    fn rules_that_match_later_are_tried_next_and_nobody_is_named_twice() {
        let rules = vec![
            rule("a", "10.1.0.0/16", "http://elsewhere.example"),
            rule("b", "10.0.0.0/8", "http://rome.example"),
            rule("c", "10.0.0.0/8", "rome"),
            rule("d", "10.0.0.0/8", "gone"),
        ];
        let found = names(&line(), &declared(rules), "10.1.2.3", &ALL);
        assert_eq!(found[..3], ["http://elsewhere.example", "rome", "main"]);
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn load_and_round_trip_decide_among_equals() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        let mut line = line();
        (line[4].load_bytes, line[5].load_bytes) = (3 << 20, 2 << 20);
        (line[4].round_trip_ms, line[5].round_trip_ms) = (Some(9), Some(20));
        assert_eq!(names(&line, &declared, "10.1.2.3", &ALL)[4..], ["oslo", "rome"], "loads of one doubling");
        line[4].load_bytes = 30 << 20;
        assert_eq!(names(&line, &declared, "10.1.2.3", &ALL)[4..], ["rome", "oslo"]);
    }

    #[test]
    fn the_first_places_are_the_same_however_many_members_there_are() {
        let declared = declared(vec![rule("lyon", "10.1.0.0/16", "lyon")]);
        let mut many = line();
        let few = names(&many, &declared, "10.1.2.3", &ALL);
        many.extend((0..1_000).map(|n| standing(&format!("site{n}"), Role::Secondary)));
        let found = names(&many, &declared, "10.1.2.3", &ALL);
        assert_eq!((found.len(), &found[..6]), (MAX_PLACES, &few[..]));
    }

    /// The order as it is meant, found the long way: everybody is looked at and sorted.
    fn everybody_sorted(line: &[Standing], declared: &Declared, home: usize, holds: &[Holds]) -> Vec<usize> {
        let far = |at: usize| declared.distances.between(&line[home].site, &line[at].site);
        let rank = |at: usize| {
            let is_main = line[at].role == Role::Main;
            let far = far(at).or(is_main.then_some(u32::MAX));
            let load = u64::BITS - (line[at].load_bytes >> 20).leading_zeros();
            (far.is_none(), holds[at] != Holds::Yes, far, load, line[at].round_trip_ms.unwrap_or(u32::MAX), at)
        };
        let is_usable = |at: &usize| {
            let is_heard = line[*at].silent_seconds.is_some_and(|silent| silent <= 60);
            is_heard && (holds[*at] == Holds::Yes || line[*at].can_fetch)
        };
        let mut others: Vec<_> = (0..line.len()).filter(|at| *at != home).filter(is_usable).collect();
        others.sort_by_key(|at| rank(*at));
        let first = Some(home).filter(is_usable);
        first.into_iter().chain(others).take(MAX_PLACES).collect()
    }

    fn any_standing() -> impl Strategy<Value = (Standing, Holds, Option<u32>)> {
        let holds = prop_oneof![Just(Holds::Yes), Just(Holds::Unknown), Just(Holds::No)];
        let silent = proptest::option::weighted(0.9, 0..70u64);
        let (load, round_trip) = (0..9u64, proptest::option::of(0..3u32));
        (0..6u8, 0..8u8, holds, any::<bool>(), silent, load, round_trip, proptest::option::of(0..4u32)).prop_map(
            |(place, role, holds, can_fetch, silent_seconds, load, round_trip_ms, far)| {
                let role = if role == 0 { Role::Main } else { Role::Secondary };
                let load_bytes = load << 20;
                let site = site(&format!("site{place}"));
                let standing =
                    Standing { site, can_fetch, silent_seconds, load_bytes, round_trip_ms, ..standing("x", role) };
                (standing, holds, far)
            },
        )
    }

    proptest! {
        #[test]
        fn an_answer_has_the_places_that_sorting_everybody_gives(
            several in proptest::collection::vec(any_standing(), 1..40),
        ) {
            let (mut line, mut holds, mut declared) = (Vec::new(), Vec::new(), Declared::default());
            for (n, (standing, held, far)) in several.into_iter().enumerate() {
                let pair = SitePair::new(site("site0"), standing.site.clone());
                declared.distances.extend(far.map(|far| (pair, far)));
                line.push(Standing { name: NodeName::new(&format!("n{n}")).unwrap(), ..standing });
                holds.push(held);
            }
            line[0].site = site("site0");
            let (host, lineup) = (Host::seen_as("192.0.2.1".parse().unwrap()), Lineup::new(line.clone(), LIMITS));
            let held = |at: usize| holds[at];
            let (declared, holds_of) = (&declared, &held);
            let question =
                Question { host: &host, declared, further_rules: &[], lineup: &lineup, asked: 0, holds: holds_of };
            let by = |place: &Place<'_>| match place.served {
                Served::By(at, _) => Some(at),
                Served::At(_) => None,
            };
            let places: Vec<_> = question.answer().places.iter().filter_map(by).collect();
            prop_assert_eq!(places, everybody_sorted(&line, declared, 0, &holds));
        }
    }
}
