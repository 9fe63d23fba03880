//! Live bars: one for what each folder lacks, one for each transfer.

use crate::{
    cli::{out::printable, progress},
    daemon::api::StatusReport,
};
use indicatif::{MultiProgress, ProgressBar};
use std::collections::BTreeMap;

/// The bars on the screen, by what they show.
#[derive(Debug, Default)]
pub(super) struct Bars {
    screen: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

/// How far one thing is.
struct Progress {
    done: u64,
    total: u64,
    message: String,
}

impl Bars {
    fn begin(&self, name: &str, progress: &Progress) -> ProgressBar {
        let bar = self.screen.add(progress::bytes_bar(name.to_owned()));
        // What was there before somebody looked is no speed: the estimator learns of it, and forgets it.
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.tick();
        bar.reset_eta();
        bar
    }

    /// Takes the bars off the screen while `act` writes there.
    pub(super) fn suspend<R>(&self, act: impl FnOnce() -> R) -> R {
        self.screen.suspend(act)
    }

    /// Moves the bars to where `report` is; what it does not name goes.
    pub(super) fn show(&mut self, report: &StatusReport) {
        let wanted = wanted(report);
        self.bars.retain(|name, bar| {
            let stays = wanted.contains_key(name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, progress) in wanted {
            if !self.bars.contains_key(&name) {
                let bar = self.begin(&name, &progress);
                self.bars.insert(name.clone(), bar);
            }
            let Some(bar) = self.bars.get(&name) else { continue };
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.set_message(progress.message);
        }
    }
}

fn wanted(report: &StatusReport) -> BTreeMap<String, Progress> {
    let folders = report.folders.iter().map(|folder| match folder.adopting {
        Some(adopting) => {
            let message = format!("{} of {} files read", adopting.done_files, adopting.total_files);
            (folder.name.to_string(), Progress { done: adopting.done_bytes, total: adopting.total_bytes, message })
        }
        None => {
            let message = format!("{} files missing", folder.missing_files);
            (folder.name.to_string(), Progress { done: folder.held_bytes, total: folder.bytes, message })
        }
    });
    let transfers = report.transfers.iter().map(|transfer| {
        let name = format!("{}/{}", transfer.folder, printable(&transfer.name));
        let message = format!("from {}", printable(&transfer.from));
        (name, Progress { done: transfer.done_bytes, total: transfer.size_bytes, message })
    });
    folders.chain(transfers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_somebody_looked_is_no_speed() {
        let bars = Bars {
            screen: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()),
            ..Default::default()
        };
        let bar = bars.begin("x", &Progress { done: 1 << 40, total: 1 << 41, message: String::new() });
        assert!(bar.per_sec() < 1024.0, "{}", bar.per_sec());
    }
}
