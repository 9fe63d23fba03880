//! `waptwua_rules.json`: the rules of a WAPT package.
//!
//! An object of lists: `allowed_updates`, `forbidden_updates`, `allowed_kbs`, `forbidden_kbs`, `allowed_products`,
//! `allowed_severities`, `allowed_classifications`; `null`, or one text with commas, in place of a list. Whatever
//! else is in it has no effect, and is told: `default_allow` is the configuration file's alone.

use crate::domain::rules::{Criterion, ParseCriterionError};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of such a file: 10,000 updates are below.
pub const MAX_BYTES: usize = 1 << 20;
/// Most criteria in it.
const MAX_CRITERIA: usize = 20_000;
/// Most remarks that are kept: a person reads no more.
const MAX_REMARKS: usize = 100;

type Parse = fn(&str) -> Result<Criterion, ParseCriterionError>;

/// Lists, what is in them, and whether it is forbidden.
const LISTS: [(&str, Parse, bool); 7] = [
    ("allowed_updates", Criterion::update, false),
    ("forbidden_updates", Criterion::update, true),
    ("allowed_kbs", Criterion::kb, false),
    ("forbidden_kbs", Criterion::kb, true),
    ("allowed_products", Criterion::product, false),
    ("allowed_severities", Criterion::severity, false),
    ("allowed_classifications", Criterion::classification, false),
];

/// A file that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum RulesJsonError {
    /// It is too long.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    /// It is no such JSON.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// A list that is none.
    #[error("{list}: neither a list of texts nor null")]
    List {
        /// Which.
        list: &'static str,
    },
    /// Something in a list that makes no sense.
    #[error("{list}")]
    Item {
        /// Which list.
        list: &'static str,
        /// What is wrong with it.
        source: ParseCriterionError,
    },
    /// More than anybody means.
    #[error("it has more than {MAX_CRITERIA} rules")]
    TooMany,
}

/// What such a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesJson {
    /// What is let through.
    pub allowed: BTreeSet<Criterion>,
    /// What is not, whatever else is.
    pub forbidden: BTreeSet<Criterion>,
    /// What was passed over, in words.
    pub remarks: Vec<String>,
}

impl RulesJson {
    /// Reads the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, RulesJsonError> {
        if bytes.len() > MAX_BYTES {
            return Err(RulesJsonError::TooLong);
        }
        let json = |error: serde_json::Error| RulesJsonError::Json {
            line: error.line(),
            column: error.column(),
            what: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
        };
        let mut reader = serde_json::Deserializer::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let values = BTreeMap::<String, Value>::deserialize(&mut reader).map_err(json)?;
        reader.end().map_err(json)?;
        let mut rules = Self::default();
        for (list, parse, is_forbidden) in LISTS {
            for item in items(values.get(list), list)? {
                rules.take(list, parse(&item), is_forbidden)?;
            }
        }
        rules.remark_on(&values);
        rules.remarks.truncate(MAX_REMARKS);
        Ok(rules)
    }

    fn take(
        &mut self,
        list: &'static str,
        criterion: Result<Criterion, ParseCriterionError>,
        is_forbidden: bool,
    ) -> Result<(), RulesJsonError> {
        match criterion {
            Ok(criterion) => {
                if is_forbidden {
                    self.forbidden.insert(criterion)
                } else {
                    self.allowed.insert(criterion)
                };
            }
            Err(source @ ParseCriterionError::Severity(_)) => self.remarks.push(format!("{list}: {source}")),
            Err(source) => return Err(RulesJsonError::Item { list, source }),
        }
        if self.allowed.len() + self.forbidden.len() > MAX_CRITERIA { Err(RulesJsonError::TooMany) } else { Ok(()) }
    }

    fn remark_on(&mut self, values: &BTreeMap<String, Value>) {
        for (key, value) in values {
            let is_list = LISTS.iter().any(|(list, ..)| list == key);
            let is_unset = value.is_null() || *value == Value::Bool(false);
            if is_list || is_unset || self.remarks.len() >= MAX_REMARKS {
                continue;
            }
            let key: String = key.chars().take(80).collect();
            let why = match key.as_str() {
                "default_allow" | "include_potentially_superseded_updates" => "wapt-get.ini alone says that",
                _ => "nothing is known of it",
            };
            self.remarks.push(format!("{key} has no effect: {why}"));
        }
    }
}

/// The texts of a list; numbers stand for themselves, as in a list of articles.
fn items(value: Option<&Value>, list: &'static str) -> Result<Vec<String>, RulesJsonError> {
    let text = |item: &Value| match item {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(RulesJsonError::List { list }),
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(Value::String(text)) => {
            Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
        }
        Some(_) => Err(RulesJsonError::List { list }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: &RulesJsonError) -> String {
        let source = std::error::Error::source(error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    }

    #[test]
    fn rules_of_every_kind_are_read_and_what_has_no_effect_is_told() {
        let guid = "0fa1201d-4330-4fa8-8ae9-b877473b6441";
        let json = format!(
            r#"{{"allowed_updates": ["{guid}_3"], "forbidden_updates": ["{guid}"], "allowed_kbs": [1, "KB2"],
            "forbidden_kbs": "3, kb4", "allowed_products": ["Windows 10, version 1903 and later"],
            "allowed_severities": ["critical", "Gravest"], "allowed_classifications": ["Security Updates"],
            "default_allow": true, "include_potentially_superseded_updates": false, "colour": "red"}}"#
        );
        let rules = RulesJson::parse(json.as_bytes()).unwrap();
        let texts = |list: &BTreeSet<Criterion>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&rules.forbidden), [format!("update {guid}"), "KB3".into(), "KB4".into()]);
        assert_eq!(
            texts(&rules.allowed),
            [
                &format!("update {guid}_3"),
                "KB1",
                "KB2",
                "product Windows 10, version 1903 and later",
                "severity Critical",
                "classification Security Updates",
            ]
        );
        assert_eq!(
            rules.remarks,
            [
                "allowed_severities: \"Gravest\" is none of Critical, Important, Moderate and Low",
                "colour has no effect: nothing is known of it",
                "default_allow has no effect: wapt-get.ini alone says that",
            ]
        );
        assert_eq!(RulesJson::parse(b"\xef\xbb\xbf{\"allowed_kbs\": null}").unwrap(), RulesJson::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (json, wanted) in [
            ("", "line 1, column 0: EOF while parsing a value"),
            ("[]", "line 1, column 0: invalid type: sequence, expected a map"),
            ("{\n\"allowed_kbs\": [1,]}", "line 2, column 19: trailing comma"),
            ("{} x", "line 1, column 4: trailing characters"),
            (r#"{"allowed_kbs": {"a": 1}}"#, "allowed_kbs: neither a list of texts nor null"),
            (r#"{"allowed_kbs": [[1]]}"#, "allowed_kbs: neither a list of texts nor null"),
            (r#"{"forbidden_kbs": ["x"]}"#, "forbidden_kbs: \"x\" is no KB number"),
            (r#"{"allowed_kbs": [1.5]}"#, "allowed_kbs: \"1.5\" is no KB number"),
        ] {
            assert_eq!(told(&RulesJson::parse(json.as_bytes()).unwrap_err()), wanted, "{json}");
        }
        assert!(matches!(RulesJson::parse(&vec![b' '; MAX_BYTES + 1]), Err(RulesJsonError::TooLong)));
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        assert!(matches!(RulesJson::parse(deep.as_bytes()), Err(RulesJsonError::Json { .. })));
        let many = format!("{{\"allowed_kbs\": {:?}}}", (0..20_001).collect::<Vec<_>>());
        assert!(matches!(RulesJson::parse(many.as_bytes()), Err(RulesJsonError::TooMany)));
    }
}
