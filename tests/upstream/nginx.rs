//! A real nginx in Microsoft's place.

use crate::site::{HOST, NAME, STAMP, Site, blob, limits, promise_of, settings, sha1_of, upstream};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, sync::watch, task::JoinSet};
use wuasync::upstream::{Growth, Limits, Promise, Settings};

/// Long enough for many reads, short enough for a test.
const SIZE: usize = 8_000_000;

struct Nginx {
    address: SocketAddr,
    place: tempfile::TempDir,
    child: Child,
}

impl Nginx {
    /// Serves files of this directory; `more` is further configuration of its server.
    fn start(more: &str) -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-test-nginx-").tempdir().unwrap();
        fs::create_dir_all(place.path().join("www/c/msdownload")).unwrap();
        // nginx takes a socket that is there already, by the address in its configuration.
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        fcntl_setfd(&socket, FdFlags::empty()).unwrap();
        let here = place.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {here}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off; {user} pid {here}/pid; error_log {here}/errors;\n\
             events {{}}\nhttp {{\n{temporary}\
             log_format asked '$request_method $request_uri $status $http_range $http_if_range';\n\
             access_log {here}/asked asked;\n\
             server {{ listen {address}; root {here}/www; server_name {HOST}; {more} }}\n}}\n"
        );
        fs::write(place.path().join("conf"), config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| fs::exists(path).unwrap());
        let mut command = Command::new(program.expect("nginx is installed: tests/run installs it"));
        command.arg("-p").arg(place.path()).arg("-c").arg(place.path().join("conf"));
        command.arg("-e").arg(place.path().join("errors")).env("NGINX", format!("{};", socket.as_raw_fd()));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Self { address, place, child }
    }

    /// A file with Microsoft's date, where the site asks for it.
    fn put(&self, data: &[u8]) {
        let (path, place) = (self.place.path().join("new"), self.place.path().join("www/c/msdownload").join(NAME));
        fs::write(&path, data).unwrap();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(STAMP as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
        fs::rename(path, place).unwrap();
    }

    /// What was asked so far, one line each; written when an answer has ended.
    async fn asked(&self, lines: usize) -> Vec<String> {
        let path: PathBuf = self.place.path().join("asked");
        let read = async {
            loop {
                let text = fs::read_to_string(&path).unwrap_or_default();
                if text.lines().count() >= lines {
                    return text.lines().map(str::to_owned).collect();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::site::PATIENCE, read).await.expect("nginx tells what was asked")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked, so that it takes its workers along.
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_file_arrives_whole_from_a_real_server() {
    let nginx = Nginx::start("");
    let (data, site) = (blob(1, SIZE), Site::new());
    nginx.put(&data);
    let fetched = site.fetch(&upstream(settings(nginx.address)), promise_of(&data)).await.unwrap();
    assert_eq!(fetched.download.origin().modified, Some(STAMP));
    site.publish(fetched, &data);
    assert_eq!(nginx.asked(1).await, ["GET /c/msdownload/kb1.cab?x=1 200 - -"]);
}

#[tokio::test]
async fn a_file_goes_on_after_cuts_of_the_line() {
    let nginx = Nginx::start("");
    let (data, site) = (blob(2, SIZE), Site::new());
    nginx.put(&data);
    let (line, _line) = cutting_line(nginx.address, vec![1_000_000, 3_000_000, usize::MAX]).await;
    site.fetch_right(&upstream(settings(line)), promise_of(&data), &data).await;
    let asked = nginx.asked(3).await;
    let resumed = asked.iter().filter(|line| line.contains(" 206 bytes=") && line.ends_with(crate::site::DATE));
    assert_eq!((asked.len(), resumed.count()), (3, 2), "{asked:?}");
}

#[tokio::test]
async fn a_file_goes_on_after_a_restart_in_mid_transfer() {
    let nginx = Nginx::start("location /c/ { limit_rate 2m; limit_rate_after 2m; }");
    let (data, site) = (blob(3, SIZE), Site::new());
    nginx.put(&data);
    let slow = Limits { slow_bytes: 0, ..limits() };
    let upstream = upstream(Settings { limits: slow, ..settings(nginx.address) });
    let (growth, mut grown) = watch::channel(None);
    let some = |growth: &Option<Growth>| growth.as_ref().is_some_and(|growth| growth.arrived > 1_000_000);
    tokio::select! {
        _ = site.fetch_telling(&upstream, promise_of(&data), &growth) => panic!("it ended"),
        there = grown.wait_for(some) => drop(there.unwrap()),
    }
    let site = site.restarted();
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    let asked = nginx.asked(2).await;
    assert!(asked.iter().any(|line| line.contains(" 206 bytes=")), "{asked:?}");
}

#[tokio::test]
async fn a_file_that_changed_before_the_rest_was_asked_for_is_the_new_one() {
    let nginx = Nginx::start("");
    let (old, new, site) = (blob(4, SIZE), blob(5, SIZE - 1), Site::new());
    nginx.put(&old);
    let (line, _line) = cutting_line(nginx.address, vec![1_000_000, usize::MAX]).await;
    let (growth, mut grown) = watch::channel(None);
    let upstream =
        upstream(Settings { limits: Limits { first_wait: Duration::from_millis(500), ..limits() }, ..settings(line) });
    let fetch = site.fetch_telling(&upstream, Promise { sha1: Some(sha1_of(&new)), ..Promise::default() }, &growth);
    tokio::pin!(fetch);
    tokio::select! {
        _ = &mut fetch => panic!("it ended"),
        there = grown.wait_for(|growth| growth.as_ref().is_some_and(|it: &Growth| it.arrived > 0)) => drop(there.unwrap()),
    }
    nginx.put(&new);
    site.publish(fetch.await.unwrap(), &new);
}

#[tokio::test]
async fn a_head_and_redirects_inside_the_list_are_answered_by_a_real_server() {
    let more = format!(
        "location = /fwlink {{ return 302 http://{HOST}/c/msdownload/{NAME}; }}\n\
                        location = /away {{ return 302 http://example.org/x; }}"
    );
    let nginx = Nginx::start(&more);
    nginx.put(&blob(6, SIZE));
    let upstream = upstream(settings(nginx.address));
    let origin = upstream.head(&format!("http://{HOST}/fwlink")).await.unwrap();
    assert_eq!((origin.size, origin.modified), (SIZE as u64, Some(STAMP)));
    let refused = upstream.head(&format!("http://{HOST}/away")).await.unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    let gone = upstream.head(&format!("http://{HOST}/gone")).await.unwrap_err();
    assert!(!gone.is_transient() && gone.to_string().contains("404"), "{gone}");
}

/// A line to `to` on which each connection breaks after so many bytes of its answer, the last for all others.
async fn cutting_line(to: SocketAddr, cuts: Vec<usize>) -> (SocketAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut line = JoinSet::new();
    line.spawn(async move {
        let mut connections = JoinSet::new();
        for n in 0.. {
            let Ok((near, _)) = listener.accept().await else { return };
            let cut = cuts[n.min(cuts.len() - 1)];
            connections.spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                carry(near, far, cut).await
            });
        }
    });
    (address, line)
}

async fn carry(near: TcpStream, far: TcpStream, mut cut: usize) {
    let ((mut asking, mut answered), (mut answers, mut asked)) = (near.into_split(), far.into_split());
    let question = async { tokio::io::copy(&mut asking, &mut asked).await };
    let answer = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = answers.read(&mut bytes).await {
            let n = n.min(cut);
            cut -= n;
            if answered.write_all(&bytes[..n]).await.is_err() || cut == 0 {
                return;
            }
        }
    };
    tokio::select! {
        _ = question => {}
        () = answer => {}
    }
}
