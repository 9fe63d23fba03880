//! Files that nobody has yet: fetched while hosts wait for them, beside nginx's `proxy_cache`.

use crate::{
    load::{Answer, Door, Hosts, Request},
    meter::{Meter, median, peak_memory},
    nginx::Nginx,
    plan::Plan,
    processes::{Node, immutable, noise},
};
use sha2::Digest;
use std::fs;

const HOST: &str = "dl.delivery.mp.microsoft.com";
const SETTINGS: &str = "[limits]\ndisk_reserve = \"0 GiB\"\n";
const GIGABYTE: u64 = 1_000_000_000;

/// How nginx fetches what it lacks: what its manual offers.
const MODES: [(&str, &str); 3] = [
    ("nginx, lock", "proxy_cache_lock on; proxy_cache_key $uri;"),
    (
        "nginx, long lock",
        "proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h; proxy_cache_key $uri;",
    ),
    (
        "nginx, slices",
        "proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h; slice 8m; \
         proxy_cache_key $uri$slice_range; proxy_set_header Range $slice_range;",
    ),
];

/// 50 hosts at once want one file that nobody has.
pub(crate) fn crowd(plan: &Plan) {
    let file = File::make(1, plan.scaled(GIGABYTE));
    let ask = |door: &Door| {
        let mut hosts = Hosts::connect(door, 50);
        hosts.ask(&[Request::whole(&file.name, file.size)], 50)
    };
    println!("50 hosts, one missing file of {} MB; medians of {} runs", file.size / 1_000_000, plan.runs);
    compare(plan, &file, &MODES, &ask);
}

/// One host wants a file that nobody has; of the main, and of a secondary of it.
pub(crate) fn alone(plan: &Plan) {
    let file = File::make(2, plan.scaled(GIGABYTE));
    let ask = |door: &Door| Hosts::connect(door, 1).ask(&[Request::whole(&file.name, file.size)], 1);
    println!("one host, one missing file of {} MB; medians of {} runs", file.size / 1_000_000, plan.runs);
    let nginx = compare(plan, &file, &MODES[..1], &ask);
    let through: Vec<_> = (0..plan.runs).map(|_| through_a_secondary(&file, &ask)).collect();
    row("main and secondary", &through, nginx);
}

/// One host wants the end of a file that nobody has.
pub(crate) fn tail(plan: &Plan) {
    let file = File::make(3, plan.scaled(GIGABYTE));
    let end = file.size.saturating_sub(1 << 20)..file.size;
    let ask = |door: &Door| Hosts::connect(door, 1).ask(&[Request::part(&file.name, end.clone())], 1);
    println!("the last megabyte of a missing file of {} MB; medians of {} runs", file.size / 1_000_000, plan.runs);
    compare(plan, &file, &MODES, &ask);
}

/// A thousand hosts read ten files while they come.
pub(crate) fn memory(plan: &Plan) {
    let files: Vec<_> = (10..20).map(|seed| File::make(seed, plan.scaled(20_000_000))).collect();
    let origin = origin(&files, "limit_rate 2m;");
    let main = main_of(&origin, &files);
    let requests: Vec<_> = files.iter().map(|file| Request::whole(&file.name, file.size)).collect();
    let door = Door { address: main.http(), tls: None };
    let before = peak_memory(main.pid());
    let answers = Hosts::connect(&door, 1_000).ask(&requests, 1_000);
    let memory = peak_memory(main.pid());
    println!("1,000 hosts, 10 missing files of {} MB that come with 2 MB/s", files[0].size / 1_000_000);
    println!(
        "  most memory {memory:.0} MB, before {before:.0} MB; first byte {:.1} ms, whole file {:.2} s",
        median(answers.iter().map(|answer| answer.first)) * 1e3,
        median(answers.iter().map(|answer| answer.last))
    );
    drop(main);
    let asked = asked(origin);
    println!("  origin: {} requests, {:.0} MB", asked.requests, asked.bytes as f64 / 1e6);
}

/// A file that only the origin has.
struct File {
    name: String,
    bytes: Vec<u8>,
    size: u64,
}

impl File {
    fn make(seed: u64, size: u64) -> Self {
        let bytes = noise(seed, size as usize);
        Self { name: immutable(&format!("kb{seed}"), &bytes), bytes, size }
    }
}

/// What the origin was asked for.
struct Asked {
    requests: usize,
    bytes: u64,
}

/// One contender's run.
struct Run {
    answers: Vec<Answer>,
    seconds: f64,
    cpu: f64,
    asked: Asked,
}

/// Serves files as Microsoft does.
fn origin(files: &[File], more: &str) -> Nginx {
    let log = "log_format asked '$body_bytes_sent'; access_log {here}/asked asked;";
    let origin = Nginx::start(log, &format!("root {{here}}/www; {more}"), None);
    let folder = origin.place.path().join("www/c/msdownload");
    fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|file| fs::write(folder.join(&file.name), &file.bytes).unwrap());
    origin
}

/// Whoever asked has to be gone.
fn asked(mut origin: Nginx) -> Asked {
    origin.finish();
    let text = fs::read_to_string(origin.place.path().join("asked")).unwrap();
    let bytes = text.lines().map(|line| line.parse::<u64>().unwrap()).sum();
    Asked { requests: text.lines().count(), bytes }
}

/// A proxy with an empty cache.
fn proxy(origin: &Nginx, mode: &str) -> Nginx {
    let http =
        "access_log off; proxy_cache_path {here}/cache levels=1:2 keys_zone=files:10m max_size=20g use_temp_path=off;";
    let server = format!(
        "location /waptwua/ {{ proxy_pass http://{}/c/msdownload/; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_cache files; proxy_cache_valid 200 206 1h; {mode} }}",
        origin.plain
    );
    Nginx::start(http, &server, None)
}

/// A main that knows of the files and has none of them.
fn main_of(origin: &Nginx, files: &[File]) -> Node {
    let upstream = format!("{SETTINGS}\n[upstream]\nresolve = {{\"{HOST}\" = \"{}\"}}\n", origin.plain);
    let main = Node::main("paris").with(&upstream).start();
    for File { name, bytes, size } in files {
        let sha256 = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes));
        let url = format!("http://{HOST}/c/msdownload/{name}");
        main.ok(&format!("want add --on-miss --url {url} --sha256 {sha256} --size {size}"));
    }
    main
}

type Ask<'a> = &'a dyn Fn(&Door) -> Vec<Answer>;

/// Each contender with an origin of its own and nothing cached, in turn; the best of nginx's times.
fn compare(plan: &Plan, file: &File, modes: &[(&str, &str)], ask: Ask<'_>) -> Option<f64> {
    let (mut own, mut theirs) = (vec![], vec![]);
    modes.iter().for_each(|_| theirs.push(vec![]));
    for _ in 0..plan.runs {
        own.push(of_main(file, ask));
        for ((_, mode), runs) in modes.iter().zip(&mut theirs) {
            runs.push(of_nginx(file, mode, ask));
        }
    }
    let best = theirs.iter().map(|runs| median(runs.iter().map(|run| run.seconds))).min_by(f64::total_cmp);
    row("wuasync", &own, best);
    for ((name, _), runs) in modes.iter().zip(&theirs) {
        row(name, runs, None);
    }
    best
}

fn of_main(file: &File, ask: Ask<'_>) -> Run {
    let origin = origin(std::slice::from_ref(file), "");
    let main = main_of(&origin, std::slice::from_ref(file));
    let run = timed(&Door { address: main.http(), tls: None }, &[main.pid()], ask);
    drop(main);
    run.with(origin)
}

fn through_a_secondary(file: &File, ask: Ask<'_>) -> Run {
    let origin = origin(std::slice::from_ref(file), "");
    let main = main_of(&origin, std::slice::from_ref(file));
    let lyon = Node::secondary("lyon").with(SETTINGS);
    lyon.joins(&main);
    let lyon = lyon.start();
    lyon.catches_up_with(&main);
    let run = timed(&Door { address: lyon.http(), tls: None }, &[main.pid(), lyon.pid()], ask);
    drop((lyon, main));
    run.with(origin)
}

fn of_nginx(file: &File, mode: &str, ask: Ask<'_>) -> Run {
    let origin = origin(std::slice::from_ref(file), "");
    let proxy = proxy(&origin, mode);
    let run = timed(&Door { address: proxy.plain, tls: None }, &proxy.workers(), ask);
    drop(proxy);
    run.with(origin)
}

fn timed(door: &Door, servers: &[u32], ask: Ask<'_>) -> Run {
    let meter = Meter::begin(servers);
    let answers = ask(door);
    let reading = meter.end(None);
    Run { answers, seconds: reading.seconds, cpu: reading.cpu, asked: Asked { requests: 0, bytes: 0 } }
}

impl Run {
    fn with(mut self, origin: Nginx) -> Self {
        self.asked = asked(origin);
        self
    }
}

/// Medians; the ratio is this time over nginx's.
fn row(name: &str, runs: &[Run], theirs: Option<f64>) {
    let of = |value: &dyn Fn(&Run) -> f64| median(runs.iter().map(value));
    let seconds = of(&|run| run.seconds);
    let first = of(&|run| median(run.answers.iter().map(|answer| answer.first)));
    let (requests, megabytes) = (of(&|run| run.asked.requests as f64), of(&|run| run.asked.bytes as f64 / 1e6));
    let ratio = theirs.map_or(String::new(), |theirs| format!("  {:.2} of nginx's best time", seconds / theirs));
    println!(
        "  {name:<18} {seconds:>7.3} s  first byte {:>8.1} ms  CPU {:>6.2} s  origin {requests:>3.0} requests {megabytes:>6.0} MB{ratio}",
        first * 1e3,
        of(&|run| run.cpu)
    );
}
