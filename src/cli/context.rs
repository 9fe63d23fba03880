//! What every command stands on: the configuration, the way to the daemon, a runtime.

use super::{client::Client, error::CliError, exit::Exit, out::Out};
use crate::daemon::{
    ReadConfig,
    config::{Config, DEFAULT_PATH},
};
use std::{
    future::Future,
    path::{Path, PathBuf},
};

/// The global options, and what follows from them.
#[derive(Debug)]
pub(super) struct Context {
    config: Option<PathBuf>,
    out: Out,
}

impl Context {
    pub(super) fn new(config: Option<PathBuf>, out: Out) -> Self {
        Self { config, out }
    }

    pub(super) fn out(&self) -> &Out {
        &self.out
    }

    /// Where the configuration is.
    pub(super) fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }

    /// What the kernel calls this machine.
    pub(super) fn host_name(&self) -> String {
        host_name()
    }

    /// The configuration; its file must be there.
    pub(super) fn config(&self, sets: &[String]) -> Result<Config, CliError> {
        Ok(Config::load(self.config_path(), sets, &host_name())?)
    }

    /// Reads the configuration each time it is called.
    pub(super) fn read_config(&self, sets: &[String]) -> ReadConfig {
        let (path, sets) = (self.config_path().to_owned(), sets.to_owned());
        Box::new(move || Config::load(&path, &sets, &host_name()))
    }

    /// The configuration; without `--config`, and where no file was written yet, the defaults.
    pub(super) fn config_or_defaults(&self, sets: &[String]) -> Result<Config, CliError> {
        if self.config.is_none() && !Path::new(DEFAULT_PATH).exists() {
            return Ok(Config::without_file(sets, &host_name())?);
        }
        self.config(sets)
    }

    /// The daemon of this configuration.
    pub(super) async fn client(&self) -> Result<Client, CliError> {
        Ok(Client::connect(&self.config_or_defaults(&[])?).await?)
    }

    /// Runs a command that waits for the daemon, or for Ctrl-C.
    pub(super) fn wait_for(&self, work: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
        runtime.block_on(async {
            tokio::select! {
                result = work => result,
                interrupt = tokio::signal::ctrl_c() => match interrupt {
                    Ok(()) => Err(CliError::Interrupted),
                    Err(error) => Err(CliError::Runtime(error)),
                },
            }
        })
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
