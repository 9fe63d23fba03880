//! Which settings differ between two configurations.

use super::settings::Config;
use toml::{Table, Value};

/// The keys (`http.listen`) whose values differ, in order. Passwords are not compared.
pub fn differences(before: &Config, after: &Config) -> Vec<String> {
    let mut found = Vec::new();
    differ("", &table(before), &table(after), &mut found);
    found
}

fn table(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

fn differ(prefix: &str, before: &Table, after: &Table, found: &mut Vec<String>) {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    let mut keys: Vec<_> = before.keys().chain(new).collect();
    keys.sort();
    for key in keys {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => differ(&dotted, before, after, found),
            (before, after) if before != after => found.push(dotted),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_differs_is_named() {
        let of = |sets: &[&str]| {
            let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
            Config::without_file(&sets, "paris").unwrap()
        };
        let config = of(&[]);
        assert_eq!(differences(&config, &config), [""; 0]);
        let other = of(&["mirror.window=\"20:30-05:30\"", "jobs.pull=\"1h\"", "name=\"lyon\"", "site=\"paris\""]);
        assert_eq!(differences(&config, &other), ["jobs.pull", "mirror.window", "name"]);
    }
}
