//! Which rows of the ledger have served their time. Pure.

/// For how long a file that hosts of a secondary asked for in vain is remembered after the last asking, in seconds: 30 days.
const ASKED_IN_VAIN_FOR: u64 = 30 * 86_400;

/// What an upkeep of the ledger at `now` (seconds since 1970 UTC) forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpkeepPlan {
    /// Files that were asked for in vain, and not at this time or later: seconds since 1970 UTC.
    pub asks_before: u64,
}

/// Plans for this moment. A clock that was set back forgets nothing that is younger by it.
pub fn plan_upkeep(now: u64) -> UpkeepPlan {
    UpkeepPlan { asks_before: now.saturating_sub(ASKED_IN_VAIN_FOR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_within_thirty_days_stays() {
        assert_eq!(plan_upkeep(100 * 86_400).asks_before, 70 * 86_400);
        assert_eq!(plan_upkeep(86_400).asks_before, 0);
    }
}
