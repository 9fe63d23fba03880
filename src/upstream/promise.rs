//! What somebody vouches for, and whether bytes are that. Pure.

use super::error::Fault;
use crate::{
    domain::digest::{Sha1, Sha256},
    store::download::Digests,
};

/// What a file has to be; nothing of it need be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Promise {
    /// Length in bytes.
    pub size: Option<u64>,
    /// SHA-1 of the bytes.
    pub sha1: Option<Sha1>,
    /// SHA-256 of the bytes.
    pub sha256: Option<Sha256>,
}

impl Promise {
    /// Whether any digest is promised, so that bytes can be told from others.
    pub(super) fn names_bytes(&self) -> bool {
        self.sha1.is_some() || self.sha256.is_some()
    }

    /// Whether a file of `size` bytes can be it.
    pub(super) fn check_size(&self, found: u64) -> Result<(), Fault> {
        match self.size {
            Some(promised) if promised != found => Err(Fault::WrongSize { promised, found: Some(found) }),
            _ => Ok(()),
        }
    }

    /// Whether a whole file is it.
    pub(super) fn check(&self, found: &Digests) -> Result<(), Fault> {
        self.check_size(found.size)?;
        let wrong = |promised: String, found: String| Err(Fault::WrongDigest { promised, found });
        match (self.sha1, self.sha256) {
            (Some(sha1), _) if Some(sha1) != found.sha1 => wrong(sha1.to_string(), text(found.sha1)),
            (_, Some(sha256)) if Some(sha256) != found.sha256 => wrong(sha256.to_string(), text(found.sha256)),
            _ => Ok(()),
        }
    }
}

fn text(found: Option<impl ToString>) -> String {
    found.map_or_else(|| "none".to_owned(), |found| found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Root;

    #[test]
    fn each_part_of_a_promise_holds_by_itself() {
        let found = Digests { size: 5, root: Root([0; 32]), sha1: Some(Sha1([1; 20])), sha256: Some(Sha256([2; 32])) };
        let right = Promise { size: Some(5), sha1: Some(Sha1([1; 20])), sha256: Some(Sha256([2; 32])) };
        for promise in [right, Promise::default(), Promise { sha1: None, ..right }, Promise { sha256: None, ..right }] {
            promise.check(&found).unwrap();
        }
        let wrong_size = Promise { size: Some(6), ..right }.check(&found);
        assert!(matches!(wrong_size, Err(Fault::WrongSize { promised: 6, found: Some(5) })));
        for wrong in
            [Promise { sha1: Some(Sha1([3; 20])), ..right }, Promise { sha256: Some(Sha256([3; 32])), ..right }]
        {
            assert!(matches!(wrong.check(&found), Err(Fault::WrongDigest { .. })), "{wrong:?}");
        }
        for uncomputed in [Digests { sha1: None, ..found }, Digests { sha256: None, ..found }] {
            assert!(matches!(right.check(&uncomputed), Err(Fault::WrongDigest { .. })), "{uncomputed:?}");
        }
    }
}
