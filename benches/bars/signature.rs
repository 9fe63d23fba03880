//! Who signed a cabinet of the size of `wsusscn2.cab`: what `wuasync cab verify` takes beside the digest alone.

use crate::{
    Plan,
    editions::cabs::{Cabinet, Folder, Packing},
    lab::{Identity, Key, Lab, Signing, issuer, signer},
    meter::{Meter, medians, peak_memory_of_living},
    peers,
};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// 650 MB, stored; beside `openssl dgst -sha256`.
pub(crate) fn signature(plan: &Plan) {
    let lab = Lab::new();
    let root = Identity::root(lasting(issuer("root")), Key::Rsa);
    let leaf = root.issue(lasting(signer("leaf")), Key::Rsa);
    let mut content = vec![0; plan.scaled(650_000_000) as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    let plain = Cabinet::new(vec![Folder::new(Packing::Stored, &[("all", &content)])]).to_bytes();
    let signed = lab.write("to-verify.cab", lab.sign_file(&plain, &Signing::by(&leaf), &[]));
    let root = lab.write("anchor.pem", &root.pem);
    drop((content, plain));
    let (mut own, mut theirs, mut most) = (vec![], vec![], 0.0_f64);
    for _ in 0..plan.runs {
        let meter = Meter::begin(&[]);
        most = most.max(verify(&signed, &root));
        own.push(meter.end(None));
        theirs.push(peers::timed(Command::new("openssl").args(["dgst", "-sha256"]).arg(&signed)));
    }
    let (own, theirs) = (medians(&own), medians(&theirs));
    println!("the signature of 650 MB; medians of {} runs", plan.runs);
    println!("  wuasync cab verify    {:>6.3} s, {:.1} MB of memory at most", own.seconds, most);
    println!("  openssl dgst -sha256  {:>6.3} s; we take {:.2} of that", theirs.seconds, own.seconds / theirs.seconds);
}

/// The most memory, in MB.
fn verify(cabinet: &Path, root: &Path) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wuasync"));
    command.args(["cab", "verify", "--root"]).arg(root).arg(cabinet).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut most = 0.0;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success(), "it verifies");
                return most;
            }
            None => most = peak_memory_of_living(child.id()).unwrap_or(most),
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn lasting(mut params: rcgen::CertificateParams) -> rcgen::CertificateParams {
    params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    params
}
