//! Editions of Microsoft's offline index: whole ones, odd ones, and bad ones with the line that says why.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

#[path = "editions/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "shared with benches; each uses a part")]
mod editions;

use editions::{
    LANGUAGES, Numbering, Parts, Plan, World,
    cabs::{Packing, lzx::Lzx},
    date, pack, title,
};
use std::collections::BTreeSet;
use wuasync::{
    base::chain::chain,
    domain::{
        digest::{Sha1, Sha256},
        edition::{Category, CategoryKind, EditionFile, EditionUpdate, Kb, Language, Title, UpdateKind},
        origin::OriginUrl,
        update::UpdateId,
    },
    wsusscn::{Counts, Edition, EditionError, Judgement, Limits, Oddities, Options, read},
};

fn options(workers: usize) -> Options {
    Options { workers, ..Options::default() }
}

/// Not compressed, which takes most of a test's time.
fn small(seed: u64) -> Plan {
    Plan { inner: Packing::Stored, ..Plan::small(seed) }
}

fn read_parts(parts: &Parts) -> Result<Edition, EditionError> {
    read(&parts.to_bytes()[..], &options(0))
}

/// The line that an operator sees.
fn refused(parts: &Parts) -> String {
    chain(&read_parts(parts).unwrap_err())
}

fn id(world: &World, place: usize) -> UpdateId {
    format!("{}_{}", world.updates[place].guid, world.updates[place].number).parse().unwrap()
}

/// What an edition has to tell of a world.
fn told_of(world: &World, languages: &[&str]) -> Vec<EditionUpdate> {
    let mut told: Vec<_> = (0..world.updates.len()).map(|place| update_told(world, place, languages)).collect();
    told.sort_by_key(|update| update.id);
    told
}

fn update_told(world: &World, place: usize, languages: &[&str]) -> EditionUpdate {
    let made = &world.updates[place];
    let sorted = |places: &[usize]| places.iter().map(|place| id(world, *place)).collect::<BTreeSet<_>>();
    let within =
        |place: usize| (0..world.updates.len()).filter(move |child| world.updates[*child].bundled_by.contains(&place));
    let (mut files, mut left) = (BTreeSet::new(), vec![place]);
    while let Some(next) = left.pop() {
        files.extend(world.updates[next].files.iter().map(|file| Sha1(file.sha1)));
        left.extend(within(next));
    }
    let languages = languages.iter().filter(|language| made.is_translated || **language == "en");
    let category = |(kind, place): &(&str, usize)| Category {
        kind: CategoryKind::of_type(kind).unwrap(),
        id: id(world, *place).guid(),
        name: Some(world.updates[*place].title.as_str().into()),
    };
    EditionUpdate {
        id: id(world, place),
        created: date(place).parse::<jiff::Timestamp>().unwrap().as_second(),
        kind: Some(match made.kind {
            "Category" => UpdateKind::Category,
            "Detectoid" => UpdateKind::Detectoid,
            _ => UpdateKind::Software,
        }),
        is_bundle: made.is_bundle,
        is_leaf: made.kind == "Software",
        titles: languages
            .map(|language| Title { language: Language::new(language).unwrap(), text: title(made, language) })
            .collect(),
        severity: made.severity.map(|severity| severity.parse().unwrap()),
        kbs: made.kbs.iter().map(|kb| Kb(*kb)).collect(),
        bulletins: made
            .severity
            .filter(|severity| *severity == "Critical")
            .map(|_| format!("MS26-{:03}", made.kbs[0] % 1_000))
            .into_iter()
            .collect(),
        cves: made.cves.clone(),
        categories: made.categories.iter().map(category).collect::<BTreeSet<_>>().into_iter().collect(),
        superseded_by: sorted(&made.superseded_by).into_iter().collect(),
        bundled_by: sorted(&made.bundled_by).into_iter().collect(),
        bundles: sorted(&within(place).collect::<Vec<_>>()).into_iter().collect(),
        files: files.into_iter().collect(),
    }
}

fn files_of(world: &World) -> Vec<EditionFile> {
    let mut files: Vec<_> = world
        .updates
        .iter()
        .flat_map(|made| &made.files)
        .map(|file| EditionFile {
            sha1: Sha1(file.sha1),
            size: Some(file.size),
            sha256: file.sha256.map(Sha256),
            url: Some(OriginUrl::new(&file.url).unwrap()),
        })
        .collect();
    files.sort_by_key(|file| file.sha1);
    files.dedup();
    files
}

fn assert_tells(edition: &Edition, world: &World) {
    for (told, made) in edition.updates().zip(told_of(world, &["en"])) {
        assert_eq!(told, made);
    }
    assert_eq!(edition.update_count(), world.updates.len());
    assert_eq!(edition.files().collect::<Vec<_>>(), files_of(world));
    assert_eq!(edition.oddities(), &Oddities::default());
}

#[test]
fn an_edition_tells_what_it_was_made_from_however_it_is_packed_and_read() {
    let plan = Plan::small(1);
    let world = plan.world();
    for inner in [Packing::Lzx(Lzx::new(17)), Packing::Stored, Packing::MsZip] {
        let parts = Parts { inner, ..plan.parts() };
        let edition = read_parts(&parts).unwrap();
        assert_tells(&edition, &world);
        assert_eq!(edition.id().package_id.to_string(), plan.id.0);
        assert_eq!(edition.id().created, plan.id.1.parse::<jiff::Timestamp>().unwrap().as_second());
    }
    let packed_twice = pack(&Packing::Lzx(Lzx::new(21)), &plan.parts().members());
    assert_tells(&read(&packed_twice[..], &options(2)).unwrap(), &world);
    assert_tells(&read(&plan.to_bytes(2)[..], &options(1)).unwrap(), &world);
}

#[test]
fn members_may_stand_in_any_order() {
    let plan = Plan { shards: 7, ..small(2) };
    let mut members = plan.parts().members();
    for _ in 0..members.len() {
        members.rotate_left(1);
        for workers in [0, 3] {
            let edition = read(&pack(&Packing::Stored, &members)[..], &options(workers)).unwrap();
            assert_tells(&edition, &plan.world());
        }
    }
    members.reverse();
    assert_tells(&read(&pack(&Packing::Stored, &members)[..], &options(2)).unwrap(), &plan.world());
}

#[test]
fn an_edition_with_other_numbers_tells_the_same_updates_and_files() {
    let plan = small(3);
    let renumbered = Plan {
        numbering: Numbering::Backwards,
        id: ("22222222-2222-4333-8444-555555555555", "2026-08-11T13:54:06Z"),
        shards: 5,
        ..plan.clone()
    };
    let editions = [plan, renumbered].map(|plan| read_parts(&plan.parts()).unwrap());
    let [first, second] = &editions;
    assert!(first.id() != second.id());
    assert!(first.updates().eq(second.updates()));
    assert!(first.files().eq(second.files()));
    let one = first.updates().nth(70).unwrap();
    assert_eq!(second.update(one.id), Some(one));
    let one = first.files().nth(7).unwrap();
    assert_eq!(second.file(one.sha1), Some(one));
    assert_eq!((second.update(UpdateId::new([0; 16], 1)), second.file(Sha1([0; 20]))), (None, None));
}

#[test]
fn titles_come_in_the_wanted_languages_alone_and_in_their_order() {
    let plan = small(4);
    for languages in [vec!["fr", "en"], vec!["zh-tw"], vec![], LANGUAGES.to_vec()] {
        let wanted = languages.iter().map(|language| Language::new(language).unwrap()).collect();
        let edition = read(&plan.parts().to_bytes()[..], &Options { languages: wanted, ..options(0) }).unwrap();
        let titles: Vec<_> = edition.updates().map(|update| update.titles).collect();
        let made: Vec<_> = told_of(&plan.world(), &languages).into_iter().map(|update| update.titles).collect();
        assert_eq!(titles, made);
    }
}

#[test]
fn what_nobody_wants_is_not_read() {
    let plan = small(5);
    let mut parts = plan.parts();
    for (name, content) in parts.shards.iter_mut().flat_map(|(_, members)| members) {
        match name.as_bytes()[0] {
            b'c' => content.extend(b"<not closed"),
            b'l' if !name.starts_with("l\\en\\") => *content = b"<not closed".to_vec(),
            _ => {}
        }
    }
    parts.shards[0]
        .1
        .extend(["s\\1", "new\\1", "c\\x", "c\\1\\2", "l\\en\\+1"].map(|name| (name.to_owned(), vec![0xff])));
    assert_tells(&read_parts(&parts).unwrap(), &plan.world());
}

/// Position of the member in its shard.
fn member<'a>(parts: &'a mut Parts, kind: &str, revision: u64) -> &'a mut Vec<u8> {
    let name = format!("{kind}\\{revision}");
    let members = parts.shards.iter_mut().flat_map(|(_, members)| members);
    members.filter(|(known, _)| *known == name).map(|(_, content)| content).next().unwrap()
}

#[test]
fn a_shard_that_is_not_there_is_named_and_its_updates_are_told_without_details() {
    let plan = small(6);
    let (world, mut parts) = (plan.world(), plan.parts());
    parts.shards.remove(1);
    parts.shards.push(("package99.cab".to_owned(), vec![("s\\1".to_owned(), vec![])]));
    let mut members = parts.members();
    members.push(("readme.txt".to_owned(), vec![]));
    let [edition, reversed] = [false, true].map(|is_reversed| {
        if is_reversed {
            members.reverse();
        }
        read(&pack(&Packing::Stored, &members)[..], &options(2)).unwrap()
    });
    assert_eq!(edition.oddities(), reversed.oddities());
    let places = world.places_in(1);
    let oddities = edition.oddities();
    assert_eq!(oddities.missing_shards, [("package3.cab".to_owned(), places.len() as u32)]);
    let told = format!("package3.cab, which tells of {} updates, is not there", places.len());
    assert_eq!(edition.judge(None).refused, Some(told));
    assert_eq!(oddities.unlisted_cabinets, ["package99.cab"]);
    assert_eq!(oddities.updates_without_details as usize, places.len());
    for (told, made) in edition.updates().zip(told_of(&world, &["en"])) {
        let is_bare = places.iter().any(|place| id(&world, *place) == made.id);
        let expected = EditionUpdate {
            kind: None,
            titles: vec![],
            severity: None,
            kbs: vec![],
            bulletins: vec![],
            cves: vec![],
            ..made.clone()
        };
        assert_eq!(told, if is_bare { expected } else { made });
    }
}

#[test]
fn digests_without_an_address_and_addresses_without_a_file_are_counted() {
    let plan = small(7);
    let (world, mut parts) = (plan.world(), plan.parts());
    let location = parts.package.find("<FileLocation ").unwrap();
    let end = location + parts.package[location..].find("/>").unwrap() + 2;
    let taken = parts.package[location..end].to_owned();
    // The first one's address goes; an unknown digest and one with an impossible address come.
    let unknown = taken.replace(&taken[18..46], "BwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    let licence = taken.replace(&taken[18..46], "BwcHBwcHBwcHBwcHBwcHBwcHBwc=").replace("http", "ftp");
    parts.package.replace_range(location..end, &(unknown + &licence + &taken.replace("http://", "http://user@")));
    let last = parts.package.rfind("<FileLocation ").unwrap();
    let again = parts.package[last..].split_inclusive("/>").next().unwrap().replace("download.", "other.");
    parts.package = parts.package.replace("</FileLocations>", &format!("{again}</FileLocations>"));
    let edition = read_parts(&parts).unwrap();
    let oddities = edition.oddities();
    let counts = (oddities.files_without_url, oddities.refused_urls, oddities.repeated_urls);
    assert_eq!(counts, (1, 1, 1));
    // Place 7 has a licence of this digest.
    assert_eq!(oddities.urls_without_file, 0);
    let bare: Vec<_> = edition.files().filter(|file| file.url.is_none()).collect();
    let made = files_of(&world).into_iter().find(|file| taken.contains(file.url.as_ref().unwrap().as_str())).unwrap();
    assert_eq!(bare, [EditionFile { url: None, ..made }]);
    parts.package = parts.package.replace("BwcHBwcHBwcHBwcHBwcHBwcHBwc=\" Url", "CAgICAgICAgICAgICAgICAgICAg=\" Url");
    assert_eq!(read_parts(&parts).unwrap().oddities().urls_without_file, 2);
}

#[test]
fn what_shards_say_amiss_is_left_out_and_counted() {
    let plan = small(8);
    let (world, mut parts) = (plan.world(), plan.parts());
    let revision = |place: usize| world.updates[place].revision;
    // The second group's bundle and its first file; the third group's file goes from the shard.
    let (bundle, leaf, other) = (27, 28, 31);
    let text = String::from_utf8(member(&mut parts, "x", revision(bundle)).clone()).unwrap();
    let odd = text.replace("\"Low\"", "\"Unspecified\"").replace("<KBArticleID>4000001<", "<KBArticleID>none<");
    *member(&mut parts, "x", revision(bundle)) = odd.into_bytes();
    let text = String::from_utf8(member(&mut parts, "x", revision(other)).clone()).unwrap();
    *member(&mut parts, "x", revision(other)) = text.replace("SHA1", "MD5").into_bytes();
    let text = String::from_utf8(member(&mut parts, "x", revision(leaf)).clone()).unwrap();
    let size = world.updates[leaf].files[0].size.to_string();
    let twice = text.replace("<Files>", "<Files><!-- -->") + &text[text.find("<Files>").unwrap()..].replace(&size, "5");
    *member(&mut parts, "x", revision(leaf)) = twice.into_bytes();
    parts.shards[0].1.push(("x\\99999999".to_owned(), b"<ExtendedProperties/>".to_vec()));
    parts.package = parts.package.replacen("<SupersededBy>", "<SupersededBy><Revision Id=\"4\"/>", 1);
    let edition = read_parts(&parts).unwrap();
    let oddities = Oddities {
        unreadable_values: 3,
        contradictory_files: 1,
        details_without_update: 1,
        unknown_numbers: 1,
        files_without_size: 1,
        ..Oddities::default()
    };
    assert_eq!(edition.oddities(), &oddities);
    let told = edition.update(id(&world, bundle)).unwrap();
    assert_eq!((told.severity, told.kbs), (None, vec![Kb(4_500_001)]));
    assert_eq!(edition.file(Sha1(world.updates[leaf].files[0].sha1)).unwrap().size, size.parse().ok());
}

#[test]
fn an_update_that_stands_there_again_counts_once_and_both_numbers_lead_to_it() {
    let plan = small(9);
    let (world, mut parts) = (plan.world(), plan.parts());
    // A leaf that stands there a second time, under a number of its own to which another bundle points.
    let start = parts.package.find(&world.updates[25].guid).unwrap();
    let start = parts.package[..start].rfind("<Update ").unwrap();
    let end = start + parts.package[start..].find("</Update>").unwrap() + 9;
    let old = format!("RevisionId=\"{}\"", world.updates[25].revision);
    let again = parts.package[start..end].replace(&old, "RevisionId=\"99999999\"");
    parts.package.insert_str(end, &again);
    let edition = read_parts(&parts).unwrap();
    assert_eq!(edition.oddities(), &Oddities { repeated_updates: 1, ..Oddities::default() });
    assert!(edition.updates().eq(told_of(&world, &["en"])));
    // The same number for two updates is no repetition.
    let mut parts = plan.parts();
    parts.package = parts.package.replacen("RevisionId=\"101\"", "RevisionId=\"100\"", 1);
    assert_eq!(refused(&parts), "in package.cab, package.xml: RevisionId 100 belongs to two updates");
}

#[test]
fn bundles_in_each_other_have_the_files_of_both() {
    let plan = small(10);
    let (world, mut parts) = (plan.world(), plan.parts());
    // Bundle 9 is in bundle 8; bundle 8 gets into bundle 9.
    let [eight, nine] = [24 + 3 * 8, 24 + 3 * 9];
    let start = parts.package.find(&world.updates[eight].guid).unwrap();
    let at = start + parts.package[start..].find("</Categories>").unwrap() + 13;
    parts
        .package
        .insert_str(at, &format!("<BundledBy><Revision Id=\"{}\"/></BundledBy>", world.updates[nine].revision));
    let edition = read_parts(&parts).unwrap();
    let [eight, nine] = [eight, nine].map(|place| edition.update(id(&world, place)).unwrap());
    assert_eq!(eight.files, nine.files);
    assert!(eight.bundles.contains(&nine.id) && nine.bundles.contains(&eight.id) && eight.files.len() > 3);
}

#[test]
fn every_bad_edition_says_in_one_line_what_is_wrong_and_where() {
    let plan = small(11);
    let whole = plan.parts();
    type Damage = fn(&mut Parts);
    let cases: [(Damage, &str); 12] = [
        (|parts| parts.index.clear(), "in index.xml, at byte 0: the element INDEX was expected here, not \"\""),
        (
            |parts| parts.index = parts.index.replace("RANGESTART=\"0\"", "RANGESTART=\"zero\""),
            "in index.xml, at byte 100: \"zero\" is no RANGESTART of CAB",
        ),
        (
            |parts| parts.index = parts.index.replace("RANGESTART=\"0\"", "RANGESTART=\"101\""),
            "in package.cab, package.xml: RevisionId 100 is below the range of every shard",
        ),
        (
            |parts| parts.package = parts.package.replacen(" RevisionNumber=\"100\"", "", 1),
            "in package.cab, package.xml, at byte 339: Update has no RevisionNumber",
        ),
        (
            |parts| parts.package.truncate(5_000),
            "in package.cab, package.xml, at byte 4960: the XML can't be read: syntax error: attribute value not closed",
        ),
        (
            |parts| parts.package = parts.package.replacen("<OfflineSyncPackage", "<!DOCTYPE x><OfflineSyncPackage", 1),
            "in package.cab, package.xml, at byte 38: a document type is refused",
        ),
        (
            |parts| {
                let updates = parts.package.find("<Updates>").unwrap() + 9..parts.package.find("</Updates>").unwrap();
                parts.package.replace_range(updates, "");
            },
            "in package.cab, package.xml: there are no updates",
        ),
        (
            |parts| *member(parts, "x", 130) = b"<Files/>".to_vec(),
            "in package2.cab, x\\130, at byte 8: x has no ExtendedProperties",
        ),
        (
            |parts| *member(parts, "l\\en", 130) = b"<LocalizedProperties><Title>&nbsp;".to_vec(),
            "in package2.cab, l\\en\\130, at byte 28: the entity &nbsp; is not known",
        ),
        (
            |parts| {
                let other = member(parts, "c", 131).clone();
                *member(parts, "c", 130) = other;
            },
            "in package2.cab, c\\130: RevisionId 130 is ",
        ),
        (
            |parts| parts.shards[2].1.iter_mut().for_each(|(name, _)| name.insert(0, 'y')),
            "in package4.cab: nothing is known here of the 54 updates that should be in it",
        ),
        (
            |parts| {
                let again = parts.shards[1].1[0].clone();
                parts.shards[1].1.push(again);
            },
            "in package3.cab, c\\153: this member stands there twice",
        ),
    ];
    let mut wrong = Vec::new();
    for (damage, line) in cases {
        let mut parts = whole.clone();
        damage(&mut parts);
        let said = refused(&parts);
        wrong.extend((!said.starts_with(line)).then(|| format!("{said}\n  and not\n{line}")));
        assert_eq!(said, chain(&read(&parts.to_bytes()[..], &options(2)).unwrap_err()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_edition_without_its_parts_or_with_a_broken_cabinet_is_refused_by_name() {
    let whole = small(12).parts().members();
    let refused = |members: &[editions::Member], workers| {
        chain(&read(&pack(&Packing::Stored, members)[..], &options(workers)).unwrap_err())
    };
    assert_eq!(refused(&whole[1..], 0), "the edition as a whole: there is no index.xml");
    let without: Vec<_> = whole.iter().filter(|(name, _)| name != "package.cab").cloned().collect();
    assert_eq!(refused(&without, 2), "the edition as a whole: there is no package.xml");
    let mut twice = whole.clone();
    twice.push(whole[0].clone());
    assert_eq!(refused(&twice, 0), "the edition as a whole: index.xml stands there twice");
    for workers in [0, 2] {
        let mut broken = whole.clone();
        let middle = broken[3].1.len() / 2;
        broken[3].1[middle] ^= 1;
        let said = refused(&broken, workers);
        assert!(said.starts_with("in package3.cab") && said.contains("the block's checksum is"), "{said}");
        broken[2].1.truncate(100);
        let said = refused(&broken, workers);
        assert!(said.starts_with("in package2.cab: the cabinet can't be read: at byte"), "{said}");
    }
    let cut = pack(&Packing::Stored, &whole);
    let said = chain(&read(&cut[..cut.len() - 100], &options(2)).unwrap_err());
    assert!(said.ends_with("the file ends before the cabinet does"), "{said}");
    assert_eq!(
        chain(&read(&b"<html>"[..], &options(2)).unwrap_err()),
        "the edition as a whole: the cabinet can't be read: at byte 0: this is no cabinet"
    );
}

#[test]
fn far_fewer_updates_than_the_last_edition_had_are_refused() {
    let edition = read_parts(&small(13).parts()).unwrap();
    let files = edition.file_count() as u64;
    let beside = |updates| edition.judge(Some(Counts { updates, files }));
    assert_eq!(beside(160), Judgement::default());
    assert_eq!(beside(320).odd, ["there are 160 updates; the last edition had 320"]);
    let far_fewer = "there are 160 updates, far fewer than the 321 of the last edition";
    assert_eq!(beside(321).refused.as_deref(), Some(far_fewer));
}

#[test]
fn each_limit_refuses_what_is_beyond_it() {
    let bytes = small(14).parts().to_bytes();
    let most = Limits { max_updates: 160, max_shards: 3, ..Limits::default() };
    let with = |limits| read(&bytes[..], &Options { limits, ..options(2) });
    assert!(with(most.clone()).is_ok());
    for (limits, what) in [
        (Limits { max_updates: 159, ..most.clone() }, "updates are more than the limit of 159"),
        (Limits { max_files: 50, ..most.clone() }, "addresses are more than the limit of 50"),
        (Limits { max_references: 100, ..most.clone() }, "references are more than the limit of 100"),
        (Limits { max_text_bytes: 1_000, ..most.clone() }, "bytes of addresses are more than the limit of 1000"),
        (Limits { max_shards: 2, ..most.clone() }, "shards are more than the limit of 2"),
        (Limits { max_shard_bytes: 1_000, ..most.clone() }, "bytes of a shard are more than the limit of 1000"),
        (
            Limits { max_unpacked_bytes: 32_768, ..most.clone() },
            "unpacked bytes of shards are more than the limit of 32768",
        ),
        (
            Limits { max_package_bytes: 1_000, ..most.clone() },
            "unpacked bytes of a folder are more than the limit of 1000",
        ),
    ] {
        let said = chain(&with(limits).unwrap_err());
        assert!(said.ends_with(what), "{said}\nand not\n{what}");
    }
}

#[test]
fn damage_anywhere_is_refused_or_changes_nothing() {
    let plan = Plan { updates: 40, shards: 2, core_bytes: 10, ..small(15) };
    let bytes = plan.parts().to_bytes();
    let told: Vec<_> = read(&bytes[..], &options(0)).unwrap().updates().collect();
    for at in (0..bytes.len()).step_by(bytes.len() / 500) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(edition) = read(&damaged[..], &options(at % 3)) {
            // No checksum covers the outer cabinet's tables: a shard can have another name.
            let is_told = edition.oddities().missing_shards.len() == 1;
            assert!(is_told || edition.updates().eq(told.iter().cloned()), "byte {at}");
        }
    }
}
