//! `wuasync updates search` and `wuasync updates show`.

use crate::{
    base::units,
    cli::{client::percent_encoded, context::Context, error::CliError, exit::Exit, out::printable, table::Table},
    daemon::api::{self, UpdateStory, UpdatesReply},
    domain::{edition::EditionUpdate, update::UpdateId},
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Updates {
    /// Find updates of the published edition
    #[command(visible_alias = "list")]
    Search(SearchArgs),
    /// Show one update, with its files
    Show {
        /// UpdateID and RevisionNumber
        #[arg(value_name = "GUID_REV")]
        id: UpdateId,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SearchArgs {
    /// An article (KB5087058), an UpdateID, or words of a title
    text: Vec<String>,
    /// An article, with or without KB
    #[arg(long)]
    kb: Option<String>,
    /// An UpdateID, with or without its revision
    #[arg(long, value_name = "GUID[_REV]")]
    id: Option<String>,
    /// Words of a title
    #[arg(long)]
    title: Option<String>,
    /// A product, or a part of its name
    #[arg(long)]
    product: Option<String>,
    /// SecurityUpdates, CriticalUpdates, UpdateRollups, ServicePacks, Updates, DefinitionUpdates or FeaturePacks
    #[arg(long)]
    classification: Option<String>,
    /// Critical, Important, Moderate or Low
    #[arg(long)]
    severity: Option<String>,
    /// Only those that others took the place of, or (--superseded=false) only the others
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    superseded: Option<bool>,
    /// Only those whose files are all here, or (--held=false) only those of which some are not
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    held: Option<bool>,
    /// Only those after this one, in the order of their ids: the last one that was shown
    #[arg(long, value_name = "GUID_REV")]
    after: Option<UpdateId>,
    /// At most so many; 0 shows all
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Updates that are asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn run(command: &Updates, context: &Context) -> Result<Exit, CliError> {
    match command {
        Updates::Search(args) => search(args, context).await,
        Updates::Show { id } => show(*id, context).await,
    }
}

async fn search(args: &SearchArgs, context: &Context) -> Result<Exit, CliError> {
    let (mut client, out) = (context.client().await?, context.out());
    let most = if args.limit == 0 { u32::MAX } else { args.limit };
    let (mut after, mut shown, mut more) = (args.after, 0, true);
    while more && shown < most {
        let limit = PAGE.min(most - shown);
        let reply: UpdatesReply = client.get(&query(args, after, limit)).await?;
        if out.is_json() {
            reply.updates.iter().try_for_each(|update| out.json(update))?;
        } else if !reply.updates.is_empty() {
            let mut table = Table::new(&["UPDATE", "KB", "SEVERITY", "TITLE"]);
            reply.updates.iter().for_each(|update| table.row(row(update)));
            out.text(&if shown == 0 { table.show(out.style(), "") } else { table.show_rows() })?;
        }
        more = reply.more && !reply.updates.is_empty();
        shown += u32::try_from(reply.updates.len()).unwrap_or(u32::MAX);
        after = reply.updates.last().map(|last| last.id).or(after);
    }
    if let Some(last) = after.filter(|_| more) {
        out.note(&format!(
            "there are more: --after {last} shows the next, --limit 0 all; or say more of what is meant"
        ));
    }
    if shown == 0 && !out.is_json() {
        out.text("nothing found\n")?;
    }
    Ok(if shown == 0 { Exit::Failed } else { Exit::Done })
}

fn query(args: &SearchArgs, after: Option<UpdateId>, limit: u32) -> String {
    let text = (!args.text.is_empty()).then(|| args.text.join(" "));
    let mut query = format!("{}?limit={limit}", api::UPDATES);
    for (key, value) in [
        ("text", text),
        ("kb", args.kb.clone()),
        ("id", args.id.clone()),
        ("title", args.title.clone()),
        ("product", args.product.clone()),
        ("classification", args.classification.clone()),
        ("severity", args.severity.clone()),
        ("superseded", args.superseded.map(|superseded| superseded.to_string())),
        ("held", args.held.map(|held| held.to_string())),
        ("after", after.map(|after| after.to_string())),
    ] {
        if let Some(value) = value {
            query.push_str(&format!("&{key}={}", percent_encoded(&value)));
        }
    }
    query
}

fn row(update: &EditionUpdate) -> [String; 4] {
    let kbs: Vec<_> = update.kbs.iter().map(ToString::to_string).collect();
    let severity = update.severity.map_or("", |severity| severity.as_str());
    [update.id.to_string(), kbs.join(" "), severity.to_owned(), printable(title(update))]
}

fn title(update: &EditionUpdate) -> &str {
    update.titles.first().map_or("", |title| &title.text)
}

async fn show(id: UpdateId, context: &Context) -> Result<Exit, CliError> {
    let story: UpdateStory = context.client().await?.get(&api::path_of(id)).await?;
    context.out().answer(&story, |style| {
        let UpdateStory { update, files } = &story;
        let mut page = format!("{}\n", style.bold(&printable(title(update))));
        let mut line = |what: &str, text: String| {
            if !text.is_empty() {
                page.push_str(&format!("{what:<15}{}\n", printable(&text)));
            }
        };
        let joined = |list: Vec<String>| list.join(", ");
        line("update", update.id.to_string());
        line("articles", joined(update.kbs.iter().map(ToString::to_string).collect()));
        line("severity", update.severity.map_or(String::new(), |severity| severity.as_str().to_owned()));
        line("classification", update.classification().map_or(String::new(), |known| known.to_string()));
        line(
            "products",
            joined(update.products().filter_map(|product| product.name.as_deref().map(str::to_owned)).collect()),
        );
        line("bulletins", joined(update.bulletins.clone()));
        line("cves", joined(update.cves.clone()));
        line("superseded by", joined(update.superseded_by.iter().map(ToString::to_string).collect()));
        line("in bundles", joined(update.bundled_by.iter().map(ToString::to_string).collect()));
        let mut table = Table::new(&["HERE", ">SIZE", "FILE"]);
        for file in files {
            let size = file.size.map(units::bytes).unwrap_or_default();
            let name = file.name.clone().unwrap_or_else(|| "(no address)".to_owned());
            table.row([if file.is_held { "yes" } else { "no" }.to_owned(), size, name]);
        }
        let table = if files.is_empty() { "no files\n".to_owned() } else { table.show(style, "") };
        format!("{page}\n{table}")
    })?;
    Ok(Exit::Done)
}
