//! The main's pen: every change of the signed state goes through here, numbered, logged and signed
//! in the commit that makes it.

use super::{
    error::RepositoryError,
    log_limit,
    open::{Repository, Writer, is_ahead},
    state_dir::{Epoch, StateDir},
};
use crate::{
    catalog::{Batch, CatalogError, LogRecord},
    domain::{
        file::FileRecord,
        name::{FileName, FolderName},
        state::{Accepted, Body, Head, LineSigner, Namespace, SignedHead},
    },
};

/// The line key with its numbering.
pub(super) struct Author {
    pub(super) signer: LineSigner,
    epoch: Epoch,
}

impl Author {
    /// Goes on with the epoch of the stored head if that is the newest ever signed, else starts one:
    /// an index that was lost or restored from a copy must not number anything twice.
    pub(super) fn begin(
        state: &StateDir,
        signer: LineSigner,
        head: Option<&SignedHead>,
        accepted: Option<&Accepted>,
        now_ms: u64,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, RepositoryError> {
        let stored = state.epoch()?;
        let goes_on = match (stored, head.map(SignedHead::head)) {
            (Some(epoch), Some(head)) => {
                let signed_later = accepted.is_some_and(|last| (last.epoch, last.seq) > (head.epoch, head.seq));
                head.epoch == epoch.number && head.epoch_nonce == epoch.nonce && !signed_later
            }
            _ => false,
        };
        if let (true, Some(epoch)) = (goes_on, stored) {
            return Ok(Self { signer, epoch });
        }
        let last =
            [stored.map(|epoch| epoch.number), accepted.map(|last| last.epoch), head.map(|head| head.head().epoch)];
        let after_last = last.into_iter().flatten().max().map_or(0, |last| last.saturating_add(1));
        let mut nonce = [0; 16];
        random(&mut nonce);
        let epoch = Epoch { number: now_ms.max(after_last), nonce };
        state.set_epoch(&epoch)?;
        tracing::info!(epoch = epoch.number, "a new epoch begins");
        Ok(Self { signer, epoch })
    }

    fn sign(
        &self,
        batch: &mut Batch<'_>,
        seq: u64,
        previous: Option<&SignedHead>,
        now: u64,
    ) -> Result<SignedHead, RepositoryError> {
        let head = Head {
            line: self.signer.line(),
            epoch: self.epoch.number,
            epoch_nonce: self.epoch.nonce,
            seq,
            roots: batch.entries.roots()?,
            previous: previous.map_or([0; 32], SignedHead::hash),
            signed_at: now,
        };
        let signed = self.signer.sign(head)?;
        batch.set_head(&signed.to_bytes())?;
        Ok(signed)
    }
}

/// The changes of one commit.
pub(super) struct Changes<'b, 't> {
    pub(super) batch: &'b mut Batch<'t>,
    seq: u64,
}

impl Changes<'_, '_> {
    /// Writes an entry; one that says what it said before is no change.
    pub(super) fn put(&mut self, namespace: &Namespace, key: &[u8], body: &Body) -> Result<(), CatalogError> {
        self.put_bytes(namespace, key, body.encode())
    }

    /// As [`Self::put`], of a body as it is stored.
    pub(super) fn put_bytes(&mut self, namespace: &Namespace, key: &[u8], bytes: Vec<u8>) -> Result<(), CatalogError> {
        if self.batch.entries.get(namespace, key)?.as_ref() == Some(&bytes) {
            return Ok(());
        }
        self.batch.entries.put(namespace, key, Some(&bytes))?;
        self.seq += 1;
        let record = LogRecord { namespace: namespace.clone(), key: key.to_vec(), body: Some(bytes) };
        self.batch.append_log(self.seq, &record)
    }
}

impl Changes<'_, '_> {
    /// Names a file in the index, and counts it.
    pub(super) fn put_file(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        file: &FileRecord,
    ) -> Result<(), RepositoryError> {
        let (namespace, key) = (Namespace::folder(folder), name.as_str().as_bytes());
        let before = self.batch.entries.get(&namespace, key)?;
        let before = before.as_deref().and_then(Body::value_of).and_then(|value| FileRecord::decode(value).ok());
        self.put(&namespace, key, &Body::Value(file.encode()?))?;
        Ok(self.batch.files.note_indexed(folder, before.map(|before| before.size), Some(file.size))?)
    }
}

impl Repository {
    /// Runs `change`, and signs and commits what it did.
    pub(super) fn author<R>(
        &self,
        change: impl FnOnce(&mut Changes<'_, '_>) -> Result<R, RepositoryError>,
    ) -> Result<R, RepositoryError> {
        self.sign_commit(false, change)
    }

    /// Signs the state as it is once more, so that secondaries see that the main lives.
    pub fn sign_again(&self) -> Result<(), RepositoryError> {
        self.sign_commit(true, |_| Ok(()))
    }

    /// Signs a first head where there is none of this epoch.
    pub(super) fn begin_line(&self) -> Result<(), RepositoryError> {
        let first = {
            let writer = self.writer();
            let Some(author) = &writer.author else { return Err(RepositoryError::NotMain) };
            writer.head.as_ref().is_none_or(|head| head.head().epoch != author.epoch.number)
        };
        self.restore_members(!first)?;
        for table in Namespace::tables().iter().filter(|table| **table != Namespace::members()) {
            self.restore_table(table, !first)?;
        }
        if first { self.sign_again() } else { Ok(()) }
    }

    /// After a commit: numbers that are used up are used up, even if the small file can't be written.
    pub(super) fn keep_head(&self, writer: &mut Writer, signed: SignedHead) -> Result<(), RepositoryError> {
        let accepted = Accepted::from(&signed);
        writer.head = Some(signed);
        if writer.accepted.as_ref() != Some(&accepted) {
            self.state.set_accepted(&accepted)?;
            writer.accepted = Some(accepted);
        }
        Ok(())
    }

    /// Writes the small file again that a commit of the newest head could not write.
    pub fn keep_accepted(&self) -> Result<(), RepositoryError> {
        let mut writer = self.fresh_writer()?;
        match writer.head.clone() {
            Some(head) if writer.accepted.as_ref().is_none_or(|kept| is_ahead(&Accepted::from(&head), kept)) => {
                self.keep_head(&mut writer, head)
            }
            _ => Ok(()),
        }
    }

    fn sign_commit<R>(
        &self,
        even_unchanged: bool,
        change: impl FnOnce(&mut Changes<'_, '_>) -> Result<R, RepositoryError>,
    ) -> Result<R, RepositoryError> {
        let mut writer = self.fresh_writer()?;
        let Some(author) = &writer.author else { return Err(RepositoryError::NotMain) };
        let before = writer.head.as_ref().filter(|head| head.head().epoch == author.epoch.number);
        let first_seq = before.map_or(0, |head| head.head().seq);
        let new_epoch = before.is_none();
        let committed = self.state.index.write(|batch| {
            if new_epoch {
                log_limit::restart(batch, 0)?;
            }
            let mut changes = Changes { batch, seq: first_seq };
            let result = change(&mut changes)?;
            let seq = changes.seq;
            if seq == first_seq && !even_unchanged {
                return Ok::<_, RepositoryError>((result, None));
            }
            let now = self.clock.unix_seconds();
            log_limit::trim(batch, self.log_limit, first_seq, seq, now)?;
            let signed = author.sign(batch, seq, writer.head.as_ref(), now)?;
            Ok((result, Some(signed)))
        });
        writer.unsure = committed.is_err();
        let (result, signed) = committed?;
        if let Some(signed) = signed {
            self.keep_head(&mut writer, signed)?;
        }
        drop(writer);
        self.note_change();
        Ok(result)
    }
}
