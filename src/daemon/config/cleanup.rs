//! `[cleanup]`: how much may be deleted, and for how long it can be had back.

use super::{
    keys::Keys,
    node::{Node, Value},
    read::{self, Mistake},
    show,
    values::window::Window,
};
use crate::base::units;
use jiff::civil::Time;
use serde::{Serialize, Serializer};
use std::{fmt, time::Duration};

/// Deleting, by the nightly cleanup and by whoever removes files from a main's folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cleanup {
    /// Whether the nightly cleanup runs.
    pub enabled: Switch,
    /// When, in local time.
    pub window: Window,
    /// What it leaves alone.
    pub keep: Keep,
    /// The least age of what it deletes.
    #[serde(serialize_with = "show::period")]
    pub grace: Duration,
    /// How long deleted files rest in trash.
    #[serde(serialize_with = "show::period")]
    pub trash: Duration,
    /// Deletions above this share of the files (0 to 100) wait for `sync accept-deletions` ..
    pub max_delete_percent: u8,
    /// .. unless they are no more files than this.
    pub max_delete_min_files: u64,
}

/// On, off, or as WAPT has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// As `cleanup_kbs` of waptserver.ini says.
    Auto,
    /// Whatever WAPT says.
    On,
    /// Whatever WAPT says.
    Off,
}

/// What the nightly cleanup leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// What some host has installed or needs.
    InstalledOrNeeded,
    /// What some host needs.
    Needed,
    /// What was asked for within this time.
    Asked(Duration),
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            enabled: Switch::Auto,
            window: Window { from: Time::constant(2, 30, 0, 0), to: Time::constant(3, 30, 0, 0) },
            keep: Keep::InstalledOrNeeded,
            grace: Duration::from_secs(3 * 86_400),
            trash: Duration::from_secs(3 * 86_400),
            max_delete_percent: 20,
            max_delete_min_files: 20,
        }
    }
}

impl Cleanup {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            enabled: keys.value("enabled", switch, default.enabled),
            window: keys.value("window", read::parsed, default.window),
            keep: keys.value("keep", keep, default.keep),
            grace: keys.value("grace", read::period, default.grace),
            trash: keys.value("trash", read::period, default.trash),
            max_delete_percent: keys.value("max_delete_percent", read::count(0..=100), default.max_delete_percent),
            max_delete_min_files: keys.value(
                "max_delete_min_files",
                read::count(0..=u64::MAX),
                default.max_delete_min_files,
            ),
        }
    }
}

fn switch(node: &Node) -> Result<Switch, Mistake> {
    match &node.value {
        Value::Boolean(true) => Ok(Switch::On),
        Value::Boolean(false) => Ok(Switch::Off),
        Value::Text(text) if text == "auto" => Ok(Switch::Auto),
        _ => Err(Mistake::of_type(node, "\"auto\", true or false")),
    }
}

fn keep(node: &Node) -> Result<Keep, Mistake> {
    let given = read::text(node)?;
    let asked = || given.strip_prefix("asked:").and_then(units::parse_duration).map(Keep::Asked);
    let found = match given.as_str() {
        "installed-or-needed" => Some(Keep::InstalledOrNeeded),
        "needed" => Some(Keep::Needed),
        _ => asked(),
    };
    let wrong = || format!("{given:?} is none of \"installed-or-needed\", \"needed\", \"asked:90d\"");
    found.ok_or_else(|| Mistake::at(node, wrong()))
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::On => to.serialize_bool(true),
            Self::Off => to.serialize_bool(false),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstalledOrNeeded => f.write_str("installed-or-needed"),
            Self::Needed => f.write_str("needed"),
            Self::Asked(within) => write!(f, "asked:{}", show::period_text(*within)),
        }
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
