//! The rules of WAPT's `rules.json`, where the configuration names it: read again when the file changed.

use crate::{
    daemon::{
        api::{RepositoryRuleReport, RepositoryRulesReport},
        config,
        node::lock,
    },
    domain::nearest::Rule,
    wapt::repo_rules::{self, RepoRule},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::SystemTime,
};

/// What was read last.
#[derive(Debug, Default)]
struct Last {
    modified: Option<SystemTime>,
    used: Arc<Vec<Rule>>,
    unused: Vec<(String, String)>,
    error: Option<String>,
}

/// WAPT's rules as they were proven last.
#[derive(Debug)]
pub(in crate::daemon) struct WaptRules {
    file: Option<PathBuf>,
    signers: Vec<PathBuf>,
    last: Mutex<Last>,
}

impl WaptRules {
    pub(in crate::daemon) fn new(config: &config::Nearest) -> Self {
        Self { file: config.rules_json.clone(), signers: config.rules_signers.clone(), last: Mutex::default() }
    }

    /// Those that are used, in their order.
    pub(in crate::daemon) fn used(&self) -> Arc<Vec<Rule>> {
        lock(&self.last).used.clone()
    }

    /// All of them, for people.
    pub(in crate::daemon) fn report(&self) -> RepositoryRulesReport {
        let last = lock(&self.last);
        let unused = last.unused.iter().map(|(name, why)| RepositoryRuleReport {
            name: name.clone(),
            unused: Some(why.clone()),
            ..RepositoryRuleReport::default()
        });
        RepositoryRulesReport {
            wapt: last.used.iter().map(super::handlers::rule_report).chain(unused).collect(),
            wapt_error: last.error.clone(),
            ..RepositoryRulesReport::default()
        }
    }

    /// Reads the file if it changed since. What can't be read takes the place of nothing that was proven before.
    pub(in crate::daemon) fn read_again(&self) {
        let Some(file) = &self.file else { return };
        let modified = fs::metadata(file).and_then(|found| found.modified());
        let mut last = lock(&self.last);
        if modified.as_ref().ok() == last.modified.as_ref() && last.modified.is_some() {
            return;
        }
        match modified.and_then(|modified| Ok((modified, read(file, &self.signers)?))) {
            Ok((modified, rules)) => *last = sorted(modified, rules),
            Err(error) => {
                let text = format!("{}: {error}", file.display());
                if last.error.as_ref() != Some(&text) {
                    tracing::warn!(%text, "WAPT's rules can't be read");
                }
                (last.error, last.modified) = (Some(text), None);
            }
        }
    }
}

fn sorted(modified: SystemTime, rules: Vec<RepoRule>) -> Last {
    let (mut used, mut unused) = (Vec::new(), Vec::new());
    for rule in rules {
        match rule {
            RepoRule::Used(rule) => used.push(rule),
            RepoRule::Unused { name, why } => unused.push((name, why)),
        }
    }
    used.sort_by(|a, b| (a.sequence, &a.name).cmp(&(b.sequence, &b.name)));
    Last { modified: Some(modified), used: Arc::new(used), unused, error: None }
}

fn read(file: &Path, signers: &[PathBuf]) -> io::Result<Vec<RepoRule>> {
    let mut certificates = Vec::new();
    for path in signers {
        let pem = fs::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            certificates.push(certificate.to_vec());
        }
    }
    let mut text = Vec::new();
    fs::File::open(file)?.take(repo_rules::MAX_BYTES + 1).read_to_end(&mut text)?;
    repo_rules::read(&text, &certificates).map_err(|error| io::Error::other(crate::base::chain::chain(&error)))
}
