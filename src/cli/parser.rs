//! From arguments to an exit code.

use super::{commands::Command, context::Context, error::CliError, exit::Exit, out::Out};
use clap::Parser;
use std::{path::PathBuf, process::ExitCode};

/// Every option and command.
#[derive(Debug, Parser)]
#[command(
    name = "wuasync",
    version,
    about = "Keeps every site's copy of WAPT's waptwua folder right",
    after_help = "Exit codes: 0 done; 1 a check found something, or the work failed; 2 wrong usage or configuration; \
                  3 the daemon can't be reached; 4 refused (rights, trust, cap); 5 interrupted."
)]
pub struct Cli {
    /// The configuration [default: /etc/wuasync/wuasync.toml]; conf.d/*.toml beside it is read, too
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// The binary.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run().code(),
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            Out::new(true).json_error(error.to_string().trim_end(), Exit::Usage);
            Exit::Usage.code()
        }
        Err(error) => {
            // Nothing can be told where neither stream takes it.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() }
        }
    }
}

impl Cli {
    fn run(self) -> Exit {
        let context = Context::new(self.config, Out::new(self.json));
        match self.command.run(&context) {
            Ok(exit) => exit,
            Err(error) => report(&error, context.out()),
        }
    }
}

fn report(error: &CliError, out: &Out) -> Exit {
    if !error.is_reader_gone() {
        out.error(error);
    }
    error.exit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in [
            "wuasync --config x --json status",
            "wuasync status --config x --json",
            "wuasync --json pair list --config x",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.json && cli.config == Some(PathBuf::from("x")), "{line}");
        }
    }

    #[test]
    fn every_command_reads_its_arguments() {
        for line in [
            "serve --set a=1 --set b=2",
            "demo",
            "demo /tmp/x --once",
            "status --watch",
            "files list --folder waptwua --missing",
            "files show waptwua/x.cab",
            "want add --url http://h/x.cab",
            "want add --url http://h/x.cab --update 0fa1201d-4330-4fa8-8ae9-b877473b6441_204 --size 7 --folder waptwua",
            "want add --from x.json",
            "want list",
            "want scan",
            "wants list --conflicts",
            "want forget waptwua/x.cab",
            "want forget 0fa1201d-4330-4fa8-8ae9-b877473b6441_204",
            "cleanup",
            "cleanup --dry-run --unknown",
            "cleanup --free 20GiB --force",
            "cleanup undo",
            "hosts list --site Lyon --limit 5",
            "hosts show pc1 --state missing",
            "hosts enroll --uses 50 --expires 7d",
            "hosts approve 4c4c4544-0042-3510-8057-c7c04f4a4d32",
            "hosts revoke u",
            "hosts forget u",
            "hosts import x.json",
            "pair invite lyon --site Lyon --folder waptwua --folder wapt --address a:1 --address b:2 --via paris --expires 2h",
            "agent pull x.cab --from https://paris.example",
            "agent pull --wanted - --from http://a/wapt --from http://b --to /tmp --stall 2s --least-rate 1MiB",
            "repositories test 10.1.2.3",
            "repositories list",
            "repositories nearest 10.1.2.3 --file x.cab",
            "repositories nearest PC-7 --domain corp.example --site Lyon",
            "repositories distance lyon paris 5",
            "repositories distance lyon paris --unset",
            "repositories rules list",
            "repositories rules add lyon --to lyon --agent-ip 10.1.0.0/16 --no-fallback",
            "repositories rules add rest --to https://x.example/wapt --hostname PC* --not --sequence 5",
            "repositories rules move lyon 1",
            "repositories rules remove lyon",
            "pair list",
            "pair revoke lyon",
            "join TOKEN",
            "join -",
            "sync",
            "sync --wait",
            "sync accept-deletions",
            "check",
            "scrub --now",
            "scrub --now waptwua/x.cab",
            "scrub --now x.cab --folder waptwua",
            "cab info x.cab",
            "cab list x.cab --deep --json",
            "cab verify x.cab",
            "cab verify --root a.pem --root b.pem --tsa-root c.pem x.cab",
            "cab trust x.cab --yes",
            "cab history",
            "cab diff",
            "cab diff a.cab b.cab --all --json",
            "cab rollback --yes",
            "cab rollback --dry-run",
            "updates list --kb 5087058 --title cumulative --held=false --superseded --limit 0",
            "updates search KB5087058 --id 0fa1201d-4330-4fa8-8ae9-b877473b6441 --product x --severity low --held",
            "updates list --after 0fa1201d-4330-4fa8-8ae9-b877473b6441_204",
            "jobs list",
            "jobs run refresh-cab --due",
            "config check --set a=1",
            "config show",
            "completions bash",
            "man /tmp/x",
        ] {
            assert!(Cli::try_parse_from(std::iter::once("wuasync").chain(line.split(' '))).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "frobnicate",
            "files list --missing --unlisted",
            "files list --folder WAPT",
            "want add",
            "want add --url http://user:password@h/x.cab",
            "want add --url ftp://h/x.cab",
            "want add --url http://h/x.cab --from x.json",
            "want add --from x.json --size 7",
            "want add --url http://h/x.cab --update KB5",
            "want add --url http://h/x.cab --sha1 00",
            "want forget",
            "cleanup --free much",
            "cleanup --dry-run undo",
            "hosts",
            "hosts approve a/b",
            "hosts enroll --expires soon",
            "pair invite a/b",
            "pair invite lyon --expires soon",
            "pair invite lyon --expires 0s",
            "pair invite lyon --address paris",
            "repositories rules add x --to lyon",
            "repositories rules add x --to lyon --site a --domain b",
            "repositories distance lyon paris",
            "agent pull x.cab",
            "agent pull --from http://a",
            "join",
            "scrub",
            "scrub x.cab",
            "cab",
            "cab list",
            "cab verify",
            "cab verify --tsa-root c.pem x.cab",
            "cab trust",
            "cab diff a.cab",
            "cab rollback --yes --dry-run",
            "updates list --held false --after x",
            "jobs run",
            "completions cmd.exe",
        ] {
            let words = line.split(' ').filter(|word| !word.is_empty());
            assert!(Cli::try_parse_from(std::iter::once("wuasync").chain(words)).is_err(), "{line}");
        }
    }
}
