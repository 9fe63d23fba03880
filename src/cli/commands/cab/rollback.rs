//! `wuasync cab rollback`.

use super::confirm::confirmed;
use crate::{
    base::units,
    cli::{context::Context, error::CliError, exit::Exit, progress},
    daemon::api::{self, CabinetReport, EditionReport, RollBackReply, RollBackRequest},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be published
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let out = context.out();
    let mut ask = async |only_look| {
        let spinner = progress::spinner("proving and reading the edition that is kept");
        let reply = client.post::<_, RollBackReply>(api::ROLL_BACK, &RollBackRequest { only_look }).await;
        spinner.finish_and_clear();
        reply
    };
    if !args.yes {
        let would = ask(true).await?;
        if args.dry_run {
            out.answer(&would, |_| page(&would))?;
            return Ok(Exit::Done);
        }
        if !out.is_json() {
            out.text(&page(&would))?;
        }
        if !confirmed(context, "Take the published edition back, here and at every site? [yes]")? {
            out.answer(&would, |_| "nothing was changed; add --yes".to_owned())?;
            return Ok(Exit::Refused);
        }
    }
    let done = ask(false).await?;
    out.answer(&done, |_| page(&done))?;
    Ok(Exit::Done)
}

fn page(reply: &RollBackReply) -> String {
    let RollBackReply { from, to, withdrawn, published, done } = reply;
    let lines = match done {
        true => [
            "taken back",
            "published",
            "\nMicrosoft's edition is published again when it is another one, or by `wuasync refresh --force`",
        ],
        false => ["would be taken back", "would be published", ""],
    };
    format!("{}: {}\n{}: {}{}\n", lines[0], told(*from, withdrawn), lines[1], told(*to, published), lines[2])
}

fn told(edition: Option<EditionReport>, cab: &CabinetReport) -> String {
    let cab_date = units::date(cab.modified).unwrap_or_default();
    let cabinet = format!("the cabinet of {cab_date} ({})", units::bytes(cab.size));
    match edition {
        Some(edition) => {
            let created = units::date(edition.created).unwrap_or_default();
            format!("the edition of {created} with {} updates, {cabinet}", edition.updates)
        }
        None => cabinet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Root;

    #[test]
    fn both_editions_are_named_and_whether_it_was_done() {
        let edition = EditionReport {
            package_id: None,
            created: 0,
            cab_modified: None,
            root: Root([0; 32]),
            updates: 7,
            files: 1,
            indexed_at: 0,
        };
        let cabinet = |modified| CabinetReport { size: 1_024, modified };
        let reply = RollBackReply {
            from: None,
            to: Some(edition),
            withdrawn: cabinet(86_400),
            published: cabinet(0),
            done: false,
        };
        let expected = "would be taken back: the cabinet of 1970-01-02 00:00Z (1.0 KiB)\nwould be published: the edition \
                        of 1970-01-01 00:00Z with 7 updates, the cabinet of 1970-01-01 00:00Z (1.0 KiB)\n";
        assert_eq!(page(&reply), expected);
        let done = page(&RollBackReply { done: true, ..reply });
        assert!(done.starts_with("taken back: ") && done.ends_with("`wuasync refresh --force`\n"), "{done}");
    }
}
