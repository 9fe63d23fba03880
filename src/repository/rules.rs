//! The rules: the `rules` namespace, and the main's own copy of it in the ledger.
//!
//! Keys: `ini` is what the configuration file says; `set/<name>` a rule set; `change/<n>` a change that was made,
//! in a ring, so that old ones go without tombstones. A change is written in the commit that makes it.

use super::{error::RepositoryError, open::Repository};
use crate::domain::{
    rules::{CHANGES_KEPT, IniRules, RuleBook, RuleChange, RuleSet, RuleSetError, SetEdit, SetEditError, SetName},
    state::{Body, Namespace},
};

const INI: &[u8] = b"ini";
const SET: &[u8] = b"set/";
const CHANGE: &[u8] = b"change/";

/// Rules that were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRulesError {
    /// No set has this name.
    #[error("there is no rule set {0}")]
    UnknownSet(SetName),
    /// The set is not to be changed by hand.
    #[error(transparent)]
    Edit(#[from] SetEditError),
    /// The set is too large.
    #[error(transparent)]
    Set(#[from] RuleSetError),
    /// The state could not be read or signed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl Repository {
    /// All rules. Rows that this program can't read are passed over.
    pub fn rules(&self) -> Result<RuleBook, RepositoryError> {
        let mut book = RuleBook::default();
        self.state.index.read()?.each_entry(&Namespace::rules(), |key, body| {
            let Some(value) = Body::value_of(body) else { return Ok::<_, RepositoryError>(()) };
            if key == INI {
                book.ini = IniRules::decode(value).unwrap_or_default();
            } else if key.starts_with(SET) {
                book.sets.extend(RuleSet::decode(value));
            }
            Ok(())
        })?;
        book.sets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(book)
    }

    /// The changes that are remembered, newest first.
    pub fn rule_changes(&self) -> Result<Vec<RuleChange>, RepositoryError> {
        let mut changes = Vec::new();
        self.state.index.read()?.each_entry(&Namespace::rules(), |key, body| {
            let value = Body::value_of(body).filter(|_| key.starts_with(CHANGE));
            changes.extend(value.and_then(|value| RuleChange::decode(value).ok()));
            Ok::<_, RepositoryError>(())
        })?;
        changes.sort_by_key(|change| std::cmp::Reverse(change.number));
        Ok(changes)
    }

    /// Changes an administrator's own set, which is made if it is not there yet; answers with what it is then.
    /// What changes nothing is no change.
    pub fn edit_rules(&self, name: &SetName, edit: &SetEdit, by: &str) -> Result<RuleSet, ChangeRulesError> {
        let _turn = self.rules_turn();
        let (key, book) = (set_key(name), self.rules()?);
        let before = book.sets.into_iter().find(|set| set.name == *name);
        let mut set = before.clone().unwrap_or_else(|| RuleSet::own(name.clone()));
        set.edit(edit)?;
        if before.as_ref() != Some(&set) {
            self.change_rules(key, Some(set.encode()?), Some(name.clone()), by, edit.to_string())?;
        }
        Ok(set)
    }

    /// Takes a set as it is, in place of the one of its name.
    pub fn put_rules(&self, set: &RuleSet, by: &str, what: String) -> Result<(), ChangeRulesError> {
        let _turn = self.rules_turn();
        if self.rules()?.sets.contains(set) {
            return Ok(());
        }
        Ok(self.change_rules(set_key(&set.name), Some(set.encode()?), Some(set.name.clone()), by, what)?)
    }

    /// Removes a set.
    pub fn remove_rules(&self, name: &SetName, by: &str) -> Result<(), ChangeRulesError> {
        let _turn = self.rules_turn();
        if !self.rules()?.sets.iter().any(|set| set.name == *name) {
            return Err(ChangeRulesError::UnknownSet(name.clone()));
        }
        Ok(self.change_rules(set_key(name), None, Some(name.clone()), by, "removed it".to_owned())?)
    }

    /// Takes what the configuration file says; `true` if it says something else than before.
    pub fn put_ini_rules(&self, rules: &IniRules, by: &str) -> Result<bool, RepositoryError> {
        let _turn = self.rules_turn();
        if self.rules()?.ini == *rules {
            return Ok(false);
        }
        self.change_rules(INI.to_vec(), Some(rules.encode()?), None, by, "read it again".to_owned())?;
        Ok(true)
    }

    fn rules_turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.changing_rules.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change_rules(
        &self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        set: Option<SetName>,
        by: &str,
        what: String,
    ) -> Result<(), RepositoryError> {
        let at = self.clock.unix_seconds();
        let number = self.rule_changes()?.first().map_or(1, |last| last.number + 1);
        let change = RuleChange { number, at, by: by.to_owned(), set, what };
        let change = (change_key(number), Some(change.encode()?));
        self.put_rows(&Namespace::rules(), vec![(key, value), change])
    }
}

fn set_key(name: &SetName) -> Vec<u8> {
    [SET, name.as_str().as_bytes()].concat()
}

fn change_key(number: u64) -> Vec<u8> {
    [CHANGE, &(number % CHANGES_KEPT).to_be_bytes()[6..]].concat()
}

#[cfg(test)]
mod tests;
