//! `wuasync want add`, `want list`, `want forget` and `want scan`.

use super::files::{folder_name, placed};
use crate::{
    base::{
        chain::chain,
        clock::{Clock, SystemClock},
        units,
    },
    cli::{
        client::{Client, percent_encoded},
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        table::Table,
    },
    daemon::api::{
        self, ForgetReply, ScanReply, WantAnswer, WantOutcome, WantReply, WantReport, WantRequest, WantStateReport,
        WantsPage,
    },
    domain::{
        digest::{Sha1, Sha256},
        name::FolderName,
        origin::OriginUrl,
        update::UpdateId,
        wants::FileClaim,
    },
};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

/// Largest file of wants that is read: some 50,000 files.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Bytes of one request; the daemon takes 64 KiB, and one file's claim is below 8 KiB.
const BATCH_BYTES: usize = 48 << 10;
/// Wants in one page: a page stays below a few MiB.
const PAGE: u32 = 500;

const FILE_HELP: &str = "\
FILE.json holds a list, and only \"url\" has to be there:

  [
    {
      \"url\": \"http://download.windowsupdate.com/c/msdownload/update/x_<sha1>.cab\",
      \"updates\": [\"0fa1201d-4330-4fa8-8ae9-b877473b6441_204\"],
      \"size\": 1048576,
      \"sha1\": \"40 hexadecimal digits\",
      \"sha256\": \"64 hexadecimal digits\",
      \"folder\": \"waptwua\"
    }
  ]

The file's name is the last part of its URL. A SHA-1 in that name counts as told. A file of several URLs \
stands there once for each. At most 16 MiB; - reads standard input.

Exit codes: 0 all of them are wanted; 1 the work failed; 2 the list, or an option, makes no sense: nothing \
is wanted; 3 the daemon can't be reached; 4 this is a secondary, or a file is known with another content: \
the others are wanted.";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Want {
    /// Want files that the repository lacks; run this at the main
    #[command(after_help = FILE_HELP)]
    Add(AddArgs),
    /// List wanted files, by folder and name
    List(ListArgs),
    /// Want a file no longer, and forget what was told of it; one that is here stays
    Forget(ForgetArgs),
    /// Fetch now what is wanted and not here, as happens every `jobs.scan_wants`; run this at the main
    Scan,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Where the file is, http or https
    #[arg(long, value_parser = origin_url, required_unless_present = "from", conflicts_with = "from")]
    url: Option<OriginUrl>,
    /// An update that it is a part of, UpdateID and RevisionNumber; may be repeated
    #[arg(long, value_name = "GUID_REV", conflicts_with = "from")]
    update: Vec<UpdateId>,
    /// Its SHA-256, 64 hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with = "from")]
    sha256: Option<Sha256>,
    /// Its SHA-1, 40 hexadecimal digits [default: the one in its name]
    #[arg(long, value_name = "HEX", conflicts_with = "from")]
    sha1: Option<Sha1>,
    /// Its length in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "from")]
    size: Option<u64>,
    /// The folder that it belongs to [default: waptwua, else the only one]
    #[arg(long, value_parser = folder_name, conflicts_with = "from")]
    folder: Option<FolderName>,
    /// Only tell where the file is: it is fetched when a host asks for it
    #[arg(long)]
    on_miss: bool,
    /// Read many files from JSON; see below for its shape
    #[arg(long, value_name = "FILE.json")]
    from: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only files of which several contents were told, with these
    #[arg(long)]
    conflicts: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    /// A file's name, with or without its folder before it, or an update as GUID_REV
    what: String,
    /// The file's folder
    #[arg(long, value_parser = folder_name)]
    folder: Option<FolderName>,
}

fn origin_url(text: &str) -> Result<OriginUrl, String> {
    OriginUrl::new(text).map_err(|error| chain(&error))
}

pub(super) async fn run(command: Want, context: &Context) -> Result<Exit, CliError> {
    match command {
        Want::Add(args) => add(args, context).await,
        Want::List(args) => list(&args, context).await,
        Want::Forget(args) => forget(&args, context).await,
        Want::Scan => scan(context).await,
    }
}

async fn add(args: AddArgs, context: &Context) -> Result<Exit, CliError> {
    let on_miss = args.on_miss;
    let batches = batches(claims(args)?)?;
    let mut client = context.client().await?;
    let mut reply = WantReply::default();
    for files in batches {
        let WantReply { files } = client.post(api::WANTS, &WantRequest { files, on_miss }).await?;
        reply.files.extend(files);
    }
    context.out().answer(&reply, |style| added(&reply, style))?;
    let refused = reply.files.iter().any(|answer| answer.outcome == WantOutcome::Refused);
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

fn claims(args: AddArgs) -> Result<Vec<FileClaim>, CliError> {
    let AddArgs { url, update, sha256, sha1, size, folder, from, on_miss: _ } = args;
    if let Some(path) = from {
        return read_claims(&path);
    }
    let Some(url) = url else { return Err(CliError::Usage("give --url or --from".to_owned())) };
    let claim = FileClaim { url, folder, updates: update.into_iter().collect(), size, sha1, sha256 };
    Ok(vec![claim.checked().map_err(|error| CliError::Usage(error.to_string()))?])
}

fn read_claims(path: &Path) -> Result<Vec<FileClaim>, CliError> {
    let is_stdin = path == Path::new("-");
    let bytes = match is_stdin {
        true => read_bounded(io::stdin().lock()).map_err(CliError::Input)?,
        false => fs::File::open(path)
            .and_then(read_bounded)
            .map_err(|source| CliError::File { path: path.to_owned(), source })?,
    };
    let named = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    parse_claims(&bytes).map_err(|why| CliError::Usage(format!("{named}: {why}")))
}

/// At most one byte more than is allowed.
fn read_bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse_claims(bytes: &[u8]) -> Result<Vec<FileClaim>, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("more than {}", units::bytes(MAX_FILE_BYTES)));
    }
    // What is wrong comes with its line and column.
    serde_json::from_slice(bytes).map_err(|error| printable(&error.to_string()))
}

/// The same claims in requests that the daemon takes.
fn batches(claims: Vec<FileClaim>) -> Result<Vec<Vec<FileClaim>>, CliError> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for claim in claims {
        let size = serde_json::to_string(&claim).map_err(|error| CliError::Format(error.to_string()))?.len() + 1;
        if bytes + size > BATCH_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += size;
        batch.push(claim);
    }
    batches.extend((!batch.is_empty()).then_some(batch));
    Ok(batches)
}

fn added(reply: &WantReply, style: Style) -> String {
    let count = |outcome| reply.files.iter().filter(|answer| answer.outcome == outcome).count();
    let told: String = reply.files.iter().map(|answer| told(answer, style)).collect();
    let counts = [
        (count(WantOutcome::Wanted), "wanted"),
        (count(WantOutcome::Known), "wanted before"),
        (count(WantOutcome::Told), "told of, fetched when a host asks"),
        (count(WantOutcome::Held), "here already"),
        (count(WantOutcome::Refused), "refused"),
    ];
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{told}{}", if counts.is_empty() { "nothing to want".to_owned() } else { counts.join(", ") })
}

/// What a person has to know of one file beyond the counts.
fn told(answer: &WantAnswer, style: Style) -> String {
    let Some(why) = &answer.why else { return String::new() };
    let name = printable(&format!("{}/{}", answer.folder, answer.name));
    let name = if answer.outcome == WantOutcome::Refused { style.alarm(&name) } else { name };
    format!("{name}: {}\n", printable(why))
}

async fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let now = SystemClock.unix_seconds();
    let (mut after, mut begun) = (None, false);
    loop {
        let WantsPage { mut wants, next } = page(&mut client, after.as_deref()).await?;
        wants.retain(|want| !args.conflicts || !want.conflicts.is_empty());
        if context.out().is_json() {
            wants.iter().try_for_each(|want| context.out().json(want))?;
        } else if !wants.is_empty() {
            let table = if args.conflicts { conflicts(&wants) } else { table(&wants, now) };
            context.out().text(&if begun { table.show_rows() } else { table.show(context.out().style(), "") })?;
            begun = true;
        }
        if next.is_none() || next == after {
            return Ok(Exit::Done);
        }
        after = next;
    }
}

async fn page(client: &mut Client, after: Option<&str>) -> Result<WantsPage, CliError> {
    let after = after.map(|after| format!("&after={}", percent_encoded(after))).unwrap_or_default();
    Ok(client.get(&format!("{}?limit={PAGE}{after}", api::WANTS)).await?)
}

fn table(wants: &[WantReport], now: u64) -> Table {
    let mut table = Table::new(&["STATE", ">SIZE", "FILE", "UPDATES", "WHO", ">TIMES", ">SINCE", "WHY"]);
    for want in wants {
        table.row([
            state(want, now),
            want.size.map_or_else(|| "?".to_owned(), units::bytes),
            format!("{}/{}", want.folder, want.name),
            first_of(&want.updates),
            first_of(&want.who),
            want.times.to_string(),
            seconds(now.saturating_sub(want.first_asked)),
            why(want),
        ]);
    }
    table
}

fn state(want: &WantReport, now: u64) -> String {
    match (want.state, want.next_try) {
        (WantStateReport::Held, _) => "held".to_owned(),
        (WantStateReport::Fetching, _) => "fetching".to_owned(),
        (WantStateReport::Due, _) => "due".to_owned(),
        (WantStateReport::Unvouched, _) => "unvouched".to_owned(),
        (WantStateReport::Waiting, None) => "waiting".to_owned(),
        (WantStateReport::Waiting, Some(until)) => {
            format!("again in {}", seconds(until.saturating_sub(now)))
        }
    }
}

fn why(want: &WantReport) -> String {
    let hint = "(`wuasync want list --conflicts`)";
    let conflicts = match want.conflicts.len() {
        0 => None,
        1 => Some(format!("another content was told {hint}")),
        many => Some(format!("{many} other contents were told {hint}")),
    };
    let lack = (want.state == WantStateReport::Unvouched).then(|| "no digest vouches for it".to_owned());
    let reasons: Vec<_> = want.error.clone().into_iter().chain(lack).chain(conflicts).collect();
    reasons.join("; ")
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => units::duration(Duration::from_secs(seconds)),
    }
}

fn first_of<T: ToString>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{} +{}", first.to_string(), more.len()),
    }
}

fn conflicts(wants: &[WantReport]) -> Table {
    let mut table = Table::new(&["FILE", "TOLD", ">SIZE", "SHA-1", "SHA-256", "WHO", "URL"]);
    let text = |value: Option<String>| value.unwrap_or_default();
    for want in wants {
        table.row([
            format!("{}/{}", want.folder, want.name),
            "first".to_owned(),
            text(want.size.map(|size| size.to_string())),
            text(want.sha1.map(|sha1| sha1.to_string())),
            text(want.sha256.map(|sha256| sha256.to_string())),
            first_of(&want.who),
            first_of(&want.urls),
        ]);
        for other in &want.conflicts {
            table.row([
                String::new(),
                "not taken".to_owned(),
                text(other.size.map(|size| size.to_string())),
                text(other.sha1.map(|sha1| sha1.to_string())),
                text(other.sha256.map(|sha256| sha256.to_string())),
                other.who.clone(),
                other.url.clone(),
            ]);
        }
    }
    table
}

async fn forget(args: &ForgetArgs, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let query = match (args.what.parse::<UpdateId>(), &args.folder) {
        (Ok(update), None) => format!("update={update}"),
        _ => {
            let (folder, name) = placed(&args.what, args.folder.as_ref(), &config.folders)?;
            format!("folder={folder}&name={}", percent_encoded(name))
        }
    };
    let mut client = Client::connect(&config).await?;
    let reply: ForgetReply = client.delete(&format!("{}?{query}", api::WANTS)).await?;
    context.out().answer(&reply, |_| forgotten(&reply))?;
    Ok(Exit::Done)
}

async fn scan(context: &Context) -> Result<Exit, CliError> {
    let reply: ScanReply = context.client().await?.post(api::SCAN_WANTS, &serde_json::json!({})).await?;
    context.out().answer(&reply, |_| match reply.open {
        0 => "every wanted file is here\n".to_owned(),
        open => format!("{open} wanted files are not here yet; `wuasync want list` shows how they come\n"),
    })?;
    Ok(Exit::Done)
}

fn forgotten(reply: &ForgetReply) -> String {
    let lines = reply.files.iter().map(|file| format!("{} is wanted no longer\n", printable(file)));
    let shared = reply.shared.iter().map(|file| format!("{} stays: other updates share it\n", printable(file)));
    lines.chain(shared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    fn report() -> WantReport {
        WantReport {
            folder: FolderName::new("waptwua").unwrap(),
            name: "x.cab".to_owned(),
            size: Some(2048),
            sha1: None,
            sha256: None,
            urls: vec!["http://h/x.cab".to_owned()],
            updates: vec![UpdateId::new([1; 16], 2), UpdateId::new([1; 16], 3)],
            who: vec!["uid 0".to_owned(), "host pc1\x1b".to_owned(), "member lyon".to_owned()],
            times: 7,
            first_asked: 940,
            last_asked: 950,
            state: WantStateReport::Waiting,
            next_try: Some(1_060),
            failures: 1,
            error: Some("no route\x07".to_owned()),
            conflicts: vec![],
        }
    }

    #[test]
    fn a_want_is_one_line_and_foreign_words_can_not_steer_the_terminal() {
        let shown = table(&[report()], 1_000).show(Style::Plain, "");
        assert_eq!(shown.lines().count(), 2);
        let row = shown.lines().nth(1).unwrap();
        for part in ["again in 1 min 0 s", "2.0 KiB", "waptwua/x.cab", "_2 +1", "uid 0 +2", "  7  ", "no route\u{fffd}"]
        {
            assert!(row.contains(part), "{part} in {row}");
        }
    }

    #[test]
    fn a_list_with_something_wrong_is_refused_with_its_place() {
        let good = format!(r#"[{{"url":"http://h/kb_{SHA1}.cab"}}]"#);
        assert_eq!(parse_claims(good.as_bytes()).unwrap().len(), 1);
        for (wrong, place) in [
            ("[\n{\"url\":\"http://h/x\"},\n{\"url\":\"ftp://h/x\"}]", "line 3"),
            ("[\n{\"url\":\"http://h/x\",\n\"sha265\":\"\"}]", "line 3"),
            ("[\n\n{}]", "line 3"),
            ("[{\"url\":\"http://h/x\"},\n", "line 2"),
            ("{}", "line 1"),
            ("", "line 1"),
            (&"[".repeat(100_000), "line 1"),
        ] {
            let why = parse_claims(wrong.as_bytes()).unwrap_err();
            assert!(why.contains(place), "{why}");
        }
        assert!(parse_claims(&vec![b' '; (MAX_FILE_BYTES + 1) as usize]).unwrap_err().contains("more than 16.0 MiB"));
    }

    #[test]
    fn many_claims_go_in_requests_that_the_daemon_takes_and_none_is_lost() {
        let url = |n: usize| OriginUrl::new(&format!("http://h/{}/{n}.cab", "d".repeat(2_000))).unwrap();
        let claims: Vec<_> = (0..100).map(|n| FileClaim::of_url(url(n))).collect();
        let batches = batches(claims.clone()).unwrap();
        assert!(batches.len() > 3);
        for batch in &batches {
            assert!(
                serde_json::to_string(&WantRequest { files: batch.clone(), on_miss: false }).unwrap().len() <= 50 << 10
            );
        }
        assert_eq!(batches.concat(), claims);
        assert!(super::batches(vec![]).unwrap().is_empty());
    }

    #[test]
    fn what_became_of_each_is_counted_and_refusals_say_why() {
        let answer = |outcome, why: Option<&str>| WantAnswer {
            folder: FolderName::new("waptwua").unwrap(),
            name: "x.cab".to_owned(),
            outcome,
            why: why.map(str::to_owned),
        };
        let files = vec![answer(WantOutcome::Wanted, None), answer(WantOutcome::Refused, Some("another SHA-1"))];
        let shown = added(&WantReply { files }, Style::Plain);
        assert_eq!(shown, "waptwua/x.cab: another SHA-1\n1 wanted, 1 refused");
        assert_eq!(added(&WantReply::default(), Style::Plain), "nothing to want");
    }
}
