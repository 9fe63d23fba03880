//! The two daemons.

use super::http::path_of;
use crate::{
    base::clock::{Clock, SystemClock},
    cli::{client::Client, error::CliError},
    daemon::{
        Ready,
        api::{self, FileReport, StatusReport},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a daemon may take to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the system may take to end a process that is killed: longer where it waits for a disk.
const KILLED: Duration = Duration::from_secs(5);

/// One daemon in a directory of its own.
pub(super) struct Node {
    /// What it said when it was ready.
    pub(super) ready: Ready,
    /// Its mirrored folder.
    pub(super) folder: PathBuf,
    /// Its configuration file.
    pub(super) config: PathBuf,
    daemon: Daemon,
    client: Client,
}

/// A process that never outlives the demonstration: dropping it kills it and waits for its end, so
/// that nothing is written any more when its directory goes.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.0.start_kill().is_err() {
            return;
        }
        let killed = SystemClock.monotonic();
        while matches!(self.0.try_wait(), Ok(None)) && SystemClock.monotonic() - killed < KILLED {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Node {
    /// Writes its configuration and starts it.
    pub(super) async fn start(place: &Path, name: &str, role: &str) -> Result<Self, CliError> {
        let place = place.join(name);
        let folder = folder_in(&place);
        let config = place.join("wuasync.toml");
        let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", place.display()));
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(&config, configuration(&place, &folder, name, role)).map_err(failed)?;
        let log = fs::File::create(place.join("log")).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut daemon = Daemon(child);
        let ready = read_ready(&mut daemon.0).await;
        let Some(ready) = ready else {
            let log = fs::read_to_string(place.join("log")).unwrap_or_default();
            return Err(CliError::Failed(format!("the daemon {name} did not come up:\n{log}")));
        };
        let client = Client::at(&ready.control).await?;
        Ok(Self { ready, folder, config, daemon, client })
    }

    /// Asks for its status.
    pub(super) async fn status(&mut self) -> Result<StatusReport, CliError> {
        Ok(self.client.get(api::STATUS).await?)
    }

    /// Whether it has a file, whole.
    pub(super) async fn holds(&mut self, name: &str) -> Result<bool, CliError> {
        let file: FileReport = self.client.get(&format!("{}{}", api::FILES, path_of(name))).await?;
        Ok(file.held)
    }

    /// Gives it a command.
    pub(super) async fn post<B, T>(&mut self, path: &str, body: &B) -> Result<T, CliError>
    where
        B: serde::Serialize,
        T: serde::de::DeserializeOwned,
    {
        Ok(self.client.post(path, body).await?)
    }

    /// Most memory that it had resident so far, in bytes.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.0.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Ends it in good order; `false` if it had to be killed or failed.
    pub(super) async fn stop(mut self) -> bool {
        let pid = self.daemon.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        match timeout(PATIENCE, self.daemon.0.wait()).await {
            Ok(Ok(status)) => status.success(),
            _ => false,
        }
    }
}

/// Where a node's mirrored folder is.
pub(super) fn folder_in(place: &Path) -> PathBuf {
    place.join("www/waptwua")
}

fn configuration(place: &Path, folder: &Path, name: &str, role: &str) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    format!(
        "role = \"{role}\"\nname = \"{name}\"\nstate_dir = {}\ncontrol = {}\n\n[[folder]]\nname = \"waptwua\"\npath = {}\n\n\
         [http]\nlisten = [\"127.0.0.1:0\"]\n\n[admin]\nlisten = [\"127.0.0.1:0\"]\n\n[sync]\nlisten = \"127.0.0.1:0\"\n\n\
         [upstream]\nenabled = false\n",
        quoted(&place.join("state")),
        quoted(&place.join("control.sock")),
        quoted(folder),
    )
}

async fn read_ready(child: &mut Child) -> Option<Ready> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.ok()?.ok()??;
    serde_json::from_str(&line).ok()
}
