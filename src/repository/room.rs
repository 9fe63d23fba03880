//! Tells people when a folder's disk is full, and when it is so no longer.

use super::{
    attention::Alarm,
    open::{Folder, Repository},
};
use crate::base::units;

impl Repository {
    /// Brings the alarms over full disks in step with the disks. Blocks for a system call per folder.
    pub fn judge_rooms(&self) {
        self.folders.values().for_each(|open| self.judge_room(open));
    }

    pub(super) fn judge_room(&self, open: &Folder) {
        let alarm = Alarm::DiskFull(open.name.clone());
        match open.staging.shortage() {
            Ok(None) => self.attention.clear(&alarm),
            Ok(Some(refused)) => {
                let (size, free) = (units::bytes(refused.size_bytes), units::bytes(refused.available_bytes));
                let kept = units::bytes(refused.reserve_bytes);
                let what = format!("no room for {size} in {}: {free} are free, {kept} are kept", open.path.display());
                self.attention.raise(alarm, what, "make room on the disk, or lower the reserve");
            }
            Err(error) => tracing::warn!(folder = %open.name, %error, "looking at the room on the disk failed"),
        }
    }
}
