//! What files say key by key, as text: for whoever writes another file beside them.

use super::{
    error::{ConfigError, ConfigErrors, Place},
    load::toml_files,
    node::{self, Node, Table, Value},
};
use std::{collections::BTreeMap, fs, io, path::Path};

/// A setting as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// File and line.
    pub place: Place,
    /// The value; parts of a list are parted by `, `.
    pub text: String,
}

/// What the text of one file says, by dotted key; a folder's path has the key `folder.NAME.path`.
pub fn given(text: &str, file: &Path) -> Result<BTreeMap<String, Given>, ConfigErrors> {
    let table = node::parse(text, &Place::whole(&file.display().to_string())).map_err(ConfigErrors::new)?;
    let mut found = BTreeMap::new();
    flatten("", &table, &mut found);
    Ok(found)
}

/// What the configuration at `path` and all that lies in its `conf.d` say, `except` one file; the later wins.
pub fn given_beside(path: &Path, except: &Path) -> Result<BTreeMap<String, Given>, ConfigErrors> {
    let unreadable = |path: &Path, source| {
        let place = Place::whole(&path.display().to_string());
        ConfigErrors::new(vec![ConfigError::Unreadable { place, source }])
    };
    let conf_d = path.with_file_name("conf.d");
    let further = toml_files(&conf_d).map_err(|source| unreadable(&conf_d, source))?;
    let mut found = BTreeMap::new();
    for file in std::iter::once(path.to_owned()).chain(further).filter(|file| file != except) {
        match fs::read_to_string(&file) {
            Ok(text) => found.extend(given(&text, &file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(unreadable(&file, source)),
        }
    }
    Ok(found)
}

fn flatten(above: &str, table: &Table, found: &mut BTreeMap<String, Given>) {
    for (key, node) in table {
        let key = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match &node.value {
            Value::Table(table) => flatten(&key, table, found),
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
                for item in items {
                    let Value::Table(table) = &item.value else { continue };
                    let name = table.get("name").map(text).unwrap_or_default();
                    flatten(&format!("{key}.{name}"), table, found);
                }
            }
            _ => {
                found.insert(key, Given { place: node.place.clone(), text: text(node) });
            }
        }
    }
}

fn text(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(is) => is.to_string(),
        Value::List(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Float | Value::Date | Value::Table(_) => node.kind().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_with_their_lines_and_the_later_file_wins() {
        let place = tempfile::tempdir().unwrap();
        let (main, conf_d) = (place.path().join("wuasync.toml"), place.path().join("conf.d"));
        fs::create_dir(&conf_d).unwrap();
        let text = "name = \"a\"\n[http]\nlisten = [\"1.2.3.4:80\", \"[::]:80\"]\n[[folder]]\nname = \"wapt\"\npath = \"/x\"\n";
        fs::write(&main, text).unwrap();
        fs::write(conf_d.join("b.toml"), "name = \"b\"\n").unwrap();
        let own = conf_d.join("own.toml");
        fs::write(&own, "name = \"own\"\n").unwrap();
        let found = given_beside(&main, &own).unwrap();
        assert_eq!(found["name"].text, "b");
        assert_eq!(found["http.listen"].text, "1.2.3.4:80, [::]:80");
        assert_eq!(found["folder.wapt.path"].text, "/x");
        assert_eq!(found["http.listen"].place.to_string(), format!("{}:3", main.display()));
    }

    #[test]
    fn no_file_says_nothing_and_a_broken_one_says_where() {
        let place = tempfile::tempdir().unwrap();
        let main = place.path().join("wuasync.toml");
        assert!(given_beside(&main, &main).unwrap().is_empty());
        fs::write(&main, "a = 1\nb\n").unwrap();
        let error = given_beside(&main, Path::new("/x")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: ", main.display())), "{error}");
    }
}
