use super::*;
use crate::{
    daemon::{config::given, setup::choices::choose},
    wapt::{agent_ini::AgentIni, server_ini::ServerIni},
};

const REPO_SYNC: &str = "[repo-sync]\nenable_remote_repo=True\n";

fn facts() -> Facts {
    Facts {
        host_name: "lyon".to_owned(),
        web_root: "/var/www".into(),
        config: "/etc/wuasync/wuasync.toml".into(),
        program: "/usr/bin/wuasync".into(),
        users: ["root".to_owned()].into(),
        groups: ["root".to_owned(), "www-data".to_owned()].into(),
        ..Facts::default()
    }
}

fn with_systemd(facts: Facts) -> Facts {
    let timers = ["refresh", "scan", "cleanup", "scrub", "pull"].map(|job| format!("wuasync-{job}.timer"));
    let units = timers.into_iter().chain([SOCKET.to_owned(), SERVICE.to_owned()]).collect();
    Facts { has_systemd: true, units, ..facts }
}

fn wapt_secondary(ini: &str) -> Facts {
    let mut facts = facts();
    facts.agent_ini = Some(AgentIni::parse(ini));
    facts.users.insert("wapt".to_owned());
    facts
}

fn there(user: &str) -> OnDisk {
    OnDisk { user: user.to_owned(), group: "www-data".to_owned(), mode: 0o750, is_directory: true, is_mount: false }
}

fn planned(facts: &Facts, wishes: &[(Key, &str)], on_disk: &[(&str, OnDisk)], wanted: &Wanted) -> SetupPlan {
    let wishes = wishes.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
    let choices = choose(facts, &wishes).unwrap();
    let on_disk = on_disk.iter().map(|(path, it)| (PathBuf::from(path), it.clone())).collect();
    plan(facts, &choices, &on_disk, wanted).unwrap()
}

/// Commands as they would be typed, and files by their paths.
fn lines(plan: &SetupPlan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::File { path, .. } => format!("write {}", path.display()),
        Step::Command { words, input: Input::None } => words.join(" "),
        Step::Command { words, input } => format!("{} < {input:?}", words.join(" ")),
    };
    plan.steps.iter().map(line).collect()
}

#[test]
fn a_bare_machine_gets_users_places_settings_units_and_its_parent_in_this_order() {
    let wanted = Wanted { token: true, ..Wanted::default() };
    let plan = planned(&with_systemd(facts()), &[(Key::Role, "secondary")], &[], &wanted);
    assert_eq!(
        lines(&plan),
        [
            "groupadd --system wuasync-admin",
            "useradd --system --user-group --no-create-home --home-dir /var/lib/wuasync --shell /usr/sbin/nologin wuasync",
            "install -d -o wuasync -g www-data -m 700 /var/lib/wuasync",
            "install -d -o wuasync -g www-data -m 750 /var/www/waptwua",
            "install -d -o wuasync -g www-data -m 750 /var/www/.wuasync",
            "write /etc/wuasync/wuasync.toml",
            "write /etc/wuasync/conf.d/setup.toml",
            "systemctl enable --now wuasync.socket wuasync.service wuasync-pull.timer wuasync-cleanup.timer wuasync-scrub.timer",
            "runuser -u wuasync -- /usr/bin/wuasync join - < Token",
        ]
    );
    assert!(plan.by_hand.is_empty() && plan.overrides.is_empty() && plan.found.is_empty());
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let first = planned(&with_systemd(facts()), &[(Key::Role, "secondary")], &[], &Wanted::default());
    let mut facts = with_systemd(facts());
    facts.users.insert("wuasync".to_owned());
    facts.groups.insert(ADMIN_GROUP.to_owned());
    facts.config_is_there = true;
    let own = &first.texts()[Path::new("/etc/wuasync/conf.d/setup.toml")];
    facts.own = given(own, Path::new("x")).unwrap();
    facts.own_text = Some(own.clone());
    facts.enabled = facts.units.clone();
    facts.active = facts.units.clone();
    let ours = || there("wuasync");
    let on_disk = [
        ("/var/lib/wuasync", ours()),
        ("/var/lib/wuasync/parent.toml", ours()),
        ("/var/www/waptwua", ours()),
        ("/var/www/.wuasync", ours()),
    ];
    let wanted = Wanted { token: true, ..Wanted::default() };
    let again = planned(&facts, &[], &on_disk, &wanted);
    assert_eq!(lines(&again), Vec::<String>::new());
    let changed = planned(&facts, &[(Key::Site, "Lyon")], &on_disk, &wanted);
    assert_eq!(lines(&changed), ["write /etc/wuasync/conf.d/setup.toml", "systemctl restart wuasync.service"]);
    assert!(changed.overrides.is_empty(), "its own file is its own");
}

#[test]
fn beside_wapt_it_runs_as_wapt_adopts_and_says_what_leaves_wapts_sync() {
    let on_disk = [("/var/www/waptwua", there("wapt")), ("/var/www/wapt", there("wapt"))];
    let plan = planned(&wapt_secondary(REPO_SYNC), &[], &on_disk, &Wanted::default());
    let lines = lines(&plan);
    assert!(lines.contains(&"install -d -o wapt -g www-data -m 700 /var/lib/wuasync".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.ends_with("/var/www/waptwua") || line.contains("useradd")), "{lines:?}");
    assert!(plan.found.iter().any(|line| line.contains("adopted where they lie")), "{:?}", plan.found);
    assert!(plan.by_hand[0].contains("`enable_remote_repo = False`"), "{:?}", plan.by_hand);
    assert!(
        plan.next[0].contains("runuser -u wapt -g www-data -G wuasync-admin -- /usr/bin/wuasync serve"),
        "{:?}",
        plan.next
    );
    assert!(plan.next.iter().any(|line| line.contains("wuasync pair invite lyon")), "{:?}", plan.next);
}

#[test]
fn waptwua_alone_leaves_the_folders_that_wapt_goes_on_to_sync() {
    let alone = [(Key::Folders, "waptwua=/var/www/waptwua")];
    let plan = planned(&wapt_secondary(REPO_SYNC), &alone, &[], &Wanted::default());
    assert!(plan.by_hand[0].contains("write `remote_repo_dirs = wapt`"), "{:?}", plan.by_hand);
    let only = wapt_secondary("[repo-sync]\nenable_remote_repo=True\nremote_repo_dirs=waptwua\n");
    let plan = planned(&only, &alone, &[], &Wanted::default());
    assert!(plan.by_hand[0].contains("`enable_remote_repo = False`"), "{:?}", plan.by_hand);
    let left = wapt_secondary("[repo-sync]\nenable_remote_repo=True\nremote_repo_dirs=wapt\n");
    assert!(planned(&left, &alone, &[], &Wanted::default()).by_hand.is_empty());
}

#[test]
fn a_main_seals_its_line_key_once_it_has_one() {
    let mut facts = wapt_secondary("");
    facts.server_ini = Some(ServerIni::default());
    let wanted = Wanted { passphrase: true, keys_file: "/root/k".into(), ..Wanted::default() };
    let seals = "/usr/bin/wuasync backup /root/k --keys-only --passphrase-file - < Passphrase";
    let with = lines(&planned(&with_systemd(facts.clone()), &[], &[], &wanted));
    assert_eq!(with.last().unwrap(), seals);
    assert!(with.contains(&"write /etc/systemd/system/wuasync.service.d/setup.conf".to_owned()), "{with:?}");
    assert!(with.contains(&"systemctl daemon-reload".to_owned()));
    let before_a_start = planned(&facts, &[], &[], &wanted);
    assert!(!lines(&before_a_start).contains(&seals.to_owned()));
    assert!(before_a_start.next.iter().any(|line| line.starts_with("keep the line key elsewhere")));
    let key = [("/var/lib/wuasync/keys/line", there("wapt"))];
    assert_eq!(lines(&planned(&facts, &[], &key, &wanted)).last().unwrap(), seals);
    let sealed = [("/var/lib/wuasync/keys/line", there("wapt")), ("/root/k", there("root"))];
    assert!(!lines(&planned(&facts, &[], &sealed, &wanted)).contains(&seals.to_owned()));
}

#[test]
fn what_somebody_wrote_is_overridden_only_openly() {
    let mut facts = facts();
    let text = "role = \"main\"\nname = \"a\"\n[[folder]]\nname = \"waptwua\"\npath = \"/x\"\n";
    facts.others = given(text, Path::new("/etc/wuasync/wuasync.toml")).unwrap();
    facts.config_is_there = true;
    assert!(planned(&facts, &[], &[], &Wanted::default()).overrides.is_empty());
    let wishes = [(Key::Name, "b"), (Key::Folders, "waptwua=/y")];
    let plan = planned(&facts, &wishes, &[], &Wanted::default());
    assert_eq!(
        plan.overrides,
        [
            "/etc/wuasync/wuasync.toml:2 says name = \"a\": \"b\" would count",
            "/etc/wuasync/wuasync.toml:5 says \"/x\" of folder waptwua: \"/y\" would count",
        ]
    );
    facts.own_text = Some("role = \"main\"\n# mine\n".to_owned());
    facts.own = given("role = \"main\"\n", Path::new("s")).unwrap();
    let plan = planned(&facts, &[], &[], &Wanted::default());
    assert!(plan.overrides[0].contains("changed by somebody"), "{:?}", plan.overrides);
    let kept = plan
        .steps
        .iter()
        .any(|step| matches!(step, Step::File { keep_as: Some(kept), .. } if kept.ends_with("setup.toml.before")));
    assert!(kept, "{:?}", plan.steps);
}

#[test]
fn what_can_not_be_is_refused_with_the_cure() {
    let refused = |facts: &Facts, wishes: &[(Key, &str)], on_disk: &[(&str, OnDisk)], wanted: &Wanted| {
        let wishes = wishes.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let on_disk = on_disk.iter().map(|(path, it)| (PathBuf::from(path), it.clone())).collect();
        plan(facts, &choose(facts, &wishes).unwrap(), &on_disk, wanted).unwrap_err()
    };
    let (main, secondary) = ([(Key::Role, "main")], [(Key::Role, "secondary")]);
    let (token, phrase) =
        (Wanted { token: true, ..Wanted::default() }, Wanted { passphrase: true, ..Wanted::default() });
    assert_eq!(refused(&facts(), &main, &[], &token), PlanError::TokenOfMain);
    assert_eq!(refused(&facts(), &secondary, &[], &phrase), PlanError::PassphraseOfSecondary);
    let file = OnDisk { is_directory: false, ..there("root") };
    let error = refused(&facts(), &main, &[("/var/www/waptwua", file)], &Wanted::default());
    assert_eq!(error, PlanError::NotADirectory("/var/www/waptwua".into()));
    let mut facts = facts();
    facts.others = given("[[folder]]\nname = \"wapt\"\npath = \"/w\"\n", Path::new("/f")).unwrap();
    let error = refused(&facts, &[(Key::Role, "main"), (Key::Folders, "waptwua=/x")], &[], &Wanted::default());
    assert!(error.to_string().starts_with("folder \"wapt\" is in /f:3"), "{error}");
}

#[test]
fn other_ports_than_the_sockets_leave_it_off_and_folders_elsewhere_are_made_writable() {
    let wishes = [(Key::Role, "main"), (Key::Listen, "127.0.0.1:8080"), (Key::Folders, "waptwua=/srv/waptwua")];
    let on_disk = [("/srv/waptwua", OnDisk { is_mount: true, ..there("root") })];
    let plan = planned(&with_systemd(facts()), &wishes, &on_disk, &Wanted::default());
    let lines = lines(&plan);
    assert!(!lines.iter().any(|line| line.contains(SOCKET) || line.contains("/srv/.wuasync")), "{lines:?}");
    let texts = plan.texts();
    assert!(texts[Path::new("/etc/systemd/system/wuasync.service.d/setup.conf")].contains("ReadWritePaths=/srv\n"));
    assert!(plan.by_hand[0].contains("`chown -R wuasync:www-data /srv/waptwua`"), "{:?}", plan.by_hand);
    assert!(plan.next.iter().any(|line| line.contains("wuasync config nginx")), "{:?}", plan.next);
    let mut facts = with_systemd(facts());
    facts.sockets.tcp.insert("0.0.0.0:443".parse().unwrap());
    let texts = planned(&facts, &[(Key::Role, "main")], &[], &Wanted::default()).texts();
    let socket = &texts[Path::new("/etc/systemd/system/wuasync.socket.d/setup.conf")];
    assert!(socket.ends_with("[Socket]\nListenStream=\nListenStream=80\n"), "{socket}");
}
