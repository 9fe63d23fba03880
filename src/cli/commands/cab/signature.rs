//! A signature for people, and how far reading the cabinet is.

use crate::{
    cli::{
        out::{Style, printable},
        progress,
    },
    daemon::{CertificateReport, SignatureReport},
};
use indicatif::ProgressBar;
use std::path::Path;

/// Who signed, when, and whose certificates that stands on.
pub(super) fn page(report: &SignatureReport, style: Style) -> String {
    let mut page = format!("{}\n{}", style.bold("signed by"), chain(&report.chain, style));
    match &report.time_stamp {
        Some(stamp) => {
            let heading = style.bold(&format!("time stamp of {} by", stamp.at));
            page += &format!("{heading}\n{}", chain(&stamp.chain, style));
        }
        None => page += "no time stamp\n",
    }
    page + &format!("{} {} of what is signed\n", report.digest_algorithm, report.digest)
}

fn chain(chain: &[CertificateReport], style: Style) -> String {
    let certificates = chain.iter().map(|link| {
        let CertificateReport { subject, sha256, not_before, not_after, .. } = link;
        let details = style.dim(&format!("valid {not_before} to {not_after}"));
        format!("  {}\n    sha256 {sha256}\n    {details}\n", printable(subject))
    });
    let last = chain.last().filter(|last| last.issuer != last.subject);
    let above = last.map(|last| format!("  (issued by {})\n", printable(&last.issuer)));
    certificates.chain(above).collect()
}

/// Draws reading; clears itself when it is dropped.
pub(super) struct Reading(ProgressBar);

impl Reading {
    pub(super) fn of(path: &Path) -> Self {
        Self(progress::bytes_bar(printable(&path.display().to_string())))
    }

    pub(super) fn on_progress(&self, read: u64, len: u64) {
        self.0.set_length(len);
        self.0.set_position(read);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_shown_with_the_fingerprint_of_each_certificate() {
        let certificate = |subject: &str, issuer: &str, sha256: &str| CertificateReport {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            sha256: sha256.to_owned(),
            not_before: "A".to_owned(),
            not_after: "B".to_owned(),
        };
        let report = SignatureReport {
            digest_algorithm: "sha256".to_owned(),
            digest: "07".to_owned(),
            chain: vec![certificate("CN=leaf\n", "CN=root", "aa"), certificate("CN=root", "CN=other", "bb")],
            time_stamp: None,
        };
        let expected = "signed by\n  CN=leaf\u{fffd}\n    sha256 aa\n    valid A to B\n  CN=root\n    sha256 bb\n    \
                        valid A to B\n  (issued by CN=other)\nno time stamp\nsha256 07 of what is signed\n";
        assert_eq!(page(&report, Style::Plain), expected);
    }
}
