//! `wuasync pair invite`, `pair list` and `pair revoke`.

use super::files::folder_name;
use crate::{
    base::units,
    cli::{context::Context, error::CliError, exit::Exit, out::Style, table::Table},
    daemon::api::{self, InviteReply, InviteRequest, MemberReport, RevokeReply, RevokeRequest},
    domain::{
        member::{NodeAddress, NodeName, SiteName},
        name::FolderName,
    },
};
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Pair {
    /// Make an invitation; its last line is the token for `wuasync join`
    Invite(InviteArgs),
    /// List the nodes of the line
    List,
    /// Shut a node out, at once
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    /// The name that the node will have
    name: NodeName,
    /// Where it stands [default: its name]
    #[arg(long)]
    site: Option<SiteName>,
    /// A folder that it may mirror; may be repeated [default: all]
    #[arg(long, value_parser = folder_name)]
    folder: Vec<FolderName>,
    /// Where it reaches its parent, best first; may be repeated [default: sync.advertise]
    #[arg(long, value_name = "HOST:PORT")]
    address: Vec<NodeAddress>,
    /// The member that will be its parent [default: this node]
    #[arg(long, value_name = "MEMBER")]
    via: Option<NodeName>,
    /// How long the invitation holds
    #[arg(long, default_value = "1h", value_parser = expiry)]
    expires: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The node's name
    name: NodeName,
}

fn expiry(text: &str) -> Result<Duration, String> {
    let period = units::parse_duration(text).filter(|period| !period.is_zero());
    period.ok_or_else(|| "write a number and one of s, m, h, d, w: 1h".to_owned())
}

pub(super) async fn run(command: Pair, context: &Context) -> Result<Exit, CliError> {
    match command {
        Pair::Invite(args) => invite(args, context).await,
        Pair::List => list(context).await,
        Pair::Revoke(args) => revoke(args, context).await,
    }
}

async fn invite(args: InviteArgs, context: &Context) -> Result<Exit, CliError> {
    let request = InviteRequest {
        name: args.name,
        site: args.site,
        folders: args.folder,
        addresses: args.address,
        expires_seconds: args.expires.as_secs(),
        via: args.via,
    };
    let reply: InviteReply = context.client().await?.post(api::INVITE, &request).await?;
    if !context.out().is_json() {
        let validity = units::duration(args.expires);
        context.out().note(&format!(
            "{} joins with `wuasync join TOKEN`, or with `wuasync join -` and the token on standard input.\n\
             The token holds for {validity} and for one node. Whoever has it can join: pass it on in private.",
            request.name
        ));
    }
    context.out().answer(&reply, |_| reply.token.clone())?;
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let members: Vec<MemberReport> = context.client().await?.get(api::MEMBERS).await?;
    context.out().answer(&members, |style| table(&members, style))?;
    Ok(Exit::Done)
}

fn table(members: &[MemberReport], style: Style) -> String {
    if members.is_empty() {
        return "no members: invite one with `wuasync pair invite NAME`".to_owned();
    }
    let mut table = Table::new(&["NAME", "SITE", "ROLE", "CONNECTED", "FOLDERS", "ADDRESSES", "KEY"]);
    for member in members {
        let folders: Vec<&str> = member.folders.iter().map(FolderName::as_str).collect();
        table.row([
            member.name.clone(),
            member.site.clone(),
            member.role.to_string(),
            // One that is connected through another is none of this node's business.
            if member.connected { "here" } else { "" }.to_owned(),
            if folders.is_empty() { "all".to_owned() } else { folders.join(" ") },
            member.addresses.join(" "),
            member.key.chars().take(8).collect(),
        ]);
    }
    table.show(style, "")
}

async fn revoke(args: RevokeArgs, context: &Context) -> Result<Exit, CliError> {
    let request = RevokeRequest { name: args.name };
    let reply: RevokeReply = context.client().await?.post(api::REVOKE, &request).await?;
    context.out().answer(&reply, |_| format!("{} is shut out", reply.name))?;
    Ok(Exit::Done)
}
