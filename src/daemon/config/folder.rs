//! `[[folder]]`: what a main watches and a secondary mirrors.

use super::{error::Place, keys::Keys, node::Node, read, read::Mistake};
use crate::domain::name::FolderName;
use serde::Serialize;
use std::{
    cmp::Ordering,
    path::{Component, Path, PathBuf},
};

/// One mirrored folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Folder {
    /// The first part of hosts' URLs; the same on every node of a line.
    pub name: FolderName,
    /// Where its files are. Absolute.
    pub path: PathBuf,
    /// Where files wait on their way in and out, on the folder's mount; `None` is `.wuasync` beside the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<PathBuf>,
}

impl Folder {
    /// What is mirrored where no folder is configured: WAPT's own.
    pub(super) fn defaults() -> Vec<Self> {
        let name = FolderName::new("waptwua").into_iter();
        name.map(|name| Self { name, path: PathBuf::from("/var/www/waptwua"), staging: None }).collect()
    }

    pub(super) fn read_all(keys: &mut Keys<'_>) -> Vec<Self> {
        let Some(found) = keys.sections("folder", Self::read) else { return Self::defaults() };
        report_overlaps(keys, &found);
        found.into_iter().map(|(_, folder)| folder).collect()
    }

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let name = keys.required("name", folder_name);
        let path = keys.required("path", folder_path);
        let staging = keys.value("staging", read::optional(read::path), None);
        Some(Self { name: name?, path: path?, staging })
    }

    /// Whether a file at `path` would be mirrored with this folder: it is inside, and no part of the
    /// way there is hidden.
    pub(super) fn publishes(&self, path: &Path) -> bool {
        let Ok(inside) = path.strip_prefix(&self.path) else { return false };
        !inside
            .components()
            .any(|part| matches!(part, Component::Normal(name) if name.as_encoded_bytes().starts_with(b".")))
    }
}

fn folder_name(node: &Node) -> Result<FolderName, Mistake> {
    FolderName::new(&read::text(node)?).map_err(|error| Mistake::at(node, error.to_string()))
}

fn folder_path(node: &Node) -> Result<PathBuf, Mistake> {
    let path = read::path(node)?;
    if path.parent().is_none() {
        return Err(Mistake::at(node, "the root of the file system can't be mirrored"));
    }
    Ok(path)
}

fn report_overlaps(keys: &mut Keys<'_>, folders: &[(Place, Folder)]) {
    for (at, (place, folder)) in folders.iter().enumerate() {
        let overlaps = folders.iter().enumerate().filter_map(|(other_at, (_, other))| match at.cmp(&other_at) {
            Ordering::Equal => exposed_staging(folder, other),
            order => overlap(folder, other, order).or_else(|| exposed_staging(folder, other)),
        });
        for text in overlaps {
            keys.report_value("folder", Mistake { place: place.clone(), text });
        }
    }
}

/// What `folder` must not share with `other`; what is symmetric is told once, of the later one.
fn overlap(folder: &Folder, other: &Folder, order: Ordering) -> Option<String> {
    let name = &folder.name;
    if order.is_gt() && *name == other.name {
        return Some(format!("a second folder named {name:?}"));
    }
    if order.is_gt() && folder.path == other.path {
        return Some(format!("{name:?} has the path of {:?}", other.name));
    }
    let is_inside = folder.path != other.path && folder.path.starts_with(&other.path);
    is_inside.then(|| format!("{name:?} lies inside {:?} ({})", other.name, other.path.display()))
}

fn exposed_staging(folder: &Folder, other: &Folder) -> Option<String> {
    let staging = folder.staging.as_ref().filter(|staging| other.publishes(staging))?;
    Some(format!("the staging of {:?} ({}) lies inside {:?}", folder.name, staging.display(), other.name))
}
