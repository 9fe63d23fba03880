//! `wuasync join`.

use crate::{
    cli::{
        client::{Client, ClientError},
        context::Context,
        error::CliError,
        exit::Exit,
        out::printable,
    },
    daemon::{
        self,
        api::{self, JoinReply, JoinRequest},
        config::Config,
    },
};
use std::io::Read;

/// Tokens are well below; more is no token.
const MAX_TOKEN_BYTES: u64 = 8 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `wuasync pair invite` printed; - reads it from standard input
    token: String,
    /// Follow the token's line even where this node followed another; its files stay
    #[arg(long)]
    adopt_line: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, CliError> {
    let token = if args.token == "-" { token_from(std::io::stdin().lock())? } else { args.token };
    let config = context.config_or_defaults(&[])?;
    let reply = join(&config, token, args.adopt_line).await?;
    context.out().answer(&reply, |_| {
        let (name, parent) = (printable(&reply.name), printable(&reply.parent));
        format!("this node is {name:?} and follows {parent} (line {})", printable(&reply.line))
    })?;
    Ok(Exit::Done)
}

async fn join(config: &Config, token: String, adopt_line: bool) -> Result<JoinReply, CliError> {
    match Client::connect(config).await {
        Ok(mut client) => Ok(client.post(api::JOIN, &JoinRequest { token, adopt_line }).await?),
        Err(ClientError::NotRunning { .. }) => Ok(daemon::join_offline(config, &token, adopt_line).await?),
        Err(error) => Err(error.into()),
    }
}

/// The last line with something on it: what `pair invite` printed may be piped as it is.
fn token_from(from: impl Read) -> Result<String, CliError> {
    let mut text = String::new();
    from.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(CliError::Input)?;
    let token = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    token.map(str::to_owned).ok_or_else(|| CliError::Usage("standard input holds no token".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_last_line_of_what_is_piped() {
        assert_eq!(token_from("notes\n  TOKEN \n\n".as_bytes()).unwrap(), "TOKEN");
        assert!(matches!(token_from(" \n".as_bytes()), Err(CliError::Usage(_))));
        assert!(matches!(token_from(&b"\xff"[..]), Err(CliError::Input(_))));
    }

    #[test]
    fn endless_input_is_cut() {
        assert_eq!(token_from(std::io::repeat(b'x')).unwrap().len() as u64, MAX_TOKEN_BYTES);
    }
}
