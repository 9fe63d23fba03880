//! What a member may see: who the members are, the rules, and the folders of its own row.

use crate::{
    domain::{digest::Root, member::MemberRecord, name::FolderName, state::Namespace},
    repository::{Repository, RepositoryError},
    sync::frames::NamespaceName,
};

/// Names of one content that are looked at; equal content under more names is an attack or a joke.
const MAX_HOLDERS: usize = 4_096;

/// Whether `folder` is one of the member's; a row without folders means all.
pub(super) fn may_mirror(member: &MemberRecord, folder: &FolderName) -> bool {
    member.folders.is_empty() || member.folders.contains(folder)
}

/// Whether the member may be told what is in `namespace`.
pub(super) fn may_follow(member: &MemberRecord, namespace: &Namespace) -> bool {
    Namespace::tables().contains(namespace) || namespace.as_folder().is_some_and(|folder| may_mirror(member, &folder))
}

/// The namespaces that a member asks for, as far as this program knows them; `Err` with a folder
/// that it can't have from this node.
pub(super) fn allowed(
    repository: &Repository,
    member: &MemberRecord,
    asked: &[NamespaceName],
) -> Result<Vec<Namespace>, FolderName> {
    let known = asked.iter().filter_map(|name| Namespace::new(name.as_str()).ok());
    let mut allowed = Vec::new();
    for namespace in known {
        match namespace.as_folder() {
            Some(folder) if !may_mirror(member, &folder) || repository.folder_path(&folder).is_none() => {
                return Err(folder);
            }
            Some(_) => allowed.push(namespace),
            None if may_follow(member, &namespace) => allowed.push(namespace),
            None => {}
        }
    }
    Ok(allowed)
}

/// Whether the member may have this content: one of its names is in one of the member's folders.
pub(super) fn may_have(repository: &Repository, member: &MemberRecord, root: &Root) -> Result<bool, RepositoryError> {
    if repository.folder_names().all(|folder| may_mirror(member, folder)) {
        return Ok(true);
    }
    let holders = repository.state().index.read()?.holders(root, MAX_HOLDERS)?;
    Ok(holders.iter().any(|(folder, _)| may_mirror(member, folder)))
}
