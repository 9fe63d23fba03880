//! The updates that an edition tells of: categories, detectoids, then groups of a bundle and two updates in it.

use super::{Numbering, Plan};

/// Products; a company and a family stand before them, classifications behind.
const PRODUCTS: usize = 8;
/// As everybody knows them.
const CLASSIFICATIONS: [(&str, &str); 7] = [
    ("0fa1201d-4330-4fa8-8ae9-b877473b6441", "Security Updates"),
    ("e6cf1350-c01b-414d-a61f-263d14d133b4", "Critical Updates"),
    ("28bc880e-0592-4cbf-8f95-c79b17911d5f", "Update Rollups"),
    ("68c5b0a3-d1a6-4553-ae49-01d3a7827828", "Service Packs"),
    ("cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83", "Updates"),
    ("e0789628-ce08-4437-be74-2495b842f43b", "Definition Updates"),
    ("b54e7d24-7add-428f-8b75-90a396fa584f", "Feature Packs"),
];
const FIRST_CLASSIFICATION: usize = 2 + PRODUCTS;
const FIRST_DETECTOID: usize = FIRST_CLASSIFICATION + CLASSIFICATIONS.len();
const DETECTOIDS: usize = 7;
const FIRST_BUNDLE: usize = FIRST_DETECTOID + DETECTOIDS;

/// All updates of a plan, by their place.
#[derive(Debug, Clone)]
pub struct World {
    /// What it was made from.
    pub plan: Plan,
    /// By their place; RevisionIds aside, it depends on seed and count alone.
    pub updates: Vec<Made>,
}

/// One update.
#[derive(Debug, Clone)]
pub struct Made {
    /// UpdateId.
    pub guid: String,
    /// RevisionNumber.
    pub number: u32,
    /// RevisionId.
    pub revision: u64,
    /// UpdateType.
    pub kind: &'static str,
    /// Has others in it.
    pub is_bundle: bool,
    /// English, not escaped.
    pub title: String,
    /// In all languages, not in English alone.
    pub is_translated: bool,
    /// `MsrcSeverity`.
    pub severity: Option<&'static str>,
    /// KBArticleIDs.
    pub kbs: Vec<u32>,
    /// CveIDs.
    pub cves: Vec<String>,
    /// Types and places.
    pub categories: Vec<(&'static str, usize)>,
    /// Places.
    pub superseded_by: Vec<usize>,
    /// Places.
    pub bundled_by: Vec<usize>,
    /// Of its own.
    pub files: Vec<MadeFile>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFile {
    /// SHA-1.
    pub sha1: [u8; 20],
    /// SHA-256, of most.
    pub sha256: Option<[u8; 32]>,
    /// In bytes.
    pub size: u64,
    /// Where it is.
    pub url: String,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let updates = (0..plan.updates.max(40)).map(|place| made(plan, place)).collect();
        Self { plan: plan.clone(), updates }
    }

    /// The places in a shard, by RevisionId.
    pub fn places_in(&self, shard: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.updates.len()).collect();
        places.sort_by_key(|place| self.updates[*place].revision);
        let (count, shards) = (places.len(), self.plan.shards);
        places[count * shard / shards..count * (shard + 1) / shards].to_vec()
    }
}

fn made(plan: &Plan, place: usize) -> Made {
    let mut random = Random::new(plan.seed, place as u64);
    let count = plan.updates.max(40);
    let revision = match plan.numbering {
        Numbering::From(first) => first + place as u64,
        Numbering::Backwards => 7_000_000_000 + 3 * (count - place) as u64,
    };
    let mut made = Made {
        guid: guid(&mut random),
        number: 100 + (place % 105) as u32,
        revision,
        kind: "Category",
        is_bundle: false,
        title: String::new(),
        is_translated: place.is_multiple_of(plan.all_languages_in),
        severity: None,
        kbs: vec![],
        cves: vec![],
        categories: vec![],
        superseded_by: vec![],
        bundled_by: vec![],
        files: vec![],
    };
    match place {
        0 => made.title = "Microsoft".to_owned(),
        1 => made.title = "Windows".to_owned(),
        FIRST_CLASSIFICATION..FIRST_DETECTOID => {
            let (guid, title) = CLASSIFICATIONS[place - FIRST_CLASSIFICATION];
            (made.guid, made.title) = (guid.to_owned(), title.to_owned());
        }
        FIRST_DETECTOID..FIRST_BUNDLE => (made.kind, made.title) = ("Detectoid", format!("Is <x{place}> & ready")),
        FIRST_BUNDLE.. => software(plan, place - FIRST_BUNDLE, &mut made, &mut random),
        _ => made.title = format!("Product {place}"),
    }
    made
}

/// Every third is a bundle; the two behind it are in it, and the second of them in the next bundle as well. Every
/// tenth bundle is itself in the one before it.
fn software(plan: &Plan, n: usize, made: &mut Made, random: &mut Random) {
    let (group, count) = (n / 3, plan.updates.max(40));
    let bundle = |group: usize| FIRST_BUNDLE + 3 * group;
    let is_there = |place: &usize| *place < count;
    made.kind = "Software";
    if n.is_multiple_of(3) {
        made.is_bundle = true;
        made.title = format!("Security Update {group} for Windows & Tools (KB{})", 4_000_000 + group);
        made.severity = [None, Some("Low"), Some("Moderate"), Some("Important"), Some("Critical")][group % 5];
        made.kbs = (0..=group % 2).map(|n| (4_000_000 + group + 500_000 * n) as u32).collect();
        made.cves = (0..group % 4).map(|n| format!("CVE-2026-{}", 10_000 + 4 * group + n)).collect();
        made.categories = vec![
            ("UpdateClassification", FIRST_CLASSIFICATION + group % CLASSIFICATIONS.len()),
            ("Company", 0),
            ("ProductFamily", 1),
            ("Product", 2 + group % PRODUCTS),
        ];
        if group.is_multiple_of(5) {
            made.superseded_by = (1..=group % 40).map(|n| bundle(group + n)).filter(is_there).collect();
        }
        if group % 10 == 9 {
            made.bundled_by = vec![bundle(group - 1)];
        }
        return;
    }
    made.title = format!("Windows-KB{}-x64-{}", 4_000_000 + group, n % 3);
    made.bundled_by = vec![bundle(group)];
    if n % 3 == 2 {
        made.bundled_by.extend(Some(bundle(group + 1)).filter(is_there));
    }
    made.files = vec![file(group, random)];
    // One file of every seventh group is that of the first.
    if group.is_multiple_of(7) && n % 3 == 1 {
        made.files.push(file(0, &mut Random::new(plan.seed, u64::MAX)));
    }
}

fn file(group: usize, random: &mut Random) -> MadeFile {
    let sha1 = random.bytes();
    let digits: String = sha1.iter().map(|byte| format!("{byte:02x}")).collect();
    let disk = if group.is_multiple_of(3) { "c" } else { "d" };
    let url = format!(
        "http://download.windowsupdate.com/{disk}/msdownload/update/software/secu/2026/07/windows10.0-kb{}-x64_{digits}.cab",
        4_000_000 + group
    );
    let sha256 = (!group.is_multiple_of(11)).then(|| random.bytes());
    MadeFile { sha1, sha256, size: 1_000 + random.next() % 40_000_000, url }
}

fn guid(random: &mut Random) -> String {
    let [a, b] = [random.next(), random.next()];
    let (c, d) = (b >> 48, b & 0xffff_ffff_ffff);
    format!("{:08x}-{:04x}-{:04x}-{c:04x}-{d:012x}", a >> 32, a >> 16 & 0xffff, a & 0xffff)
}

/// splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, of: u64) -> Self {
        let mut random = Self(seed ^ of.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.fill_with(|| self.next() as u8);
        bytes
    }
}
