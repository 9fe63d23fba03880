//! The text of `conf.d/setup.toml`. Pure.
//!
//! Its first lines say whose it is, and hold a fingerprint of the rest: so that a text that somebody changed is known as
//! theirs.

use super::{
    choices::{Choices, written_in},
    facts::Facts,
    key::{Key, OFF},
};

const HEADER: &str = "# Written by `wuasync setup`, which may write it anew: change it by running that again, or write what you want\n\
                      # otherwise into a file of your own beside it whose name sorts after this one's.\n";
const FINGERPRINT: &str = "# fingerprint ";

/// The whole file for what was chosen: what other files say alike stays with them.
pub(super) fn text(choices: &Choices, facts: &Facts) -> String {
    let body = body(choices, facts);
    format!("{HEADER}{FINGERPRINT}{}\n\n{body}", fingerprint(&body))
}

/// Whether somebody else than setup wrote this, or changed it.
pub(super) fn is_changed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix(FINGERPRINT)) else { return true };
    rest.split_once("\n\n").is_none_or(|(print, body)| print != fingerprint(body))
}

fn fingerprint(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex().chars().take(16).collect()
}

fn body(choices: &Choices, facts: &Facts) -> String {
    let mut body = String::new();
    let mut section = "";
    for (key, choice) in choices.iter().filter(|(key, choice)| is_to_write(*key, &choice.text, facts)) {
        if key == Key::Folders {
            body.push_str(&folders(choices, facts));
            continue;
        }
        let (table, name) = key.setting().split_once('.').unwrap_or(("", key.setting()));
        if table != section {
            body.push_str(&format!("\n[{table}]\n"));
            section = table;
        }
        body.push_str(&format!("{name} = {}\n", value(key, &choice.text)));
    }
    body
}

/// What other files say alike is not said twice.
fn is_to_write(key: Key, text: &str, facts: &Facts) -> bool {
    key == Key::Folders || others(key, facts).as_deref() != Some(text)
}

/// What other files say of `key`, in the form that it is always written in.
pub(super) fn others(key: Key, facts: &Facts) -> Option<String> {
    let (text, _) = written_in(key, &facts.others)?;
    Some(key.read(&text).unwrap_or(text))
}

fn folders(choices: &Choices, facts: &Facts) -> String {
    let is_new = |(name, path): &(String, std::path::PathBuf)| {
        let given = facts.others.get(&format!("folder.{name}.path"));
        given.is_none_or(|given| std::path::Path::new(&given.text) != path)
    };
    let tables = choices.folders().into_iter().filter(is_new).map(|(name, path)| {
        format!("\n[[folder]]\nname = {}\npath = {}\n", quoted(&name), quoted(&path.display().to_string()))
    });
    tables.collect()
}

fn value(key: Key, text: &str) -> String {
    if key.is_list() {
        let parts = text.split(", ").filter(|part| !part.is_empty()).map(quoted);
        return format!("[{}]", parts.collect::<Vec<_>>().join(", "));
    }
    quoted(if text == OFF { "" } else { text })
}

/// As TOML writes a text.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{
        config::{Config, given},
        setup::choices::choose,
    };
    use std::{collections::BTreeMap, path::Path};

    fn chosen(facts: &Facts, wishes: &[(Key, &str)]) -> Choices {
        let wishes: BTreeMap<_, _> = wishes.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        choose(facts, &wishes).unwrap()
    }

    fn facts() -> Facts {
        Facts { host_name: "lyon".to_owned(), web_root: "/var/www".into(), ..Facts::default() }
    }

    #[test]
    fn what_was_chosen_is_what_a_daemon_reads() {
        let facts = facts();
        let choices = chosen(
            &facts,
            &[
                (Key::Role, "secondary"),
                (Key::Site, "Lyon \"sud\""),
                (Key::Folders, "waptwua=/srv/a b/waptwua, wapt=/srv/wapt"),
                (Key::Listen, "0.0.0.0:80, [::]:80"),
                (Key::Window, "20:30-05:30"),
                (Key::Limit, "10 Mbit/s"),
                (Key::Pull, "2h"),
            ],
        );
        let text = text(&choices, &facts);
        let path = Path::new("/etc/wuasync/wuasync.toml");
        let texts =
            BTreeMap::from([(path.to_owned(), String::new()), ("/etc/wuasync/conf.d/setup.toml".into(), text.clone())]);
        let config = Config::load_with(path, &texts, &[], "x").unwrap();
        assert_eq!((config.name.as_str(), config.site.as_str()), ("lyon", "Lyon \"sud\""));
        assert_eq!(config.folders[1].path, Path::new("/srv/a b/waptwua"));
        assert_eq!((config.http.listen.len(), config.jobs.pull.as_secs()), (2, 7_200));
        assert_eq!(config.mirror.window.unwrap().to_string(), "20:30-05:30");
        assert_eq!(config.bandwidth.limit.unwrap().bits_per_second, 10_000_000);
        assert!(!is_changed(&text) && is_changed(&text.replace("2h", "3h")) && is_changed("role = \"main\"\n"));
    }

    #[test]
    fn what_other_files_say_alike_stays_with_them() {
        let mut facts = facts();
        let other = "role = \"main\"\nname = \"lyon\"\n[[folder]]\nname = \"waptwua\"\npath = \"/var/www/waptwua\"\n[upstream]\ncab_url = \"\"\n";
        facts.others = given(other, Path::new("/x")).unwrap();
        let text = text(&chosen(&facts, &[(Key::Site, "Lyon")]), &facts);
        let body = text.split_once("\n\n").unwrap().1;
        let expected = "site = \"Lyon\"\n\n[http]\nlisten = [\"0.0.0.0:80\"]\n\n[sync]\nlisten = \"0.0.0.0:4443\"\nadvertise = [\"lyon:4443\"]\n\n[bandwidth]\nlimit = \"\"\n";
        assert_eq!(body, expected);
    }
}
