//! A secondary lets go of files that the index names on: they are missing from then on, and come back when a host
//! asks.
//!
//! Order of events: the rows go with intents, in groups, each in one commit; then the bytes go to the trash.

use super::{error::RepositoryError, open::Repository};
use crate::{
    domain::{
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::trash::Swept,
};

/// Files that leave in one commit.
const GROUP: usize = 500;

impl Repository {
    /// On a secondary: these files go to the trash and are missing. A main's are its own to let go: none of them goes.
    /// Answers with what went.
    pub fn evict(&self, files: &[(FolderName, FileName)]) -> Result<Swept, RepositoryError> {
        let mut gone = Swept::default();
        if self.role != Role::Secondary || files.is_empty() {
            return Ok(gone);
        }
        for group in files.chunks(GROUP) {
            let writer = self.writer();
            let left = self.state.index.write(|batch| {
                let mut left = Swept::default();
                for (folder, name) in group {
                    let Some(holding) = batch.files.holding(folder, name)?.filter(|holding| holding.listed) else {
                        continue;
                    };
                    let body = batch.entries.get(&Namespace::folder(folder), name.as_str().as_bytes())?;
                    let file = body.as_deref().and_then(Body::value_of).map(FileRecord::decode).transpose()?;
                    batch.files.remove_holding(folder, name)?;
                    batch.files.set_missing(folder, name, file.map(Into::into).as_ref())?;
                    batch.files.put_intent(folder, name)?;
                    left.files += 1;
                    left.bytes += holding.size;
                }
                Ok::<_, RepositoryError>(left)
            })?;
            drop(writer);
            gone.files += left.files;
            gone.bytes += left.bytes;
        }
        self.bury()?;
        self.note_change();
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, fetch, folder, follow, is_held, is_missing, name};

    #[test]
    fn what_is_evicted_is_missing_and_in_the_trash_and_comes_back_when_it_is_fetched() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        ["a", "b"].iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, &["a", "b"]).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        let files = ["a", "unknown"].map(|text| (folder(), name(text)));
        let gone = child.evict(&files).unwrap();
        assert_eq!((gone.files, gone.bytes), (1, 1));
        assert!(is_missing(&child, "a") && !is_held(&child, "a") && is_held(&child, "b"));
        assert_eq!((below.read("a"), below.trashed()), (None, vec![b"a".to_vec()]));
        assert_eq!(child.evict(&files).unwrap().files, 0);
        assert_eq!(main.evict(&files).unwrap().files, 0);
        assert!(place.read("a").is_some());
        fetch(&main, &child).unwrap();
        assert!(is_held(&child, "a"));
    }
}
