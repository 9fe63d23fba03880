//! The configuration: any text is read or refused with a place, and what is read can be shown and read.

use std::fs;
use wuasync::daemon::config::{Config, WebUrl};

/// The file, then `--set`s, with NUL between them.
pub fn config(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let sets: Vec<String> = parts.take(8).map(|set| String::from_utf8_lossy(set).into_owned()).collect();
    if let Some(config) = load(file, &sets) {
        reads_back(&config);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        web_url(text);
    }
}

fn load(file: &[u8], sets: &[String]) -> Option<Config> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("wuasync.toml");
    fs::write(&path, file).expect("a temporary file");
    match Config::load(&path, sets, "paris") {
        Ok(config) => Some(config),
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "refused without a reason");
            assert!(errors.iter().all(|error| !error.place().to_string().is_empty()));
            assert!(!errors.to_string().is_empty());
            None
        }
    }
}

/// Passwords are masked, so texts are compared.
fn reads_back(config: &Config) {
    let shown = config.to_toml().expect("what was read can be shown");
    let again = load(shown.as_bytes(), &[]).unwrap_or_else(|| panic!("what is shown is refused:\n{shown}"));
    assert_eq!(again.to_toml().expect("what was read can be shown"), shown);
}

fn web_url(text: &str) {
    let Ok(url) = text.parse::<WebUrl>() else { return };
    assert_eq!(url.as_str(), text);
    assert!(!url.host().is_empty(), "{text:?} has no host");
    let shown = url.to_string();
    assert!(shown.parse::<WebUrl>().is_ok_and(|again| again.host() == url.host()), "{text:?} is shown as {shown:?}");
}
