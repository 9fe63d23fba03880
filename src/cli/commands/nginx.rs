//! `wuasync config nginx`.

use crate::{
    cli::{context::Context, error::CliError, exit::Exit},
    daemon::{self, Beside},
};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who serves files that are there and can't change: nginx, or the daemon [default: nginx; beside a WAPT server, which
    /// writes files in place, the daemon]
    #[arg(long, value_name = "WHO", value_parser = ["nginx", "daemon"])]
    hits: Option<String>,
    /// Hosts have to show a certificate that nginx verified (`ssl_verify_client optional` in its server block) [default:
    /// as use_ssl_client_auth of a WAPT server says]
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    client_certificates: Option<bool>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    // What can't be read is no reason to let half-written files be served.
    let server = daemon::wapt_server(Path::new("/")).unwrap_or_else(|_| Some(Default::default()));
    let usual = Beside::usual(server.as_ref());
    let beside = Beside {
        serves_hits: args.hits.as_ref().map_or(usual.serves_hits, |hits| hits == "nginx"),
        client_certificates: args.client_certificates.unwrap_or(usual.client_certificates),
    };
    let snippet = daemon::nginx_snippet(&config, beside).map_err(|error| CliError::Usage(error.to_string()))?;
    for note in snippet.notes.iter().filter(|_| !context.out().is_json()) {
        context.out().note(&format!("note: {note}"));
    }
    context.out().answer(&snippet, |_| snippet.text.clone())?;
    Ok(Exit::Done)
}
