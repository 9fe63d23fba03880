//! A folder with its staging, an upstream that asks a given place, and what both are held to.

use crate::hostile::Hostile;
use sha1::Digest;
use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::watch;
use wuasync::{
    base::{clock::SystemClock, read_at::ReadAt},
    domain::{
        digest::{Sha1, Sha256},
        name::{FileName, FolderName},
    },
    store::{
        disk::{Disk, Replace, real::RealDisk},
        download::DownloadKey,
        outboards::Outboards,
        staging::Staging,
    },
    upstream::{Demand, Fault, Fetched, Growth, Limits, Promise, Settings, Upstream, UpstreamError, Wanted},
};

pub const HOST: &str = "dl.windowsupdate.com";
pub const NAME: &str = "kb1.cab";
pub const DATE: &str = "Sun, 13 Sep 2020 12:26:40 GMT";
pub const LATER: &str = "Sun, 13 Sep 2020 12:26:41 GMT";
pub const STAMP: i64 = 1_600_000_000;
/// Longer than anything here takes; only a broken program reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that differ from seed to seed and from place to place.
pub fn blob(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn sha1_of(data: &[u8]) -> Sha1 {
    Sha1(sha1::Sha1::digest(data).into())
}

pub fn promise_of(data: &[u8]) -> Promise {
    let sha256 = Sha256(sha2::Sha256::digest(data).into());
    Promise { size: Some(data.len() as u64), sha1: Some(sha1_of(data)), sha256: Some(sha256) }
}

/// More patience than an origin on this machine needs, and no wait between attempts that is long.
pub fn limits() -> Limits {
    Limits {
        stall: Duration::from_secs(10),
        head: Duration::from_secs(10),
        describe: Duration::from_secs(3),
        slow_after: Duration::from_secs(10),
        slow_bytes: 1_000,
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// `HOST` is at `place`, as `upstream.resolve` says it.
pub fn settings(place: SocketAddr) -> Settings {
    Settings {
        origin: None,
        proxy: None,
        allowed_hosts: vec!["windowsupdate.com".to_owned()],
        resolve: BTreeMap::from([(HOST.to_owned(), place)]),
        limits: limits(),
    }
}

pub fn upstream(settings: Settings) -> Upstream {
    Upstream::new(settings, Arc::new(SystemClock), Arc::new(|| u64::MAX / 2)).unwrap()
}

pub struct Site {
    directory: tempfile::TempDir,
    pub staging: Staging,
    outboards: Outboards,
}

impl Site {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("wuasync-test-").tempdir().unwrap();
        fs::create_dir(directory.path().join("waptwua")).unwrap();
        Self::on(directory)
    }

    fn on(directory: tempfile::TempDir) -> Self {
        let disk = Arc::new(RealDisk::new());
        let folder = FolderName::new("waptwua").unwrap();
        let staging = Staging::open(disk.clone(), &directory.path().join("waptwua"), &folder, None).unwrap();
        let state = disk.open_root(&directory.path().join("state"), true).unwrap();
        Self { outboards: Outboards::open(disk, state).unwrap(), staging, directory }
    }

    /// The same place, as the next run finds it.
    pub fn restarted(self) -> Self {
        Self::on(self.directory)
    }

    pub fn key() -> DownloadKey {
        DownloadKey::of(&FileName::new(NAME).unwrap())
    }

    pub async fn fetch(&self, upstream: &Upstream, promise: Promise) -> Result<Fetched, UpstreamError> {
        let (growth, _) = watch::channel(None);
        self.fetch_telling(upstream, promise, &growth).await
    }

    pub async fn fetch_telling(
        &self,
        upstream: &Upstream,
        promise: Promise,
        growth: &watch::Sender<Option<Growth>>,
    ) -> Result<Fetched, UpstreamError> {
        self.fetch_for(upstream, promise, growth, &Demand::none()).await
    }

    /// For readers that wait where `demand` says.
    pub async fn fetch_for(
        &self,
        upstream: &Upstream,
        promise: Promise,
        growth: &watch::Sender<Option<Growth>>,
        demand: &Demand,
    ) -> Result<Fetched, UpstreamError> {
        let wanted = Wanted { url: format!("http://{HOST}/c/msdownload/{NAME}?x=1"), key: Self::key(), promise };
        let fetch = upstream.fetch(&wanted, self.staging.downloads(), growth, demand);
        tokio::time::timeout(PATIENCE, fetch).await.expect("a fetch ends")
    }

    /// Fetches a file that arrives right and publishes it.
    pub async fn fetch_right(&self, upstream: &Upstream, promise: Promise, data: &[u8]) {
        let fetched = self.fetch(upstream, promise).await;
        self.publish(fetched.unwrap_or_else(|error| panic!("{error:?}")), data);
    }

    pub fn publish(&self, fetched: Fetched, data: &[u8]) {
        assert_eq!((fetched.digests.size, fetched.digests.root), (data.len() as u64, blake3::hash(data).into()));
        assert_eq!(fetched.sha1, sha1_of(data));
        let staged = fetched.download.finish(STAMP, &self.outboards).unwrap();
        self.staging.sync_staged(&[&staged]).unwrap();
        self.staging.publish(&staged, &FileName::new(NAME).unwrap(), Replace::Yes).unwrap();
        assert!(fs::read(self.path(NAME)).unwrap() == data, "other bytes were published");
        assert_eq!(self.left(), Vec::<PathBuf>::new());
    }

    /// Fetches in vain: the answer is the fault, nothing is published, and whatever is staged is the beginning of
    /// `data`.
    pub async fn fetch_in_vain(&self, upstream: &Upstream, promise: Promise, data: &[u8]) -> UpstreamError {
        let Err(error) = self.fetch(upstream, promise).await else { panic!("it was fetched") };
        self.expect_beginning_of(data);
        error
    }

    pub fn expect_beginning_of(&self, data: &[u8]) {
        assert_eq!(fs::read_dir(self.path("")).unwrap().count(), 0, "something was published");
        for path in self.left().into_iter().filter(|path| path.extension().is_some_and(|it| it == "data")) {
            assert!(data.starts_with(&fs::read(&path).unwrap()), "other bytes are staged");
        }
    }

    pub fn expect_nothing_staged(&self) {
        assert_eq!(self.left(), Vec::<PathBuf>::new());
    }

    /// What lies in staging, for downloads.
    fn left(&self) -> Vec<PathBuf> {
        let place = self.directory.path().join(".wuasync/waptwua/downloads");
        fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("waptwua").join(name)
    }
}

/// Bytes that can be read of a growing file.
pub fn read(growth: &Growth) -> Vec<u8> {
    let mut bytes = vec![0; growth.arrived() as usize];
    growth.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The fault of an error that ended a fetch for good, or for now.
pub fn fault(error: UpstreamError, is_transient: bool) -> Fault {
    assert_eq!(error.is_transient(), is_transient, "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    error.fault
}

/// An origin and who asks it.
pub async fn origin(script: Vec<Vec<crate::hostile::Part>>) -> (Hostile, Upstream, Site) {
    let hostile = Hostile::start(script).await;
    let upstream = upstream(settings(hostile.address));
    (hostile, upstream, Site::new())
}
