//! The published edition is taken back: the one before it, which is kept, is published again.
//!
//! Order of events: what is kept is hashed, proven and, where its rows are gone, read; the edition that is taken
//! back is marked, so that no refresh publishes it again by itself; then the one before takes its name with its
//! own date and sidecar, the one that is taken back rests in the trash, and last the rows change.

use super::{Refused, desk::EditionDesk};
use crate::{
    catalog::{EditionRecord, RefreshOutcome, RefreshRecord, WithdrawnRecord},
    domain::{edition::CABINET, file::FileRecord},
    repository::{Before, RepositoryError},
};

/// What going back did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollBack {
    /// The edition that is taken back, as far as it was read.
    pub from: Option<EditionRecord>,
    /// The cabinet that is taken back.
    pub withdrawn: FileRecord,
    /// The edition that is published again, as far as it was read.
    pub to: Option<EditionRecord>,
    /// Its cabinet.
    pub published: FileRecord,
}

/// Why the edition before is not published again.
#[derive(Debug, thiserror::Error)]
pub enum RollBackRefused {
    /// There is no edition before.
    #[error(
        "no edition before the published one is kept: one is kept when another takes its place, until it is brought \
         back; `wuasync refresh --force` publishes what Microsoft has"
    )]
    NothingKept,
    /// There is nothing to take back.
    #[error("no edition is published, or it is still being looked at")]
    NothingPublished,
    /// Both are the same.
    #[error("what is kept is the published edition")]
    Same,
    /// What is kept is not believed any longer.
    #[error("the edition that is kept is not published: {why}; {cure}")]
    Unsound {
        /// Why, in one line.
        why: String,
        /// What to do about it.
        cure: String,
    },
    /// Bytes or rows.
    #[error("bringing the edition back")]
    Repository(#[from] RepositoryError),
}

impl From<Refused> for RollBackRefused {
    fn from(Refused { why, cure, .. }: Refused) -> Self {
        Self::Unsound { why, cure }
    }
}

impl EditionDesk {
    /// Whether an edition before the published one is kept: its cabinet's length and date.
    pub fn kept(&self) -> Result<Option<(u64, i64)>, RepositoryError> {
        let kept = self.repository.kept(&self.pair.folder, &self.pair.cab)?;
        Ok(kept.map(|kept| (kept.size, kept.modified)))
    }

    /// Publishes the edition before again; with `only_look`, proves that it could be.
    pub async fn roll_back(&self, only_look: bool) -> Result<RollBack, RollBackRefused> {
        let _turn = self.turn().await;
        let started_at = self.repository.clock().unix_seconds();
        let held = self.held().await?.ok_or(RollBackRefused::NothingPublished)?;
        let from = self.published(Some(&held)).await?;
        let pair = self.pair.clone();
        let kept = self.blocking(move |repository| {
            let Some(kept) = repository.kept(&pair.folder, &pair.cab)? else { return Ok(None) };
            let digests = repository.digests_of_kept(&kept)?;
            Ok(Some((kept, digests)))
        });
        let (kept, (root, sha1)) = kept.await?.ok_or(RollBackRefused::NothingKept)?;
        let (withdrawn, published) = (held.file, FileRecord { root, size: kept.size, modified: kept.modified });
        if root == withdrawn.root {
            return Err(RollBackRefused::Same);
        }
        self.prove(&kept.bytes, kept.size).await?;
        let previous = self.blocking(|repository| repository.previous_edition()).await?;
        let to = previous.filter(|previous| previous.root == root && from.is_some());
        let told = RollBack { from, withdrawn, to, published };
        if only_look {
            return Ok(told);
        }
        let good = match to {
            Some(_) => None,
            None => Some(self.read(kept.bytes.clone(), None).await?),
        };
        let mark = WithdrawnRecord {
            root: withdrawn.root,
            size: withdrawn.size,
            modified: withdrawn.modified,
            at: started_at,
        };
        self.blocking(move |repository| repository.set_withdrawn_edition(Some(&mark))).await?;
        let pair = self.pair.clone();
        self.blocking(move |repository| repository.enter_pair(&pair, &kept.staged, published, sha1, Before::Rests))
            .await?;
        let oddities = good.as_ref().map(|good| good.odd.clone()).unwrap_or_default();
        match good {
            Some(good) => self.put_rows(good, root, published.size, None).await?,
            None => {
                self.blocking(|repository| repository.go_back_to_previous_edition()).await?;
                self.tell_odd(&[]);
            }
        }
        let row = RefreshRecord {
            started_at,
            finished_at: self.repository.clock().unix_seconds(),
            forced: false,
            cab_modified: Some(published.modified),
            cab_size: Some(published.size),
            outcome: RefreshOutcome::RolledBack,
            oddities,
        };
        self.blocking(move |repository| repository.put_refresh(&row)).await?;
        tracing::warn!(withdrawn = %withdrawn.root, published = %root, "{CABINET}: the edition before is published again");
        Ok(told)
    }
}
