//! Whole configurations: what is read from where, what wins, and which error names which line.

use super::*;
use std::{fs, path::PathBuf, time::Duration};

/// A directory with a `wuasync.toml`.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(text: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(files.path(), text).unwrap();
        files
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.directory.path().join("conf.d")).unwrap();
        fs::write(self.directory.path().join("conf.d").join(name), text).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("wuasync.toml")
    }

    fn load(&self, sets: &[&str]) -> Result<Config, String> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        let directory = format!("{}/", self.directory.path().display());
        Config::load(&self.path(), &sets, "paris").map_err(|errors| errors.to_string().replace(&directory, ""))
    }
}

fn errors(text: &str) -> String {
    Files::new(text).load(&[]).unwrap_err()
}

fn defaults() -> Config {
    Config::without_file(&[], "paris").unwrap()
}

#[test]
fn the_example_shows_the_defaults_and_nothing_in_it_is_without_effect() {
    let example = Files::new(include_str!("../../../fixtures/wuasync.example.toml")).load(&[]).unwrap();
    assert_eq!(example, defaults());
    assert_eq!(example.not_in_effect, Vec::<String>::new());
}

#[test]
fn the_example_names_every_key() {
    let example: toml::Table = toml::from_str(include_str!("../../../fixtures/wuasync.example.toml")).unwrap();
    let shown: toml::Table = toml::from_str(&defaults().to_toml().unwrap()).unwrap();
    for (section, value) in shown {
        let there = example.get(&section).unwrap_or_else(|| panic!("{section} is missing"));
        for key in value.as_table().into_iter().flat_map(|table| table.keys()) {
            assert!(there.get(key).is_some(), "{section}.{key} is missing");
        }
    }
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = Files::new("").load(&[]).unwrap();
    assert_eq!(config, defaults());
    assert_eq!((config.name.as_str(), config.site.as_str()), ("paris", "paris"));
    assert_eq!(config.folders[0].path, PathBuf::from("/var/www/waptwua"));
    assert_eq!(config.cleanup.trash, Duration::from_secs(3 * 86_400));
    assert_eq!(config.limits.disk_reserve, 5 << 30);
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let text = r#"
        role = "secondary"
        name = "lyon"
        site = "Lyon, 2nd floor"
        [[folder]]
        name = "wapt"
        path = "/srv/wapt/"
        staging = "/srv/.wuasync"
        [http]
        public_url = "https://wapt.example.org"
        tls = { cert = "/c.pem", key = "/k.pem" }
        [sync]
        advertise = ["lyon.example:4443", "[2001:db8::1]:4443"]
        congestion = "newreno"
        [upstream]
        resolve = { "a.example" = "10.0.0.1:80" }
        [mirror]
        max_size = "200 GiB"
        window = "20:30-05:30"
        [bandwidth]
        limit = "50 Mbit/s"
        [cleanup]
        enabled = false
        keep = "asked:90d"
        trash = "90m"
    "#;
    let config = Files::new(text).load(&[]).unwrap();
    let shown = config.to_toml().unwrap();
    assert_eq!(Files::new(&shown).load(&[]).unwrap(), config, "{shown}");
}

#[test]
fn passwords_are_not_shown() {
    let config = Files::new("upstream.proxy = \"http://user:s3cret@proxy:3128\"").load(&[]).unwrap();
    let shown = config.to_toml().unwrap();
    assert!(shown.contains("http://user:***@proxy:3128"), "{shown}");
    assert!(!format!("{config:?}").contains("s3cret"));
    let wrong = errors("upstream.proxy = \"user:s3cret@proxy\"");
    assert!(!wrong.contains("s3cret"), "{wrong}");
}

#[test]
fn later_files_win_key_by_key_and_a_set_wins_over_all() {
    let files = Files::new("site = \"a\"\n[http]\nlisten = [\"0.0.0.0:1\"]\npublic_url = \"http://a\"")
        .with("20.toml", "site = \"c\"\nhttp.public_url = \"http://c\"")
        .with("10.toml", "site = \"b\"\nhttp.public_url = \"http://b\"\nhttp.listen = [\"0.0.0.0:2\"]")
        .with(".30.toml", "not toml")
        .with("40.txt", "not toml");
    let config = files.load(&["http.listen=[\"127.0.0.1:0\"]", "cleanup.trash=\"1h\""]).unwrap();
    assert_eq!(config.site.as_str(), "c");
    assert_eq!(config.http.public_url.unwrap().as_str(), "http://c");
    assert_eq!(config.http.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.cleanup.trash, Duration::from_secs(3_600));
}

#[test]
fn a_later_file_changes_the_folder_of_its_name_and_adds_any_other() {
    let files = Files::new("[[folder]]\nname = \"waptwua\"\npath = \"/a\"").with(
        "10.toml",
        "[[folder]]\nname = \"wapt\"\npath = \"/b\"\n[[folder]]\nname = \"waptwua\"\nstaging = \"/c\"",
    );
    let folders = files.load(&[]).unwrap().folders;
    let found: Vec<_> = folders.iter().map(|folder| (folder.name.as_str(), folder.path.to_str().unwrap())).collect();
    assert_eq!(found, [("waptwua", "/a"), ("wapt", "/b")]);
    assert_eq!(folders[0].staging, Some(PathBuf::from("/c")));

    let twice = "[[folder]]\nname = \"waptwua\"\npath = \"/b\"\n".repeat(2);
    let files = Files::new("[[folder]]\nname = \"waptwua\"\npath = \"/a\"").with("10.toml", &twice);
    assert!(files.load(&[]).unwrap_err().contains("conf.d/10.toml:4: folder: a second folder named \"waptwua\""));
}

#[test]
fn a_set_takes_all_folders_or_none() {
    let files = Files::new("[[folder]]\nname = \"waptwua\"\npath = \"/a\"");
    let config = files.load(&["folder=[{name=\"wapt\",path=\"/b\"}]"]).unwrap();
    assert_eq!(config.folders.iter().map(|folder| folder.name.as_str()).collect::<Vec<_>>(), ["wapt"]);
    let error = files.load(&["folder.path=\"/b\""]).unwrap_err();
    assert_eq!(error, "--set folder.path: folder: expected a list of tables, found a table");
}

#[test]
fn a_set_that_is_not_toml_says_what_would_be() {
    for (set, expected) in [
        ("name=lyon", "a text needs quotes of its own: --set 'name=\"...\"'"),
        ("name", "--set name: write it as key=value"),
        ("[http]", "write it as key=value"),
        ("a=1\nb=2", "write it as key=value"),
        ("http.lisen=[]", "--set http.lisen: unknown key \"lisen\" in [http]; did you mean \"listen\"?"),
        ("http.listen=[\"x\"]", "--set http.listen: http.listen: \"x\" is no address"),
    ] {
        let error = Files::new("").load(&[set]).unwrap_err();
        assert!(error.contains(expected), "{set}: {error}");
    }
}

#[test]
fn every_mistake_is_told_with_its_line_and_a_way_out() {
    for (text, expected) in [
        ("\n[http]\nlisen = []", "wuasync.toml:3: unknown key \"lisen\" in [http]; did you mean \"listen\"?"),
        ("[htpp]", "wuasync.toml:1: unknown key \"htpp\" at the top level; did you mean \"http\"?"),
        ("frobnicate = 1", "wuasync.toml:1: unknown key \"frobnicate\" at the top level"),
        (
            "\nhttp.tls = { cert = \"/c\", key = \"/k\", crt = 1 }",
            "wuasync.toml:2: unknown key \"crt\" in [http.tls]; did you mean \"cert\"?",
        ),
        ("role = \"mian\"", "wuasync.toml:1: role: \"mian\" is none of \"main\", \"secondary\""),
        ("role = 1", "wuasync.toml:1: role: expected a text, found a whole number"),
        ("http = 1", "wuasync.toml:1: http: expected a table, found a whole number"),
        ("folder = {}", "wuasync.toml:1: folder: expected a list of tables, found a table"),
        ("folder = []", "wuasync.toml:1: folder: no folder at all"),
        ("name = \"a b\"", "wuasync.toml:1: name: \"a b\" is no node name"),
        ("site = \" a\"", "wuasync.toml:1: site: \" a\" is no site name"),
        ("[http]\nlisten = [\n\"0.0.0.0:80\",\n\"0.0.0.0\"]", "wuasync.toml:4: http.listen: \"0.0.0.0\" is no address"),
        ("http.listen = \"0.0.0.0:80\"", "wuasync.toml:1: http.listen: expected a list in [ ], found a text"),
        ("http.public_url = \"wapt\"", "wuasync.toml:1: http.public_url: not a web address"),
        ("http.trusted_proxies = [\"10.0.0.1/8\"]", "wuasync.toml:1: http.trusted_proxies: \"10.0.0.1/8\" has bits"),
        ("[http.tls]\ncert = \"/c\"", "wuasync.toml:1: http.tls.key is missing"),
        ("sync.listen = \"4443\"", "wuasync.toml:1: sync.listen: \"4443\" is no address"),
        ("sync.advertise = [\"paris\"]", "wuasync.toml:1: sync.advertise: \"paris\" is no address: host:port"),
        ("sync.congestion = \"polite\"", "wuasync.toml:1: sync.congestion: \"polite\" is not in this version"),
        ("sync.congestion = \"reno\"", "wuasync.toml:1: sync.congestion: \"reno\" is none of"),
        ("mirror.max_size = \"many\"", "wuasync.toml:1: mirror.max_size: \"many\" is no size"),
        ("mirror.window = \"night\"", "wuasync.toml:1: mirror.window: \"night\" is no part of a day"),
        ("bandwidth.limit = \"50 MB/s\"", "wuasync.toml:1: bandwidth.limit: \"50 MB/s\" is no rate"),
        ("limits.disk_reserve = \"5 parsecs\"", "wuasync.toml:1: limits.disk_reserve: \"5 parsecs\" is no size"),
        ("limits.max_flights = 0", "wuasync.toml:1: limits.max_flights: 0 is not within 1 and 65536"),
        ("cleanup.trash = \"soon\"", "wuasync.toml:1: cleanup.trash: \"soon\" is no duration"),
        ("cleanup.trash = \"999999d\"", "wuasync.toml:1: cleanup.trash: \"999999d\" is more than a hundred years"),
        ("cleanup.max_delete_percent = 101", "wuasync.toml:1: cleanup.max_delete_percent: 101 is not within 0 and 100"),
        ("cleanup.max_delete_percent = 1.5", "expected a whole number, found a fraction"),
        ("cleanup.max_delete_min_files = 99999999999999999999", "wuasync.toml:1: cleanup.max_delete_min_files"),
        ("cleanup.enabled = \"no\"", "wuasync.toml:1: cleanup.enabled: expected \"auto\", true or false"),
        ("cleanup.keep = \"all\"", "wuasync.toml:1: cleanup.keep: \"all\" is none of"),
        ("jobs.by = \"cron\"", "wuasync.toml:1: jobs.by: \"cron\" is none of"),
        ("upstream.enabled = \"yes\"", "wuasync.toml:1: upstream.enabled: expected true or false, found a text"),
        ("upstream.resolve = {a = \"b\"}", "wuasync.toml:1: upstream.resolve: \"b\" is no address"),
        ("upstream.resolve = {a = \"10.0.0.1:0\"}", "wuasync.toml:1: upstream.resolve: \"a\" needs a port"),
        (
            "upstream.allowed_hosts = [\"http://a\"]",
            "wuasync.toml:1: upstream.allowed_hosts: \"http://a\" is no host name",
        ),
        ("upstream.allowed_hosts = [\".\"]", "wuasync.toml:1: upstream.allowed_hosts: \".\" is no host name"),
        ("state_dir = \"state\"", "wuasync.toml:1: state_dir: \"state\" is not an absolute path"),
        ("state_dir = \"/a/../b\"", "wuasync.toml:1: state_dir: \"/a/../b\" goes through"),
        ("state_dir = \"/var/www/waptwua/x\"", "wuasync.toml:1: state_dir: /var/www/waptwua/x lies inside folder"),
        ("\n[[folder]]\nname = \"a\"", "wuasync.toml:2: folder.path is missing"),
        ("[[folder]]\nname = \"A\"\npath = \"/a\"", "wuasync.toml:2: folder.name: \"A\" is no folder name"),
        ("[[folder]]\nname = \"a\"\npath = \"/\"", "wuasync.toml:3: folder.path: the root of the file system"),
        ("[[folder]]\nname = \"a\"\npath = \"a\"", "wuasync.toml:3: folder.path: \"a\" is not an absolute path"),
        ("[http]\nlisten = [", "wuasync.toml:2: "),
        ("role = \"main\"\nrole = \"main\"", "wuasync.toml:2: duplicate key"),
    ] {
        let found = errors(text);
        assert!(
            found.starts_with(expected) || (!expected.starts_with("wuasync") && found.contains(expected)),
            "{text}\n{found}"
        );
        assert_eq!(found.lines().count(), 1, "{text}\n{found}");
    }
}

#[test]
fn folders_that_get_in_each_others_way_are_told_once() {
    let folder = |name: &str, path: &str| format!("[[folder]]\nname = \"{name}\"\npath = \"{path}\"\n");
    for (first, second, expected) in [
        (folder("a", "/a"), folder("a", "/b"), "wuasync.toml:4: folder: a second folder named \"a\""),
        (folder("a", "/a"), folder("b", "/a/"), "wuasync.toml:4: folder: \"b\" has the path of \"a\""),
        (folder("a", "/a"), folder("b", "/a/b"), "wuasync.toml:4: folder: \"b\" lies inside \"a\" (/a)"),
        (folder("b", "/a/b"), folder("a", "/a"), "wuasync.toml:1: folder: \"b\" lies inside \"a\" (/a)"),
        (
            folder("a", "/a"),
            folder("b", "/b") + "staging = \"/a/s\"",
            "wuasync.toml:4: folder: the staging of \"b\" (/a/s) lies inside \"a\"",
        ),
    ] {
        assert_eq!(errors(&(first + &second)), expected);
    }
    let neighbours = folder("a", "/a") + &folder("ab", "/ab") + "staging = \"/ab/.stfolder/wuasync\"";
    assert!(Files::new(&neighbours).load(&[]).is_ok());
}

#[test]
fn staging_in_the_open_part_of_its_own_folder_is_refused() {
    let text = "[[folder]]\nname = \"a\"\npath = \"/a\"\nstaging = \"/a/staging\"";
    assert_eq!(errors(text), "wuasync.toml:1: folder: the staging of \"a\" (/a/staging) lies inside \"a\"");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let found =
        errors("role = 1\nname = \"a b\"\n[limits]\nmax_flihgts = 1\ndisk_reserve = true\n[http]\nlisten = [1]");
    let lines: Vec<_> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, [1, 2, 4, 5, 7].map(|line| format!("wuasync.toml:{line}")));
}

#[test]
fn mistakes_in_several_files_name_their_files() {
    let files = Files::new("a = ").with("10.toml", "\nb = ");
    let found = files.load(&[]).unwrap_err();
    let lines: Vec<_> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["conf.d/10.toml:2", "wuasync.toml:1"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let files = Files::new("");
    fs::remove_file(files.path()).unwrap();
    assert!(files.load(&[]).unwrap_err().starts_with("wuasync.toml: can't be read: No such file"));
}

#[test]
fn a_host_name_that_can_not_be_taken_asks_for_a_name() {
    let error = Config::without_file(&[], "a b").unwrap_err().to_string();
    assert!(error.ends_with("set name"), "{error}");
    assert!(Config::without_file(&["name=\"a\"".to_owned()], "a b").is_ok());
}

#[test]
fn keys_without_effect_are_noted_where_they_differ_from_their_default() {
    let text = "mirror.max_size = \"1 GiB\"\ncleanup.grace = \"5d\"\njobs.pull = \"15m\"\ncleanup.trash = \"1d\"";
    assert_eq!(Files::new(text).load(&[]).unwrap().not_in_effect, ["mirror.max_size"]);
}

#[test]
fn a_control_socket_has_a_path_that_linux_takes() {
    let longest = format!("/{}", "c".repeat(99));
    assert!(Files::new(&format!("control = \"{longest}\"")).load(&[]).is_ok());
    let error = errors(&format!("control = \"{longest}c\""));
    assert_eq!(error, "wuasync.toml:1: control: a socket's path has at most 100 bytes");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n|[a-z=\\[\\]{}\"#.]){0,60}") {
        let place = error::Place::whole("x");
        if let Ok(tree) = node::parse(&text, &place) {
            let _ = Config::read(&tree, &place, "paris", &mut keys::Report::default());
        }
        let _ = node::parse_set(&text);
    }
}
