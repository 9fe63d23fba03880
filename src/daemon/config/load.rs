//! From files and `--set` to a [`Config`]: which files, in which order. The only I/O here.

use super::{
    error::{ConfigError, ConfigErrors, Place},
    keys::Report,
    node::{self, Table},
    settings::Config,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/wuasync/wuasync.toml";

impl Config {
    /// Reads `path`, then `conf.d/*.toml` beside it in the order of their names, then `sets`
    /// (`key=value`), the later winning. `host_name` is the default of `name`.
    ///
    /// All errors that can be found in one go are reported together; values are looked at only when
    /// everything is TOML.
    pub fn load(path: &Path, sets: &[String], host_name: &str) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &BTreeMap::new(), sets, host_name)
    }

    /// The same with `texts` in place of what lies at their paths, or beside it: what it would be once they are written.
    pub fn load_with(
        path: &Path,
        texts: &BTreeMap<PathBuf, String>,
        sets: &[String],
        host_name: &str,
    ) -> Result<Self, ConfigErrors> {
        let mut report = Report::default();
        let tree = files(path, texts, &mut report);
        Self::from_tree(tree, &Place::whole(&path.display().to_string()), sets, host_name, report)
    }

    /// The defaults, changed by `sets`: for commands where no file was written yet.
    pub fn without_file(sets: &[String], host_name: &str) -> Result<Self, ConfigErrors> {
        let place = Place::whole("without a configuration file");
        Self::from_tree(Table::new(), &place, sets, host_name, Report::default())
    }

    fn from_tree(
        mut tree: Table,
        place: &Place,
        sets: &[String],
        host_name: &str,
        mut report: Report,
    ) -> Result<Self, ConfigErrors> {
        for set in sets {
            match node::parse_set(set) {
                Ok(set) => node::merge(&mut tree, set),
                Err(errors) => report.errors.extend(errors),
            }
        }
        if !report.errors.is_empty() {
            return Err(ConfigErrors::new(report.errors));
        }
        let config = Self::read(&tree, place, host_name, &mut report);
        config.filter(|_| report.errors.is_empty()).ok_or_else(|| ConfigErrors::new(report.errors))
    }
}

fn files(path: &Path, texts: &BTreeMap<PathBuf, String>, report: &mut Report) -> Table {
    let mut tree = Table::new();
    let conf_d = path.with_file_name("conf.d");
    let further = toml_files(&conf_d).unwrap_or_else(|source| {
        report.errors.push(ConfigError::Unreadable { place: Place::whole(&conf_d.display().to_string()), source });
        Vec::new()
    });
    let written = texts.keys().filter(|text| text.parent() == Some(&conf_d)).cloned();
    let further: BTreeSet<PathBuf> = further.into_iter().chain(written).collect();
    for file in std::iter::once(path.to_owned()).chain(further) {
        match read_file(&file, texts.get(&file)) {
            Ok(table) => node::merge_file(&mut tree, table),
            Err(errors) => report.errors.extend(errors),
        }
    }
    tree
}

fn read_file(path: &Path, text: Option<&String>) -> Result<Table, Vec<ConfigError>> {
    let place = Place::whole(&path.display().to_string());
    let text = text.map_or_else(|| fs::read_to_string(path), |text| Ok(text.clone()));
    let text = text.map_err(|source| vec![ConfigError::Unreadable { place: place.clone(), source }])?;
    node::parse(&text, &place)
}

/// The visible `*.toml` in `directory`, by name; none where there is no such directory.
pub(super) fn toml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_visible = |path: &Path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    let is_toml = |path: &Path| path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<PathBuf> = paths.into_iter().filter(|path| is_toml(path) && is_visible(path)).collect();
    files.sort();
    Ok(files)
}
