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
            let bar = self.bars.entry(name).or_insert_with_key(|name| {
                let bar = self.screen.add(progress::bytes_bar(name.clone()));
                // What was there before somebody looked is no speed.
                bar.set_position(progress.done);
                bar.reset_eta();
                bar
            });
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
