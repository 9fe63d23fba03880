//! What the demonstration does, in order, and what it says about it.

use super::{
    http::{Fetched, fetch, path_of},
    nodes::{Node, folder_in},
    tree::{self, Tree},
};
use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{error::CliError, exit::Exit, out::Out, progress::bytes_bar},
    daemon::api::{self, InviteReply, InviteRequest, JoinReply, JoinRequest, StatusReport},
    domain::{member::NodeName, name::FileName},
};
use indicatif::ProgressBar;
use serde::Serialize;
use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The file that is dropped while everything runs.
const DROPPED_BYTES: usize = 10_000_000;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// A host asks again this often for the dropped file; it bounds how exactly the time is known.
const ASK: Duration = Duration::from_millis(4);
/// Nothing moved for this long: something is wrong.
const STALLED: Duration = Duration::from_secs(120);

/// The findings, for `--json`.
#[derive(Debug, Serialize)]
struct Findings {
    files: u64,
    bytes: u64,
    left_alone: u64,
    adopted_seconds: f64,
    mirrored_seconds: f64,
    megabytes_per_second: f64,
    files_checked: u64,
    dropped_bytes: u64,
    dropped_milliseconds: u64,
    main_peak_memory_bytes: u64,
    secondary_peak_memory_bytes: u64,
    ok: bool,
}

/// Tells it.
pub(super) async fn tell(folder: Option<&Path>, once: bool, out: &Out) -> Result<Exit, CliError> {
    let mut stop = Stop::listen().map_err(CliError::Runtime)?;
    let place = tempfile::Builder::new().prefix("wuasync-demo-").tempdir();
    let place = place.map_err(|error| CliError::Failed(format!("no temporary directory: {error}")))?;
    let told = perform(place.path(), folder, once, &mut stop, out).await;
    place.close().map_err(|error| CliError::Failed(format!("the temporary directory stays: {error}")))?;
    told
}

async fn perform(
    place: &Path,
    folder: Option<&Path>,
    once: bool,
    stop: &mut Stop,
    out: &Out,
) -> Result<Exit, CliError> {
    let stage = tokio::select! {
        // First: Ctrl-C in a terminal reaches the daemons, too, and their end is no failure then.
        biased;
        () = stop.told() => return Err(CliError::Interrupted),
        shown = show(place, folder, out) => shown?,
    };
    if once {
        return stage.end(Some(out)).await;
    }
    stage.say_what_next(out)?;
    stop.told().await;
    out.note("stopping");
    stage.end(None).await
}

/// Ctrl-C, and what `kill` sends.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Two nodes that run, and what was found.
struct Stage {
    main: Node,
    secondary: Node,
    findings: Findings,
    /// The path of a file that both serve.
    served: String,
}

async fn show(place: &Path, folder: Option<&Path>, out: &Out) -> Result<Stage, CliError> {
    let tree = prepare(place, folder, out).await?;
    let begun = SystemClock.monotonic();
    let mut main = Node::start(place, "paris", "main").await?;
    let mut secondary = Node::start(place, "lyon", "secondary").await?;
    out.note(&format!(
        "main `paris` and secondary `lyon` run (ready after {}); lyon joins with a token",
        units::duration(since(begun))
    ));
    join(&mut main, &mut secondary).await?;
    let Mirrored { adopted, mirrored, left_alone } = watch(&mut main, &mut secondary, &tree, begun).await?;
    let rate = tree.bytes as f64 / mirrored.as_secs_f64() / 1e6;
    out.note(&format!(
        "adopted {} files ({}) after {}, mirrored and verified after {}: {rate:.0} MB/s from start to end",
        tree.files,
        units::bytes(tree.bytes),
        units::duration(adopted),
        units::duration(mirrored)
    ));
    if left_alone > 0 {
        out.note(&format!("left alone, for they are incomplete or can't be read: {left_alone}"));
    }
    let checked = check_samples(&mut main, &secondary, &tree, out).await?;
    let (dropped, served) = drop_file(&main, &secondary).await?;
    out.note(&format!(
        "dropped a file of {} at the main: a host had it from the secondary, whole, {} ms after it was written",
        units::bytes(DROPPED_BYTES as u64),
        dropped.as_millis()
    ));
    let findings = Findings {
        files: tree.files,
        bytes: tree.bytes,
        left_alone,
        adopted_seconds: adopted.as_secs_f64(),
        mirrored_seconds: mirrored.as_secs_f64(),
        megabytes_per_second: rate,
        files_checked: checked,
        dropped_bytes: DROPPED_BYTES as u64,
        dropped_milliseconds: dropped.as_millis() as u64,
        main_peak_memory_bytes: main.peak_memory().unwrap_or(0),
        secondary_peak_memory_bytes: secondary.peak_memory().unwrap_or(0),
        ok: true,
    };
    out.note(&format!(
        "memory at most: main {}, secondary {}",
        units::bytes(findings.main_peak_memory_bytes),
        units::bytes(findings.secondary_peak_memory_bytes)
    ));
    Ok(Stage { main, secondary, findings, served })
}

impl Stage {
    /// Stops both, and answers where there is somebody to answer to.
    async fn end(self, out: Option<&Out>) -> Result<Exit, CliError> {
        let Self { main, secondary, mut findings, .. } = self;
        findings.ok = secondary.stop().await & main.stop().await;
        let sentence = |ok| if ok { "all is well" } else { "a daemon did not stop well" };
        out.map_or(Ok(()), |out| out.answer(&findings, |_| sentence(findings.ok).to_owned()))?;
        Ok(if findings.ok { Exit::Done } else { Exit::Failed })
    }

    fn say_what_next(&self, out: &Out) -> Result<(), CliError> {
        let Self { main, secondary, findings, served } = self;
        if out.is_json() {
            return out.json(findings);
        }
        let urls =
            |node: &Node| node.ready.http.iter().map(|at| format!("http://{at}{served}")).collect::<Vec<_>>().join(" ");
        let program = std::env::current_exe().map_or_else(|_| "wuasync".to_owned(), |path| path.display().to_string());
        out.text(&format!(
            "\nBoth run until Ctrl-C.\n\
         \n  main       {}  folder {}\n  secondary  {}  folder {}\n\
         \nTry, in another terminal:\n\
         \n  {program} status --watch --config {}\
         \n  cp SOMETHING {}/\
         \n  {program} files list --config {}\
         \n  {program} check --config {}\n",
            urls(main),
            main.folder.display(),
            urls(secondary),
            secondary.folder.display(),
            secondary.config.display(),
            main.folder.display(),
            secondary.config.display(),
            secondary.config.display(),
        ))
    }
}

async fn prepare(place: &Path, folder: Option<&Path>, out: &Out) -> Result<Tree, CliError> {
    let to = folder_in(&place.join("paris"));
    fs::create_dir_all(&to).map_err(|error| CliError::Failed(format!("{}: {error}", to.display())))?;
    let tree = match folder {
        Some(folder) => tree::adopt(folder, &to).await?,
        None => tree::make_up(&to)?,
    };
    let from = folder.map_or("made up".to_owned(), |folder| format!("from {}", folder.display()));
    out.note(&format!("{} files, {}, {from}, in {}", tree.files, units::bytes(tree.bytes), place.display()));
    if tree.left_out > 0 {
        out.note(&format!("{} entries can't be mirrored (links, hidden or odd names) and stay behind", tree.left_out));
    }
    Ok(tree)
}

async fn join(main: &mut Node, secondary: &mut Node) -> Result<(), CliError> {
    let name = NodeName::new("lyon").map_err(|error| CliError::Failed(error.to_string()))?;
    let request =
        InviteRequest { name, site: None, folders: vec![], addresses: vec![], expires_seconds: 600, via: None };
    let InviteReply { token } = main.post(api::INVITE, &request).await?;
    let _: JoinReply = secondary.post(api::JOIN, &JoinRequest { token, adopt_line: false }).await?;
    Ok(())
}

/// When adoption and mirroring ended, and how many files the main does not publish.
struct Mirrored {
    adopted: Duration,
    mirrored: Duration,
    left_alone: u64,
}

fn since(begun: Instant) -> Duration {
    SystemClock.monotonic() - begun
}

/// Watches until the secondary holds what the main has.
async fn watch(main: &mut Node, secondary: &mut Node, tree: &Tree, begun: Instant) -> Result<Mirrored, CliError> {
    let bar = bytes_bar("mirroring".to_owned());
    bar.set_length(tree.bytes);
    let mut adopted = None;
    let mut seen = (0, SystemClock.monotonic());
    loop {
        let (at_main, at_secondary) = (main.status().await?, secondary.status().await?);
        let held = held_bytes(&at_secondary);
        move_bar(&bar, &at_main, held);
        let left_alone = left_alone(&at_main);
        if indexed(&at_main) + left_alone >= tree.files {
            adopted.get_or_insert_with(|| since(begun));
        }
        if let Some(adopted) = adopted.filter(|_| is_same(&at_main, &at_secondary)) {
            bar.finish_and_clear();
            return Ok(Mirrored { adopted, mirrored: since(begun), left_alone });
        }
        let moved = held + indexed(&at_main) + hashed(&at_main);
        if moved != seen.0 {
            seen = (moved, SystemClock.monotonic());
        } else if since(seen.1) > STALLED {
            bar.abandon();
            return Err(CliError::Failed(stalled(&at_main, &at_secondary)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn move_bar(bar: &ProgressBar, at_main: &StatusReport, held: u64) {
    bar.set_position(held);
    let adopting = at_main.folders.iter().find_map(|folder| folder.adopting);
    bar.set_message(adopting.map_or_else(String::new, |progress| {
        format!("main hashes {} of {} files", progress.done_files, progress.total_files)
    }));
}

fn is_same(main: &StatusReport, secondary: &StatusReport) -> bool {
    let missing: u64 = secondary.folders.iter().map(|folder| folder.missing_files).sum();
    (main.state.epoch, main.state.seq) == (secondary.state.epoch, secondary.state.seq) && missing == 0
}

fn indexed(status: &StatusReport) -> u64 {
    status.folders.iter().map(|folder| folder.files).sum()
}

fn left_alone(status: &StatusReport) -> u64 {
    status.folders.iter().map(|folder| folder.incomplete + folder.refused).sum()
}

fn held_bytes(status: &StatusReport) -> u64 {
    let held: u64 = status.folders.iter().map(|folder| folder.held_bytes).sum();
    held + status.transfers.iter().map(|transfer| transfer.done_bytes).sum::<u64>()
}

fn hashed(status: &StatusReport) -> u64 {
    status.folders.iter().filter_map(|folder| folder.adopting).map(|progress| progress.done_bytes).sum()
}

fn stalled(main: &StatusReport, secondary: &StatusReport) -> String {
    let attention: Vec<_> =
        main.attention.iter().chain(&secondary.attention).map(|report| report.what.clone()).collect();
    format!(
        "nothing moved for {}: the main knows {} files, the secondary lacks {}; {}",
        units::duration(STALLED),
        indexed(main),
        secondary.folders.iter().map(|folder| folder.missing_files).sum::<u64>(),
        if attention.is_empty() { "nobody says why".to_owned() } else { attention.join("; ") }
    )
}

/// Fetches some files from the secondary as a host would, and compares them with the main's.
async fn check_samples(main: &mut Node, secondary: &Node, tree: &Tree, out: &Out) -> Result<u64, CliError> {
    let Some(from) = secondary.ready.http.first() else { return Ok(0) };
    let mut checked = 0;
    for name in &tree.samples {
        if !main.holds(name.as_str()).await? {
            continue;
        }
        let path = main.folder.join(name.as_str());
        let wanted = hash_file(&path).map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let fetched = fetch(*from, &path_of(name.as_str())).await;
        let fetched = fetched.map_err(|error| CliError::Failed(format!("fetching {name}: {error}")))?;
        if fetched != Some(wanted) {
            return Err(CliError::Failed(format!("the secondary does not serve {name} as the main has it")));
        }
        checked += 1;
    }
    out.note(&format!("{checked} files fetched from the secondary over HTTP are what the main has"));
    Ok(checked)
}

fn hash_file(path: &Path) -> io::Result<Fetched> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(Fetched { bytes, root: hasher.finalize() })
}

/// Drops a file at the main; answers with how long it took until a host had all of it from the
/// secondary, and with its path there.
async fn drop_file(main: &Node, secondary: &Node) -> Result<(Duration, String), CliError> {
    let Some(from) = secondary.ready.http.first() else { return Ok((Duration::ZERO, String::new())) };
    let bytes = tree::noise(u64::MAX, DROPPED_BYTES);
    let wanted = Fetched { bytes: bytes.len() as u64, root: blake3::hash(&bytes) };
    let name: FileName = tree::update(&main.folder, "windows11.0-kb5099999-x64", &bytes)
        .map_err(|error| CliError::Failed(format!("dropping a file: {error}")))?;
    let written = SystemClock.monotonic();
    let path = path_of(name.as_str());
    while since(written) < STALLED {
        let fetched =
            fetch(*from, &path).await.map_err(|error| CliError::Failed(format!("fetching {name}: {error}")))?;
        match fetched {
            Some(fetched) if fetched == wanted => return Ok((since(written), path)),
            Some(_) => return Err(CliError::Failed(format!("the secondary serves {name} wrongly"))),
            None => tokio::time::sleep(ASK).await,
        }
    }
    Err(CliError::Failed(format!("the secondary did not get {name}")))
}
