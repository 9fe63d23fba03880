//! Names from listings, frames and URLs: what passes is safe to join to a folder, on any system.

use std::path::{Component, Path};
use wuasync::domain::{
    member::{MAX_ADDRESS_BYTES, MAX_NODE_NAME_BYTES, MAX_SITE_NAME_BYTES, NodeAddress, NodeName, SiteName},
    name::{FileName, FolderName, MAX_COMPONENT_BYTES, MAX_COMPONENTS},
    origin::{MAX_URL_BYTES, OriginUrl},
    state::Namespace,
    update::UpdateId,
};

/// A name's bytes.
pub fn names(data: &[u8]) {
    file_name(data);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(FileName::from_bytes(data).is_err(), "a name that is no text");
        return;
    };
    folder_and_namespace(text);
    texts_of_members(text);
    origin(text);
    if let Ok(update) = text.parse::<UpdateId>() {
        assert_eq!(update.to_string(), text.to_ascii_lowercase());
        assert_eq!(UpdateId::from_bytes(update.to_bytes()), update);
    }
}

fn origin(text: &str) {
    let Ok(url) = OriginUrl::new(text) else { return };
    assert!(url.as_str().len() <= MAX_URL_BYTES && !url.as_str().contains(|c: char| c.is_control() || c == ' '));
    assert_eq!(OriginUrl::new(url.as_str()).as_ref(), Ok(&url), "one address is one text");
    let uri: http::Uri = url.as_str().parse().expect("what passes is an address for others as well");
    assert!(matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()));
    assert!(!uri.authority().expect("a host").as_str().contains('@'), "{url} has a login");
    assert_eq!(uri.path().rsplit('/').next(), Some(url.file_name().as_str()), "{url}");
}

fn file_name(data: &[u8]) {
    let Ok(name) = FileName::from_bytes(data) else { return };
    assert_eq!(name.as_str().as_bytes(), data, "a name changed");
    assert_eq!(FileName::new(name.as_str()).as_ref(), Ok(&name));
    let components: Vec<&str> = name.as_str().split('/').collect();
    assert!((1..=MAX_COMPONENTS).contains(&components.len()), "{name:?}");
    for component in &components {
        assert!((1..=MAX_COMPONENT_BYTES).contains(&component.len()), "{name:?}");
        assert!(!component.starts_with('.') && !component.ends_with(['.', ' ']), "{name:?}");
        assert!(!component.contains(|c: char| c.is_control() || "\\:<>\"|?*".contains(c)), "{name:?}");
    }
    let joined = Path::new("/folder").join(name.as_str());
    let inside: Vec<_> = joined.strip_prefix("/folder").expect("a name leaves its folder").components().collect();
    assert!(inside.iter().all(|component| matches!(component, Component::Normal(_))), "{name:?}");
    assert_eq!(inside.len(), components.len(), "{name:?}");
    assert_eq!(name.parent().is_some(), components.len() > 1);
    if let Some(sha1) = name.promised_sha1() {
        let base = components.last().expect("one at least").to_ascii_lowercase();
        assert!(base.contains(&format!("_{sha1}")), "{name:?} promises {sha1}");
    }
}

fn folder_and_namespace(text: &str) {
    if let Ok(folder) = FolderName::new(text) {
        assert_eq!(folder.as_str(), text);
        assert!(!text.contains(['/', '.', '%', '\\']) && (1..=64).contains(&text.len()), "{text:?}");
        assert_eq!(Namespace::folder(&folder).as_folder(), Some(folder.clone()));
        assert!(Namespace::new(Namespace::folder(&folder).as_str()).is_ok());
    }
    if let Ok(namespace) = Namespace::new(text) {
        assert_eq!(namespace.as_str(), text);
        assert!(namespace.as_folder().is_none_or(|folder| Namespace::folder(&folder) == namespace));
    }
}

fn texts_of_members(text: &str) {
    if let Ok(name) = NodeName::new(text) {
        assert!(name.as_str() == text && text.is_ascii() && text.len() <= MAX_NODE_NAME_BYTES);
    }
    if let Ok(site) = SiteName::new(text) {
        assert!(site.as_str() == text && !text.contains(char::is_control) && text.len() <= MAX_SITE_NAME_BYTES);
    }
    if let Ok(address) = NodeAddress::new(text) {
        assert!(address.as_str() == text && !text.contains(char::is_whitespace) && text.len() <= MAX_ADDRESS_BYTES);
        let (_, port) = text.rsplit_once(':').expect("an address has a port");
        assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{text:?}");
    }
}
