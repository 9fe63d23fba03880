//! The XML of an edition, as Microsoft writes it: on one line, attributes in varying order, fragments in shards.

use super::{LANGUAGES, Made, Member, World, shard_name, world::Random};
use data_encoding::BASE64;
use std::{collections::BTreeSet, fmt::Write as _};

pub(super) fn index(world: &World) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"utf-8\"?><INDEX VERSION=\"1\"><CABLIST XOR=\"0\"><CAB NAME=\"package.cab\" />".to_owned();
    for shard in 0..world.plan.shards {
        let name = shard_name(shard);
        match shard {
            0 => write!(out, "<CAB NAME=\"{name}\" RANGESTART=\"0\" FILESDIR=\"1\" />").unwrap(),
            _ => {
                let start = world.updates[world.places_in(shard)[0]].revision;
                write!(out, "<CAB NAME=\"{name}\" RANGESTART=\"{start}\" />").unwrap();
            }
        }
    }
    out + "</CABLIST></INDEX>"
}

pub(super) fn package(world: &World) -> String {
    let (id, date) = world.plan.id;
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><OfflineSyncPackage MinimumClientVersion=\"5.8.0.2678\" PackageId=\"{id}\" \
         PackageVersion=\"1.1\" ProtocolVersion=\"1.0\" CreationDate=\"{date}\" SourceId=\"802cb907-a558-4033-9844-bbf65cd3481e\" \
         xmlns=\"http://schemas.microsoft.com/msus/2004/02/OfflineSync\"><Updates>"
    );
    for (place, made) in world.updates.iter().enumerate() {
        update(&mut out, world, place, made);
    }
    out += "</Updates><FileLocations>";
    let mut told = BTreeSet::new();
    for file in world.updates.iter().flat_map(|made| &made.files) {
        if told.insert(file.sha1) {
            let id = BASE64.encode(&file.sha1);
            write!(out, "<FileLocation Id=\"{id}\" Url=\"{}\" />", file.url).unwrap();
        }
    }
    out + "</FileLocations></OfflineSyncPackage>"
}

fn update(out: &mut String, world: &World, place: usize, made: &Made) {
    let Made { guid, number, revision, .. } = made;
    let ids = match place % 2 {
        0 => format!("UpdateId=\"{guid}\" RevisionNumber=\"{number}\" RevisionId=\"{revision}\""),
        _ => format!("RevisionId=\"{revision}\" UpdateId=\"{guid}\" RevisionNumber=\"{number}\""),
    };
    write!(out, "<Update CreationDate=\"{}\" DefaultLanguage=\"en\" {ids}", date(place)).unwrap();
    for (is, name) in [(made.kind == "Software", "IsLeaf"), (made.is_bundle, "IsBundle"), (true, "IsSoftware")] {
        write!(out, "{}", if is { format!(" {name}=\"true\"") } else { String::new() }).unwrap();
    }
    *out += ">";
    list(out, "Categories", &made.categories, |(kind, place)| {
        format!("<Category Type=\"{kind}\" Id=\"{}\" />", world.updates[*place].guid)
    });
    *out += "<Prerequisites>";
    for n in 0..3 {
        write!(out, "<UpdateId Id=\"{}\" />", world.updates[17 + (place + n) % 7].guid).unwrap();
    }
    let [a, b] = [18, 19].map(|place| &world.updates[place].guid);
    write!(out, "<Or><UpdateId Id=\"{a}\" /><UpdateId Id=\"{b}\" /></Or></Prerequisites>").unwrap();
    let revisions = |place: &usize| format!("<Revision Id=\"{}\" />", world.updates[*place].revision);
    list(out, "SupersededBy", &made.superseded_by, revisions);
    list(out, "BundledBy", &made.bundled_by, revisions);
    list(out, "PayloadFiles", &made.files, |file| format!("<File Id=\"{}\" />", BASE64.encode(&file.sha1)));
    if place % 50 == 7 {
        // Licences are files of no update's payload.
        write!(out, "<EulaFiles><File Id=\"{}\" /></EulaFiles>", BASE64.encode(&[place as u8; 20])).unwrap();
    }
    *out += "<Languages><Language Name=\"en\" /></Languages></Update>";
}

/// `CreationDate` of the update at this place.
pub(super) fn date(place: usize) -> String {
    format!("20{:02}-{:02}-{:02}T17:35:{:02}Z", 8 + place % 18, 1 + place % 12, 1 + place % 28, place % 60)
}

fn list<T>(out: &mut String, name: &str, all: &[T], one: impl Fn(&T) -> String) {
    if !all.is_empty() {
        write!(out, "<{name}>{}</{name}>", all.iter().map(one).collect::<String>()).unwrap();
    }
}

/// The members of a shard, by name: `c` first, so that everything else is behind most of the bytes.
pub(super) fn shard(world: &World, shard: usize) -> Vec<Member> {
    let (mut cores, mut rest) = (Vec::new(), Vec::new());
    for place in world.places_in(shard) {
        let made = &world.updates[place];
        let revision = made.revision;
        cores.push((format!("c\\{revision}"), core(world, place, made)));
        let languages = LANGUAGES.into_iter().filter(|language| made.is_translated || *language == "en");
        rest.extend(languages.map(|language| (format!("l\\{language}\\{revision}"), localized(made, language))));
        rest.push((format!("x\\{revision}"), extended(made)));
        if place % 50 == 7 {
            rest.push((format!("e\\{revision}"), b"no XML & nobody's business".to_vec()));
        }
    }
    rest.sort();
    cores.append(&mut rest);
    cores
}

fn core(world: &World, place: usize, made: &Made) -> Vec<u8> {
    let mut random = Random::new(world.plan.seed ^ 0xc0, place as u64);
    let mean = world.plan.core_bytes;
    let bytes = mean / 2 + (random.next() as usize % mean.max(1));
    let mut out = format!(
        "<UpdateIdentity UpdateID=\"{}\" RevisionNumber=\"{}\" /><Properties UpdateType=\"{}\" ExplicitlyDeployable=\"true\" />\
         <Relationships><Prerequisites /></Relationships><ApplicabilityRules>",
        made.guid, made.number, made.kind
    );
    while out.len() < bytes {
        let n = random.next();
        let (component, build, revision) = (n % 400, 14_393 + n % 400 * 20, n >> 32 & 0x1fff);
        let token = component.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        write!(
            out,
            "<assemblyIdentity name=\"Microsoft-Windows-Component-{token:016x}-Package~31bf3856ad364e35~amd64~~10.0.{build}\" \
             version=\"10.0.14393.{revision}\" language=\"neutral\" processorArchitecture=\"amd64\" publicKeyToken=\"31bf3856ad364e35\" />\
             <update name=\"Package_{}_for_KB{}\"><package integrate=\"hidden\" /></update>",
            n >> 45 & 0x1fff,
            4_000_000 + place
        )
        .unwrap();
    }
    (out + "</ApplicabilityRules>").into_bytes()
}

fn extended(made: &Made) -> Vec<u8> {
    let severity = made.severity.map(|severity| format!(" MsrcSeverity=\"{severity}\"")).unwrap_or_default();
    let mut out = format!(
        "<ExtendedProperties DefaultPropertiesLanguage=\"en\"{severity} \
         Handler=\"http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Cbs\" MaxDownloadSize=\"1\" MinDownloadSize=\"0\">\
         <InstallationBehavior RebootBehavior=\"CanRequestReboot\" />"
    );
    made.kbs.iter().for_each(|kb| write!(out, "<KBArticleID>{kb}</KBArticleID>").unwrap());
    made.cves.iter().for_each(|cve| write!(out, "<CveID>{cve}</CveID>").unwrap());
    if let Some(kb) = made.kbs.first().filter(|_| made.severity == Some("Critical")) {
        write!(out, "<SecurityBulletinID>MS26-{:03}</SecurityBulletinID>", kb % 1_000).unwrap();
    }
    out += "</ExtendedProperties>";
    list(&mut out, "Files", &made.files, |file| {
        let name = file.url.rsplit('/').next().unwrap();
        let additional = file.sha256.map(|sha256| {
            format!("<AdditionalDigest Algorithm=\"SHA256\">{}</AdditionalDigest>", BASE64.encode(&sha256))
        });
        format!(
            "<File Digest=\"{}\" DigestAlgorithm=\"SHA1\" FileName=\"{name}\" Size=\"{}\" Modified=\"2026-07-01T00:00:00Z\">{}</File>",
            BASE64.encode(&file.sha1),
            file.size,
            additional.unwrap_or_default()
        )
    });
    (out + "<HandlerSpecificData type=\"cbs:Cbs\"><CbsData /></HandlerSpecificData>").into_bytes()
}

fn localized(made: &Made, language: &str) -> Vec<u8> {
    let title = super::title(made, language).replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<LocalizedProperties><Language>{language}</Language><Title>{title}</Title><Description>A security issue has been \
         identified in a Microsoft software product that could affect your system.</Description></LocalizedProperties>"
    )
    .into_bytes()
}
