//! What is on the simulated disk: as programs see it, and as a power cut would leave it.

use super::Lost;
use crate::store::disk::{At, Kind, Open, Replace, RootId, Stat, path};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path},
};

/// What is written whole or not at all.
const PAGE_BYTES: usize = 4096;
/// Longer files have no place in memory.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The directory that everything is in.
const TOP: u64 = 0;

type Names = BTreeMap<String, u64>;
/// The directory that it is in, and itself.
type Name = (u64, String);

#[derive(Clone)]
pub(super) struct State {
    /// Nothing is ever taken out: a lost removal brings its file back.
    inodes: Vec<Inode>,
    devices: u64,
    /// Directory operations that no sync has covered, in order.
    pending: Vec<Operation>,
    roots: Vec<u64>,
    /// Time is the order of events.
    pub(super) available: u64,
    now_ns: i64,
}

#[derive(Clone)]
struct Inode {
    device: u64,
    content: Content,
}

#[derive(Clone)]
enum Content {
    File { present: Bytes, durable: Bytes },
    Directory { present: Names, durable: Names },
}

#[derive(Clone, Default, PartialEq)]
struct Bytes {
    bytes: Vec<u8>,
    modified_ns: i64,
}

/// What each name leads to after one directory operation.
#[derive(Clone)]
struct Operation(Vec<(Name, Option<u64>)>);

impl Operation {
    fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }
}

impl Default for State {
    fn default() -> Self {
        let mut state = Self {
            inodes: Vec::new(),
            devices: 1,
            pending: Vec::new(),
            roots: Vec::new(),
            now_ns: 0,
            available: 1 << 39,
        };
        state.new_directory(1);
        state
    }
}

impl State {
    pub(super) fn mount(&mut self, path: &Path) {
        self.devices += 1;
        let device = self.devices;
        if let Ok(inode) = self.walk_from_top(path, true) {
            self.inodes[inode as usize].device = device;
        }
    }

    pub(super) fn open_root(&mut self, path: &Path, create: bool) -> io::Result<RootId> {
        let inode = self.walk_from_top(path, create)?;
        self.names(inode)?;
        self.roots.push(inode);
        Ok(RootId(self.roots.len() as u32 - 1))
    }

    pub(super) fn open(&mut self, at: At<'_>, how: Open) -> io::Result<u64> {
        match (self.find(at), how) {
            (Ok(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(inode), _) => self.bytes(inode).map(|_| inode),
            (Err(e), Open::Create | Open::CreateNew) if e.kind() == io::ErrorKind::NotFound => {
                let name = self.name(at)?;
                let inode = self.new_file(self.device(name.0));
                self.change([(name, Some(inode))]);
                Ok(inode)
            }
            (Err(e), _) => Err(e),
        }
    }

    pub(super) fn stat(&self, inode: u64) -> io::Result<Stat> {
        let (size, modified_ns) = match &self.inodes[inode as usize].content {
            Content::File { present, .. } => (present.bytes.len() as u64, present.modified_ns),
            Content::Directory { .. } => (0, 0),
        };
        Ok(Stat { kind: self.kind(inode), size, modified_ns, inode, device: self.device(inode) })
    }

    pub(super) fn stat_path(&mut self, path: &Path) -> io::Result<Stat> {
        let inode = self.walk_from_top(path, false)?;
        self.stat(inode)
    }

    pub(super) fn list(&self, at: At<'_>) -> io::Result<Vec<(String, Kind)>> {
        let names = self.names(self.find(at)?)?;
        Ok(names.iter().map(|(name, inode)| (name.clone(), self.kind(*inode))).collect())
    }

    pub(super) fn make_directory(&mut self, at: At<'_>) -> io::Result<()> {
        let name = self.name(at)?;
        match self.lookup(&name)? {
            Some(inode) if self.kind(inode) == Kind::Directory => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                let inode = self.new_directory(self.device(name.0));
                self.change([(name, Some(inode))]);
                Ok(())
            }
        }
    }

    pub(super) fn remove_directory(&mut self, at: At<'_>) -> io::Result<()> {
        if !self.names(self.find(at)?)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let name = self.name(at)?;
        self.change([(name, None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: At<'_>, to: At<'_>, replace: Replace) -> io::Result<()> {
        let (from, to, moved) = (self.name(from)?, self.name(to)?, self.find(from)?);
        self.same_device(&from, &to)?;
        match self.lookup(&to)? {
            Some(_) if replace == Replace::No => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(replaced) if replaced == moved => return Ok(()),
            Some(replaced) => self.may_replace(moved, replaced)?,
            None => {}
        }
        self.change([(from, None), (to, Some(moved))]);
        Ok(())
    }

    pub(super) fn link(&mut self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let (from, to, inode) = (self.name(from)?, self.name(to)?, self.find(from)?);
        self.same_device(&from, &to)?;
        self.bytes(inode)?;
        self.absent(&to)?;
        self.change([(to, Some(inode))]);
        Ok(())
    }

    pub(super) fn copy(&mut self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let bytes = self.bytes(self.find(from)?)?.bytes.clone();
        let copy = self.open(to, Open::CreateNew)?;
        self.write(copy, &bytes, 0)
    }

    pub(super) fn remove(&mut self, at: At<'_>) -> io::Result<()> {
        self.bytes(self.find(at)?)?;
        let name = self.name(at)?;
        self.change([(name, None)]);
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, at: At<'_>) -> io::Result<()> {
        let directory = self.find(at)?;
        self.names(directory)?;
        self.settle(|_, (in_directory, _)| *in_directory == directory);
        Ok(())
    }

    pub(super) fn sync_all(&mut self, root: RootId) -> io::Result<()> {
        let device = self.device(self.find(root.at(""))?);
        for inode in self.inodes.iter_mut().filter(|inode| inode.device == device) {
            if let Content::File { present, durable } = &mut inode.content {
                durable.clone_from(present);
            }
        }
        self.settle(|state, (in_directory, _)| state.device(*in_directory) == device);
        Ok(())
    }

    pub(super) fn read(&self, file: u64, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        crate::base::read_at::ReadAt::read_at(&self.bytes(file)?.bytes, buf, offset)
    }

    pub(super) fn write(&mut self, file: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.bytes(file)?.bytes.len() as u64 {
            self.set_len(file, end)?;
        }
        self.touch(file)?.bytes[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn set_len(&mut self, file: u64, len: u64) -> io::Result<()> {
        if len > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.touch(file)?.bytes.resize(len as usize, 0);
        Ok(())
    }

    pub(super) fn set_modified(&mut self, file: u64, seconds: i64) -> io::Result<()> {
        self.touch(file)?.modified_ns = seconds.saturating_mul(1_000_000_000);
        Ok(())
    }

    pub(super) fn sync(&mut self, file: u64) -> io::Result<()> {
        if let Content::File { present, durable } = &mut self.inodes[file as usize].content {
            durable.clone_from(present);
        }
        Ok(())
    }

    pub(super) fn find(&self, at: At<'_>) -> io::Result<u64> {
        path::check(at.path)?;
        let root = *self.roots.get(at.root.0 as usize).ok_or(io::ErrorKind::InvalidInput)?;
        let mut components = at.path.split('/').filter(|component| !component.is_empty());
        components.try_fold(root, |directory, component| {
            self.names(directory)?.get(component).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    /// Directories made on the way are durable at once.
    fn walk_from_top(&mut self, path: &Path, create: bool) -> io::Result<u64> {
        let mut at = TOP;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = (at, name.to_string_lossy().into_owned());
            at = match self.lookup(&name)? {
                Some(inode) => inode,
                None if create => {
                    let made = self.new_directory(self.device(at));
                    self.set_durable(&name, Some(made));
                    self.set_present(&name, Some(made));
                    made
                }
                None => return Err(io::ErrorKind::NotFound.into()),
            };
        }
        Ok(at)
    }

    /// The name that a place is, whether or not something has it.
    fn name(&self, at: At<'_>) -> io::Result<Name> {
        let (parent, name) = path::split(at.path)?;
        let directory = self.find(at.root.at(parent))?;
        self.names(directory)?;
        Ok((directory, name.to_owned()))
    }

    fn lookup(&self, (directory, name): &Name) -> io::Result<Option<u64>> {
        Ok(self.names(*directory)?.get(name).copied())
    }

    fn absent(&self, name: &Name) -> io::Result<()> {
        self.lookup(name)?.map_or(Ok(()), |_| Err(io::ErrorKind::AlreadyExists.into()))
    }

    fn same_device(&self, from: &Name, to: &Name) -> io::Result<()> {
        let same = self.device(from.0) == self.device(to.0);
        if same { Ok(()) } else { Err(io::ErrorKind::CrossesDevices.into()) }
    }

    fn may_replace(&self, moved: u64, replaced: u64) -> io::Result<()> {
        match (self.kind(moved), self.kind(replaced)) {
            (Kind::Directory, Kind::Directory) if !self.names(replaced)?.is_empty() => {
                Err(io::ErrorKind::DirectoryNotEmpty.into())
            }
            (Kind::Directory, Kind::File) => Err(io::ErrorKind::NotADirectory.into()),
            (Kind::File, Kind::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            _ => Ok(()),
        }
    }

    fn kind(&self, inode: u64) -> Kind {
        match self.inodes[inode as usize].content {
            Content::File { .. } => Kind::File,
            Content::Directory { .. } => Kind::Directory,
        }
    }

    fn device(&self, inode: u64) -> u64 {
        self.inodes[inode as usize].device
    }

    fn names(&self, directory: u64) -> io::Result<&Names> {
        match &self.inodes[directory as usize].content {
            Content::Directory { present, .. } => Ok(present),
            Content::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn bytes(&self, file: u64) -> io::Result<&Bytes> {
        match &self.inodes[file as usize].content {
            Content::File { present, .. } => Ok(present),
            Content::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// The bytes of a file that are about to change.
    fn touch(&mut self, file: u64) -> io::Result<&mut Bytes> {
        self.now_ns += 1;
        match &mut self.inodes[file as usize].content {
            Content::File { present, .. } => {
                present.modified_ns = self.now_ns;
                Ok(present)
            }
            Content::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn new_directory(&mut self, device: u64) -> u64 {
        self.new_inode(device, Content::Directory { present: Names::new(), durable: Names::new() })
    }

    fn new_file(&mut self, device: u64) -> u64 {
        self.new_inode(device, Content::File { present: Bytes::default(), durable: Bytes::default() })
    }

    fn new_inode(&mut self, device: u64, content: Content) -> u64 {
        self.inodes.push(Inode { device, content });
        self.inodes.len() as u64 - 1
    }
}

/// The power cut.
impl State {
    /// A directory operation: seen at once, and waiting for a sync.
    fn change<const N: usize>(&mut self, names: [(Name, Option<u64>); N]) {
        names.iter().for_each(|(name, to)| self.set_present(name, *to));
        self.pending.push(Operation(names.into()));
    }

    /// Makes operations durable that touch a name of interest, and with each all earlier ones on its names.
    fn settle(&mut self, of_interest: impl Fn(&Self, &Name) -> bool) {
        let mut names = BTreeSet::new();
        let (mut settled, mut waiting) = (Vec::new(), Vec::new());
        for operation in std::mem::take(&mut self.pending).into_iter().rev() {
            if operation.names().any(|name| of_interest(self, name) || names.contains(name)) {
                names.extend(operation.names().cloned());
                settled.push(operation);
            } else {
                waiting.push(operation);
            }
        }
        settled.iter().rev().for_each(|operation| self.make_durable(operation));
        self.pending = waiting.into_iter().rev().collect();
    }

    fn make_durable(&mut self, operation: &Operation) {
        operation.0.iter().for_each(|(name, to)| self.set_durable(name, *to));
    }

    fn set_present(&mut self, (directory, name): &Name, to: Option<u64>) {
        if let Content::Directory { present, .. } = &mut self.inodes[*directory as usize].content {
            set(present, name, to);
        }
    }

    fn set_durable(&mut self, (directory, name): &Name, to: Option<u64>) {
        if let Content::Directory { durable, .. } = &mut self.inodes[*directory as usize].content {
            set(durable, name, to);
        }
    }

    pub(super) fn after_power_cut(&self, lost: Lost) -> Self {
        let mut state = self.clone();
        let mut chance = Chance::new(lost);
        let mut holes = BTreeSet::new();
        for operation in std::mem::take(&mut state.pending) {
            // What follows a lost operation on the same name is lost as well.
            if operation.names().any(|name| holes.contains(name)) || !chance.survives() {
                holes.extend(operation.names().cloned());
            } else {
                state.make_durable(&operation);
            }
        }
        state.inodes.iter_mut().for_each(|inode| inode.content.lose(&mut chance));
        state.roots.clear();
        state
    }
}

fn set(names: &mut Names, name: &str, to: Option<u64>) {
    match to {
        Some(inode) => names.insert(name.to_owned(), inode),
        None => names.remove(name),
    };
}

impl Content {
    fn lose(&mut self, chance: &mut Chance) {
        match self {
            Self::Directory { present, durable } => present.clone_from(durable),
            Self::File { present, durable } if present != durable => {
                *durable = mixed(durable, present, chance);
                present.clone_from(durable);
            }
            Self::File { .. } => {}
        }
    }
}

/// Length, time and each page are the old or the new ones; a page that was never written is zeros.
fn mixed(old: &Bytes, new: &Bytes, chance: &mut Chance) -> Bytes {
    let mut choose = || if chance.survives() { new } else { old };
    let mut bytes = vec![0; choose().bytes.len()];
    let modified_ns = choose().modified_ns;
    for (index, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        let from = choose().bytes.get(index * PAGE_BYTES..).unwrap_or_default();
        let n = from.len().min(page.len());
        page[..n].copy_from_slice(&from[..n]);
    }
    Bytes { bytes, modified_ns }
}

/// Decides what survives.
enum Chance {
    Always,
    Never,
    Random(u64),
}

impl Chance {
    fn new(lost: Lost) -> Self {
        match lost {
            Lost::Nothing => Self::Always,
            Lost::Everything => Self::Never,
            Lost::Random(seed) => Self::Random(seed),
        }
    }

    fn survives(&mut self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Random(seed) => {
                // splitmix64: one step, one well-mixed bit.
                *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) & 1 == 1
            }
        }
    }
}
