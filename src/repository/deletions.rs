//! The cap on deletions, where tombstones are born. Pure.

/// How much one hour may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletionCap {
    /// Share of a folder's files, in percent.
    pub max_percent: u8,
    /// Always allowed, however small the folder.
    pub min_files: u64,
}

/// Whether removals become tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionPlan {
    /// Sign them.
    Sign,
    /// Sign nothing and raise an alarm.
    Withhold {
        /// The most that would have been signed.
        allowed: u64,
    },
}

/// Decides on `asked` removals in a folder of `files`, after `signed_lately` in the last hour.
pub fn plan_deletions(asked: u64, signed_lately: u64, files: u64, cap: DeletionCap) -> DeletionPlan {
    let share = (files.saturating_add(signed_lately)).saturating_mul(u64::from(cap.max_percent)) / 100;
    let allowed = share.max(cap.min_files);
    if asked.saturating_add(signed_lately) <= allowed {
        DeletionPlan::Sign
    } else {
        DeletionPlan::Withhold { allowed: allowed.saturating_sub(signed_lately) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: DeletionCap = DeletionCap { max_percent: 20, min_files: 20 };

    #[test]
    fn a_share_of_a_large_folder_and_a_handful_of_a_small_one_may_go() {
        for (asked, lately, files, plan) in [
            (20, 0, 20, DeletionPlan::Sign),
            (21, 0, 21, DeletionPlan::Withhold { allowed: 20 }),
            (200, 0, 1_000, DeletionPlan::Sign),
            (201, 0, 1_000, DeletionPlan::Withhold { allowed: 200 }),
            (1_000, 0, 1_000, DeletionPlan::Withhold { allowed: 200 }),
            (0, 0, 0, DeletionPlan::Sign),
        ] {
            assert_eq!(plan_deletions(asked, lately, files, CAP), plan, "{asked} of {files}");
        }
    }

    #[test]
    fn many_small_deletions_in_one_hour_count_as_one_large() {
        assert_eq!(plan_deletions(1, 199, 801, CAP), DeletionPlan::Sign);
        assert_eq!(plan_deletions(2, 199, 801, CAP), DeletionPlan::Withhold { allowed: 1 });
    }
}
