//! The table of jobs: what each is called, what it is for, and which timer of systemd may begin it.

use std::{fmt, str::FromStr};

/// A job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobName {
    /// Microsoft's index of updates is kept fresh.
    RefreshCab,
    /// What is wanted is fetched.
    ScanWants,
    /// The parent is asked for its head.
    Pull,
    /// Every file is read again and verified.
    Scrub,
    /// Files that no host needs go.
    Cleanup,
    /// The ledger is copied beside itself.
    CopyLedger,
}

/// No job has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no job is named {0:?}; there are {names}", names = JobName::ALL.map(JobName::as_str).join(", "))]
pub struct UnknownJob(String);

impl JobName {
    /// Every job, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::RefreshCab, Self::ScanWants, Self::Pull, Self::Cleanup, Self::Scrub, Self::CopyLedger];

    /// As in commands, units and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshCab => "refresh-cab",
            Self::ScanWants => "scan-wants",
            Self::Pull => "pull",
            Self::Scrub => "scrub",
            Self::Cleanup => "cleanup",
            Self::CopyLedger => "copy-ledger",
        }
    }

    /// What it is for, for people.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::RefreshCab => "asks Microsoft for another edition of its index",
            Self::ScanWants => "fetches what is wanted and not here",
            Self::Pull => "asks the parent for its newest state, which tells of changes by itself",
            Self::Scrub => "begins to read and verify every file",
            Self::Cleanup => "lets go what no host needs",
            Self::CopyLedger => "forgets what has served its time, and copies the ledger beside itself",
        }
    }

    /// The timer of systemd that asks whether it is due; none where only the daemon's own clock does.
    pub fn timer(self) -> Option<&'static str> {
        match self {
            Self::RefreshCab => Some("wuasync-refresh.timer"),
            Self::ScanWants => Some("wuasync-scan.timer"),
            Self::Pull => Some("wuasync-pull.timer"),
            Self::Scrub => Some("wuasync-scrub.timer"),
            Self::Cleanup => Some("wuasync-cleanup.timer"),
            Self::CopyLedger => None,
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobName {
    type Err = UnknownJob;

    fn from_str(text: &str) -> Result<Self, UnknownJob> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownJob(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_a_wrong_one_is_told_those_that_there_are() {
        for name in JobName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
        }
        let error = "scrap".parse::<JobName>().unwrap_err().to_string();
        assert!(error.contains("\"scrap\"") && error.contains("refresh-cab, scan-wants"), "{error}");
    }
    #[test]
    fn every_timer_has_units_that_ask_for_its_job() {
        let unit =
            |file: &str| std::fs::read_to_string(format!("{}/systemd/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for name in JobName::ALL {
            let Some(timer) = name.timer() else { continue };
            let service = unit(&timer.replace(".timer", ".service"));
            assert!(service.contains(&format!("ExecStart=/usr/bin/wuasync jobs run {name} --due\n")), "{service}");
            assert!(unit(timer).contains("WantedBy=timers.target"), "{timer}");
        }
    }
}
