//! Questions to a local PostgreSQL by `psql`, which is on every machine that has one: read only, with an end, line by
//! line.

use std::{io, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// What WAPT calls its database, and who owns it.
const NAME: &str = "wapt";
/// Nothing is ever written, and no question takes for ever.
const OPTIONS: &str = "-c default_transaction_read_only=on -c statement_timeout=600000 -c client_encoding=UTF8";
/// Most bytes of what `psql` says that is told on.
const MAX_SAID: u64 = 1_000;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It could not be run.
    #[error("running psql")]
    Run(#[from] io::Error),
    /// What it said.
    #[error("the database says: {0}")]
    Said(String),
}

/// An answer that comes in.
pub(super) struct Answer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Asks the database behind the socket in `directory`; `variables` stand in the question as `:'name'`.
pub(super) async fn ask(directory: &Path, question: &str, variables: &[(&str, &str)]) -> Result<Answer, AskError> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password", "--field-separator=\t"]);
    psql.args(["--set=ON_ERROR_STOP=1", "--username", NAME, "--dbname", NAME, "--host"]).arg(directory);
    for (name, value) in variables {
        psql.arg(format!("--set={name}={value}"));
    }
    psql.env("PGOPTIONS", OPTIONS).env("PGCONNECT_TIMEOUT", "10").env("PGAPPNAME", "wuasync");
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = psql.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(format!("{question};\n").as_bytes()).await?;
    }
    let Some(stdout) = child.stdout.take() else { return Err(io::Error::other("psql has no output").into()) };
    Ok(Answer { child, lines: BufReader::new(stdout).lines() })
}

impl Answer {
    /// At most `most` further rows; none when all were told.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<String>, AskError> {
        let mut rows = Vec::new();
        while rows.len() < most {
            match self.lines.next_line().await? {
                Some(row) => rows.push(row),
                None => {
                    self.ended().await?;
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Every row.
    pub(super) async fn all(mut self) -> Result<Vec<String>, AskError> {
        self.next(usize::MAX).await
    }

    async fn ended(&mut self) -> Result<(), AskError> {
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(MAX_SAID).read_to_string(&mut said).await?;
        }
        if self.child.wait().await?.success() {
            return Ok(());
        }
        let shown: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Err(AskError::Said(shown))
    }
}
