//! A client that nobody here has written.

use super::site::*;
use std::{
    process::{Command, Output},
    time::UNIX_EPOCH,
};

/// Runs curl without anybody's configuration or proxy.
async fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "30"]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("curl is installed")).await.unwrap()
}

#[tokio::test]
async fn curl_gets_resumes_and_revalidates() {
    let site = Site::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.msu");
    let (file, url) = (path.to_str().unwrap(), format!("http://{}/waptwua/large.msu", site.address));
    let size = 3 * MIB + 17;

    let head = curl(&["-I", &url]).await;
    let head = String::from_utf8(head.stdout).unwrap();
    assert!(head.contains(&format!("content-length: {size}")) && head.contains(DATE), "{head}");

    let part = curl(&["-r", "5-9", &url]).await;
    assert_eq!(part.stdout, pattern(5, 10));

    std::fs::write(file, pattern(0, 1_234_567)).unwrap();
    let resumed = curl(&["-R", "-C", "-", "-o", file, &url]).await;
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(std::fs::read(file).unwrap() == pattern(0, size));
    let modified = std::fs::metadata(file).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(UNIX_EPOCH).unwrap().as_secs(), MODIFIED as u64);

    let complete = curl(&["-C", "-", "-o", file, &url]).await;
    assert!(complete.status.success(), "{complete:?}");
    assert!(std::fs::read(file).unwrap() == pattern(0, size));

    let unchanged = curl(&["-z", DATE, "-w", "%{http_code} %{size_download}", &url]).await;
    assert_eq!(unchanged.stdout, b"304 0");
    site.stop().await;
}
