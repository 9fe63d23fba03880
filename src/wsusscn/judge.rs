//! Whether an edition that could be read is one to publish, and what of it a person should know. Pure.
//!
//! What makes an edition tell too little of too much refuses it: the one before is better. What is odd about
//! some of it is told, and the edition is published: hosts get what Microsoft signed. Addresses, sizes and
//! numbers that lead nowhere are in every edition, and are told only where they are many.

use super::edition::{Edition, Oddities};

/// What another edition had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Updates.
    pub updates: u64,
    /// Files.
    pub files: u64,
}

/// What to make of an edition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why it is not published, in one line.
    pub refused: Option<String>,
    /// What is odd about it, each in one line.
    pub odd: Vec<String>,
}

/// More than one part in so many is odd.
const ODD_PART: u64 = 20;
/// Fewer than so many parts in ten of what the last edition had are odd; fewer than half are refused.
const USUAL_TENTHS: u64 = 9;

impl Edition {
    /// Judges it, beside the one that is published.
    pub fn judge(&self, last: Option<Counts>) -> Judgement {
        let counts = Counts { updates: self.update_count() as u64, files: self.file_count() as u64 };
        judge(counts, self.oddities(), last)
    }
}

fn judge(counts: Counts, oddities: &Oddities, last: Option<Counts>) -> Judgement {
    let mut judgement = Judgement::default();
    let Counts { updates, files } = counts;
    for (shard, missed) in &oddities.missing_shards {
        match missed {
            0 => judgement.odd.push(format!("the index names {shard}, which is not there, and no update of it")),
            _ => judgement.refuse(format!("{shard}, which tells of {missed} updates, is not there")),
        }
    }
    if let Some(last) = last {
        for (what, now, last) in [("updates", updates, last.updates), ("files", files, last.files)] {
            if now < last.div_ceil(2) {
                judgement.refuse(format!("there are {now} {what}, far fewer than the {last} of the last edition"));
            } else if now * 10 < last * USUAL_TENTHS {
                judgement.odd.push(format!("there are {now} {what}; the last edition had {last}"));
            }
        }
    }
    for (of, all, what, some) in [
        (updates, "updates", "without any details", oddities.updates_without_details),
        (files, "files", "without an address", oddities.files_without_url),
        (files, "files", "without a size", oddities.files_without_size),
    ] {
        let some = u64::from(some);
        if some * 2 > of {
            judgement.refuse(format!("{some} of {of} {all} are {what}"));
        } else if some * ODD_PART > of {
            judgement.odd.push(format!("{some} of {of} {all} are {what}"));
        }
    }
    for (some, of, what) in [
        (oddities.contradictory_files, files, "files whose sizes or SHA-256 contradict each other"),
        (oddities.details_without_update, updates, "details of updates that are not there"),
        (oddities.unreadable_values, updates, "severities, articles and digests that can't be read"),
        (oddities.refused_urls, files, "addresses that can't be those of mirrored files"),
    ] {
        if u64::from(some) * ODD_PART > of {
            judgement.odd.push(format!("there are {some} {what}"));
        }
    }
    if let [first, ..] = &oddities.unlisted_cabinets[..] {
        let count = oddities.unlisted_cabinets.len();
        judgement.odd.push(format!("{count} cabinets are there that the index does not name, such as {first}"));
    }
    judgement
}

impl Judgement {
    /// The first reason is told.
    fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts { updates: 1_000, files: 100 };

    fn odd(oddities: Oddities, last: Option<Counts>) -> Vec<String> {
        let judgement = judge(COUNTS, &oddities, last);
        assert_eq!(judgement.refused, None);
        judgement.odd
    }

    fn refused(oddities: Oddities, last: Option<Counts>) -> String {
        judge(COUNTS, &oddities, last).refused.unwrap()
    }

    fn shard(updates: u32) -> Oddities {
        Oddities { missing_shards: vec![("package7.cab".to_owned(), updates)], ..Oddities::default() }
    }

    #[test]
    fn a_shard_that_is_not_there_refuses_the_edition_if_updates_are_in_it() {
        assert_eq!(refused(shard(3), None), "package7.cab, which tells of 3 updates, is not there");
        assert_eq!(odd(shard(0), None), ["the index names package7.cab, which is not there, and no update of it"]);
    }

    #[test]
    fn fewer_updates_or_files_than_the_last_edition_had_are_odd_and_far_fewer_are_refused() {
        let last = |updates, files| Some(Counts { updates, files });
        assert_eq!(odd(Oddities::default(), last(1_111, 111)), [""; 0]);
        assert_eq!(odd(Oddities::default(), last(1_112, 100)), ["there are 1000 updates; the last edition had 1112"]);
        assert_eq!(odd(Oddities::default(), last(100, 200)), ["there are 100 files; the last edition had 200"]);
        assert_eq!(
            refused(Oddities::default(), last(1_000, 201)),
            "there are 100 files, far fewer than the 201 of the last edition"
        );
        assert!(refused(Oddities::default(), last(2_001, 100)).contains("far fewer than the 2001"));
    }

    #[test]
    fn some_oddities_are_usual_many_are_told_and_too_many_are_refused() {
        let details = |updates_without_details| Oddities { updates_without_details, ..Oddities::default() };
        assert_eq!(odd(details(50), None), [""; 0]);
        assert_eq!(odd(details(51), None), ["51 of 1000 updates are without any details"]);
        assert_eq!(odd(details(500), None).len(), 1);
        assert_eq!(refused(details(501), None), "501 of 1000 updates are without any details");
        let urls = |files_without_url| Oddities { files_without_url, ..Oddities::default() };
        assert_eq!((odd(urls(5), None).len(), odd(urls(6), None).len()), (0, 1));
        assert!(refused(urls(51), None).contains("without an address"));
        let cabinets = Oddities { unlisted_cabinets: vec!["a.cab".to_owned()], ..Oddities::default() };
        assert_eq!(odd(cabinets, None), ["1 cabinets are there that the index does not name, such as a.cab"]);
        let values = Oddities { unreadable_values: 51, contradictory_files: 6, ..Oddities::default() };
        assert_eq!(odd(values, None).len(), 2);
    }
}
