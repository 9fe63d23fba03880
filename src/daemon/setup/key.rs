//! The settings that setup asks for: how each is called, asked, and read. Pure.

use crate::{
    base::units,
    daemon::config::{Rate, WebUrl, Window},
    domain::{
        member::{NodeAddress, NodeName, SiteName},
        name::FolderName,
    },
};
use std::{fmt::Display, net::SocketAddr, str::FromStr};

/// What is chosen, in the order of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// `main` or `secondary`.
    Role,
    /// How other nodes know this one.
    Name,
    /// Where it stands.
    Site,
    /// `NAME=PATH`, several parted by commas.
    Folders,
    /// Where hosts are served.
    Listen,
    /// Where repositories meet.
    SyncListen,
    /// What invitations say.
    Advertise,
    /// Where the edition comes from, or `off`.
    CabUrl,
    /// When files may travel, or `off`.
    Window,
    /// How fast, or `off`.
    Limit,
    /// How often a secondary asks.
    Pull,
}

/// What turns a setting off.
pub(super) const OFF: &str = "off";

impl Key {
    /// In the order of the questions.
    pub const ALL: [Self; 11] = [
        Self::Role,
        Self::Name,
        Self::Site,
        Self::Folders,
        Self::Listen,
        Self::SyncListen,
        Self::Advertise,
        Self::CabUrl,
        Self::Window,
        Self::Limit,
        Self::Pull,
    ];

    /// The option on the command line.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Role => "--role",
            Self::Name => "--name",
            Self::Site => "--site",
            Self::Folders => "--folder",
            Self::Listen => "--listen",
            Self::SyncListen => "--sync-listen",
            Self::Advertise => "--advertise",
            Self::CabUrl => "--cab-url",
            Self::Window => "--window",
            Self::Limit => "--limit",
            Self::Pull => "--pull",
        }
    }

    /// The question to a person.
    pub fn question(self) -> &'static str {
        match self {
            Self::Role => "Role of this machine: main (signs what exists) or secondary (mirrors a main)",
            Self::Name => "Its name for other nodes",
            Self::Site => "Where it stands",
            Self::Folders => "Folders, as NAME=PATH, several with commas between",
            Self::Listen => "Where hosts are served (HTTP)",
            Self::SyncListen => "Where secondaries are served (UDP)",
            Self::Advertise => "How secondaries reach this machine (HOST:PORT)",
            Self::CabUrl => "Where wsusscn2.cab comes from: an address, or off where something else brings it",
            Self::Window => "When files may travel, local time, such as 20:30-05:30, or off: always",
            Self::Limit => "How much of the line they may take, such as 50 Mbit/s, or off: all",
            Self::Pull => "How often the parent is asked though it tells by itself",
        }
    }

    /// The setting's dotted name; of folders the table's.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Name => "name",
            Self::Site => "site",
            Self::Folders => "folder",
            Self::Listen => "http.listen",
            Self::SyncListen => "sync.listen",
            Self::Advertise => "sync.advertise",
            Self::CabUrl => "upstream.cab_url",
            Self::Window => "mirror.window",
            Self::Limit => "bandwidth.limit",
            Self::Pull => "jobs.pull",
        }
    }

    /// Whether it is a setting of such a node.
    pub fn is_for(self, is_main: bool) -> bool {
        match self {
            Self::Advertise | Self::CabUrl => is_main,
            Self::Window | Self::Pull => !is_main,
            _ => true,
        }
    }

    /// Whether its value is a list.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Folders | Self::Listen | Self::Advertise)
    }

    /// Reads a value as a person writes it, and gives it as it is always written; what is wrong is said with what would
    /// be right.
    pub fn read(self, text: &str) -> Result<String, String> {
        let text = text.trim();
        match self {
            Self::Role if text == "main" || text == "secondary" => Ok(text.to_owned()),
            Self::Role => Err(format!("{text:?} is no role: write main or secondary")),
            Self::Name => parsed::<NodeName>(text),
            Self::Site => parsed::<SiteName>(text),
            Self::Folders => list(text, folder).and_then(folders),
            Self::Listen => list(text, address),
            Self::SyncListen => address(text),
            Self::Advertise => list(text, parsed::<NodeAddress>),
            Self::CabUrl => or_off(text, parsed_url),
            Self::Window => or_off(text, parsed::<Window>),
            Self::Limit => or_off(text, parsed::<Rate>),
            Self::Pull => match units::parse_duration(text) {
                Some(period) if !period.is_zero() => Ok(text.to_owned()),
                _ => Err(format!("{text:?} is no period: write a number and one of s, m, h, d, w: \"15m\"")),
            },
        }
    }
}

fn parsed<T: FromStr<Err: Display> + Display>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|value| value.to_string()).map_err(|error| error.to_string())
}

/// As it was written: shown, its password would be masked.
fn parsed_url(text: &str) -> Result<String, String> {
    text.parse::<WebUrl>().map(|url| url.as_str().to_owned()).map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no address: write it as 0.0.0.0:80 or [::]:80");
    text.parse::<SocketAddr>().map(|address| address.to_string()).map_err(|_| wrong())
}

fn folder(text: &str) -> Result<String, String> {
    let (name, path) =
        text.split_once('=').ok_or_else(|| format!("{text:?} is no folder: write waptwua=/var/www/waptwua"))?;
    let name = FolderName::new(name.trim()).map_err(|error| error.to_string())?;
    let path = path.trim().trim_end_matches('/');
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains(',');
    is_plain.then(|| format!("{name}={path}")).ok_or_else(|| format!("{path:?} is no path from the root"))
}

fn list(text: &str, read: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    if text.eq_ignore_ascii_case(OFF) {
        return Ok(String::new());
    }
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(parts.map(read).collect::<Result<Vec<_>, _>>()?.join(", "))
}

/// At least one, by name.
fn folders(list: String) -> Result<String, String> {
    let mut folders: Vec<&str> = list.split(", ").filter(|part| !part.is_empty()).collect();
    folders.sort_unstable();
    if folders.is_empty() {
        Err("no folder at all: write waptwua=/var/www/waptwua".to_owned())
    } else {
        Ok(folders.join(", "))
    }
}

fn or_off(text: &str, read: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    if text.is_empty() || text.eq_ignore_ascii_case(OFF) { Ok(OFF.to_owned()) } else { read(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them_and_given_in_one_form() {
        for (key, text, read) in [
            (Key::Role, " main ", "main"),
            (Key::Name, "paris", "paris"),
            (Key::Site, "Paris 13e", "Paris 13e"),
            (
                Key::Folders,
                "waptwua=/var/www/waptwua/ ,wapt = /var/www/wapt",
                "wapt=/var/www/wapt, waptwua=/var/www/waptwua",
            ),
            (Key::Listen, "0.0.0.0:80,[::]:80", "0.0.0.0:80, [::]:80"),
            (Key::Listen, "off", ""),
            (Key::Advertise, "paris.example:4443", "paris.example:4443"),
            (Key::CabUrl, "OFF", "off"),
            (Key::CabUrl, "http://u:p@h/x", "http://u:p@h/x"),
            (Key::Window, "20:30-05:30", "20:30-05:30"),
            (Key::Limit, "1.5 mbit/s", "1500 kbit/s"),
            (Key::Pull, "2h", "2h"),
        ] {
            assert_eq!(key.read(text).as_deref(), Ok(read), "{key:?} {text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (key, text, words) in [
            (Key::Role, "boss", "main or secondary"),
            (Key::Name, "a/b", "node name"),
            (Key::Folders, "/var/www/waptwua", "waptwua=/var/www/waptwua"),
            (Key::Folders, "waptwua=www", "no path from the root"),
            (Key::Folders, "", "no folder at all"),
            (Key::Listen, "80", "0.0.0.0:80"),
            (Key::Advertise, "paris", "host:port"),
            (Key::CabUrl, "ftp://x", "https://host/path"),
            (Key::Window, "8pm", "20:30-05:30"),
            (Key::Limit, "50 MB", "50 Mbit/s"),
            (Key::Pull, "0s", "15m"),
        ] {
            let error = key.read(text).unwrap_err();
            assert!(error.contains(words), "{key:?} {text:?}: {error}");
        }
    }
}
