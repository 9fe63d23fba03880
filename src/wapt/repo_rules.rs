//! WAPT's `rules.json`: which hosts belong to which repository, each rule signed by an administrator.
//!
//! A rule names in `signed_attributes` what its signature covers; covered is the JSON of those attributes with keys
//! in order, no blanks, and `\u` escapes for everything beyond ASCII, as Python writes it. `signature` is base64 of
//! RSA-PKCS1-SHA256 over it; `signer_certificate` is PEM, its first certificate the signer's, and `signer` that
//! one's SHA-256. Facts from WAPT's public documentation and from what its servers publish. A rule is used only if
//! its signer is one of those that an administrator named, and everything that it decides is covered.

use crate::domain::nearest::{Condition, MAX_RULES, RepositoryUrl, Rule, Target};
use data_encoding::{BASE64, HEXLOWER};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use webpki::{EndEntityCert, aws_lc_rs::RSA_PKCS1_2048_8192_SHA256};

/// Largest file that is read: 500 rules with their certificates have a quarter of it.
pub const MAX_BYTES: u64 = 8 << 20;
/// What decides where a host goes, and so has to be covered.
const DECISIVE: [&str; 7] = ["condition", "value", "negation", "no_fallback", "repo_url", "sequence", "name"];

/// A file that is no list of rules.
#[derive(Debug, thiserror::Error)]
pub enum ReadRulesError {
    /// Too long.
    #[error("more than 8 MiB, or more than 500 rules")]
    TooLarge,
    /// Not JSON, or JSON of another shape.
    #[error("no list of rules")]
    Malformed(#[source] serde_json::Error),
}

/// One rule of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepoRule {
    /// It is proven and means something here.
    Used(Rule),
    /// It is shown and not used.
    Unused {
        /// What it calls itself.
        name: String,
        /// Why it is not used.
        why: String,
    },
}

/// Reads a file; `signers` are the certificates (DER) of those that are believed.
pub fn read(text: &[u8], signers: &[Vec<u8>]) -> Result<Vec<RepoRule>, ReadRulesError> {
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadRulesError::TooLarge);
    }
    let rules: Vec<Map<String, Value>> = serde_json::from_slice(text).map_err(ReadRulesError::Malformed)?;
    if rules.len() > MAX_RULES {
        return Err(ReadRulesError::TooLarge);
    }
    Ok(rules.iter().map(|rule| read_rule(rule, signers)).collect())
}

fn read_rule(rule: &Map<String, Value>, signers: &[Vec<u8>]) -> RepoRule {
    match checked_rule(rule, signers) {
        Ok(rule) => RepoRule::Used(rule),
        Err(why) => {
            let name = rule.get("name").and_then(Value::as_str).unwrap_or("?");
            RepoRule::Unused { name: name.chars().take(100).collect(), why: why.to_owned() }
        }
    }
}

fn checked_rule(rule: &Map<String, Value>, signers: &[Vec<u8>]) -> Result<Rule, &'static str> {
    let covered = covered(rule)?;
    verify(rule, &covered, signers)?;
    let of = |key: &str| if covered.contains(&key) { rule.get(key).filter(|value| !value.is_null()) } else { None };
    let text = |key: &str| of(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let flag = |key: &str| of(key).is_some_and(is_true);
    if of("active").is_some_and(|active| !is_true(active)) {
        return Err("it is switched off");
    }
    if !is_for_updates(of("repositories")) {
        return Err("it is for other things than updates");
    }
    let condition = Condition::read(text("condition").unwrap_or_default(), text("value").unwrap_or_default());
    let url = RepositoryUrl::new(text("repo_url").unwrap_or_default()).map_err(|_| "its repo_url is no address")?;
    let proxy = text("http_proxy").filter(|_| flag("has_proxy")).map(RepositoryUrl::new).transpose();
    let sequence = of("sequence").and_then(Value::as_u64).and_then(|sequence| u32::try_from(sequence).ok());
    Ok(Rule {
        name: text("name").unwrap_or("unnamed").parse().map_err(|_| "its name can't be")?,
        sequence: sequence.ok_or("its sequence is no number")?,
        condition: condition.map_err(|_| "its condition is not known, or its value can't be")?,
        negation: flag("negation"),
        no_fallback: flag("no_fallback"),
        target: Target::Url(url),
        proxy: proxy.map_err(|_| "its http_proxy is no address without login")?,
    })
}

/// Python's idea of true, for what WAPT writes.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_u64() != Some(0),
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes"),
        _ => false,
    }
}

/// A rule says for which kinds of repositories it is; `WUA` is the one for updates.
fn is_for_updates(repositories: Option<&Value>) -> bool {
    let names: Vec<String> = match repositories {
        None => return true,
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Some(_) => return false,
    };
    names.iter().any(|name| name.to_ascii_uppercase().contains("WUA"))
}

/// What the signature covers; all that decides is among it.
fn covered(rule: &Map<String, Value>) -> Result<Vec<&str>, &'static str> {
    let list = rule.get("signed_attributes").and_then(Value::as_array).ok_or("it is not signed")?;
    let covered: Vec<_> = list.iter().filter_map(Value::as_str).filter(|name| *name != "signature").collect();
    let is_whole = DECISIVE.iter().all(|name| covered.contains(name) || !rule.contains_key(*name));
    if is_whole && covered.contains(&"signed_attributes") {
        Ok(covered)
    } else {
        Err("its signature does not cover all that it decides")
    }
}

fn verify(rule: &Map<String, Value>, covered: &[&str], signers: &[Vec<u8>]) -> Result<(), &'static str> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str);
    let signature = text("signature").and_then(|text| BASE64.decode(text.trim().as_bytes()).ok());
    let signature = signature.ok_or("its signature is malformed")?;
    let own = text("signer_certificate").and_then(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok());
    let named = text("signer").unwrap_or_default();
    let signer = signers.iter().find(|signer| {
        let fingerprint = HEXLOWER.encode(&Sha256::digest(signer));
        own.as_ref().map_or_else(|| fingerprint.eq_ignore_ascii_case(named), |own| own.as_ref() == signer.as_slice())
    });
    let signer = CertificateDer::from(signer.ok_or("its signer is none of nearest.rules_signers")?.as_slice());
    let key = EndEntityCert::try_from(&signer).map_err(|_| "its signer's certificate is malformed")?;
    let mut attributes: Vec<_> = covered.iter().filter_map(|name| Some((*name, rule.get(*name)?))).collect();
    attributes.sort_unstable_by_key(|(name, _)| *name);
    attributes.dedup_by_key(|(name, _)| *name);
    let mut message = String::new();
    write_object(&mut message, &attributes).ok_or("it has a number that can't be checked")?;
    key.verify_signature(RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
        .map_err(|_| "its signature does not hold")
}

fn write_object(out: &mut String, pairs: &[(&str, &Value)]) -> Option<()> {
    out.push('{');
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write_value(out, value)?;
    }
    out.push('}');
    Some(())
}

/// JSON as Python's `json.dumps` with sorted keys and without blanks; `None` for a number with a fraction, which
/// Python may write otherwise.
fn write_value(out: &mut String, value: &Value) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) if number.is_f64() => return None,
        // Writing to a text can't fail.
        Value::Number(number) => drop(write!(out, "{number}")),
        Value::String(text) => write_text(out, text),
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(out, value)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value)).collect();
            pairs.sort_unstable_by_key(|(name, _)| *name);
            write_object(out, &pairs)?;
        }
    }
    Some(())
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut units = [0; 2];
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut units).iter() {
                    // Writing to a text can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A signer made by openssl, and what it signs.
    struct Signer {
        place: tempfile::TempDir,
        certificate: Vec<u8>,
        pem: String,
    }

    fn openssl(arguments: &[&str], place: &std::path::Path) {
        let run = Command::new("openssl").args(arguments).current_dir(place).output().expect("openssl is installed");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    impl Signer {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let new =
                ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-subj", "/CN=admin"];
            openssl(&new, place.path());
            let pem = std::fs::read_to_string(place.path().join("c")).unwrap();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
            Self { place, certificate, pem }
        }

        /// The rule with its signature, as WAPT's console makes it.
        fn sign(&self, mut rule: Map<String, Value>) -> Map<String, Value> {
            let mut names: Vec<Value> = rule.keys().cloned().map(Value::from).collect();
            names.extend(["signed_attributes", "signer", "signature_date", "signer_certificate"].map(Value::from));
            rule.insert("signer".to_owned(), HEXLOWER.encode(&Sha256::digest(&self.certificate)).into());
            rule.insert("signature_date".to_owned(), "2026-11-26T08:00:00".into());
            rule.insert("signer_certificate".to_owned(), self.pem.clone().into());
            rule.insert("signed_attributes".to_owned(), names.into());
            let mut message = String::new();
            write_value(&mut message, &Value::Object(rule.clone())).unwrap();
            std::fs::write(self.place.path().join("m"), message).unwrap();
            openssl(&["dgst", "-sha256", "-sign", "k", "-out", "s", "m"], self.place.path());
            let signature = BASE64.encode(&std::fs::read(self.place.path().join("s")).unwrap());
            rule.insert("signature".to_owned(), signature.into());
            rule
        }

        fn read(&self, rule: Map<String, Value>) -> RepoRule {
            let text = serde_json::to_vec(&vec![rule]).unwrap();
            read(&text, std::slice::from_ref(&self.certificate)).unwrap().remove(0)
        }
    }

    fn rule() -> Map<String, Value> {
        let rule = serde_json::json!({
            "id": 3, "sequence": 2, "name": "Saint-Étienne 🚀", "condition": "AGENT IP", "value": "10.1.0.0/16",
            "repo_url": "https://lyon.example/wapt", "repositories": ["WAPT", "WUA"], "negation": false,
            "no_fallback": true, "has_proxy": true, "http_proxy": "http://proxy:3128",
        });
        rule.as_object().unwrap().clone()
    }

    fn why(rule: RepoRule) -> String {
        match rule {
            RepoRule::Used(rule) => panic!("used: {rule:?}"),
            RepoRule::Unused { why, .. } => why,
        }
    }

    #[test]
    fn a_signed_rule_is_used_and_every_change_of_what_it_decides_is_not() {
        let signer = Signer::new();
        let signed = signer.sign(rule());
        let RepoRule::Used(used) = signer.read(signed.clone()) else { panic!("{:?}", signer.read(signed)) };
        assert_eq!((used.sequence, used.no_fallback, used.negation), (2, true, false));
        assert_eq!(used.target.to_string(), "https://lyon.example");
        assert_eq!(used.proxy.unwrap().as_str(), "http://proxy:3128");
        for (key, value) in [
            ("value", "10.0.0.0/8".into()),
            ("repo_url", "https://evil.example/wapt".into()),
            ("sequence", 1.into()),
            ("negation", true.into()),
            ("no_fallback", false.into()),
            ("http_proxy", "http://evil:3128".into()),
        ] {
            let mut changed = signed.clone();
            changed.insert(key.to_owned(), value);
            assert_eq!(why(signer.read(changed)), "its signature does not hold", "{key}");
        }
    }

    #[test]
    fn what_can_not_be_checked_is_shown_for_its_reason_and_not_used() {
        let (signer, other) = (Signer::new(), Signer::new());
        assert_eq!(why(signer.read(rule())), "it is not signed");
        assert_eq!(why(signer.read(other.sign(rule()))), "its signer is none of nearest.rules_signers");
        let mut partly = signer.sign(rule());
        let names = partly["signed_attributes"].as_array().unwrap().iter().filter(|name| *name != "repo_url").cloned();
        let names: Vec<_> = names.collect();
        partly.insert("signed_attributes".to_owned(), names.into());
        assert_eq!(why(signer.read(partly)), "its signature does not cover all that it decides");
        let with = |key: &str, value: Value| {
            let mut changed = rule();
            changed.insert(key.to_owned(), value);
            why(signer.read(signer.sign(changed)))
        };
        assert_eq!(with("active", false.into()), "it is switched off");
        assert_eq!(with("repositories", serde_json::json!(["WAPT"])), "it is for other things than updates");
        assert_eq!(with("condition", "PHASE OF MOON".into()), "its condition is not known, or its value can't be");
        let mut odd = signer.sign(rule());
        odd.insert("sequence".to_owned(), 1.5.into());
        assert_eq!(why(signer.read(odd)), "it has a number that can't be checked");
        assert!(matches!(read(b"{}", &[]), Err(ReadRulesError::Malformed(_))));
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = serde_json::json!({"b": [1, null, true], "a": "é\u{1f680}\n\"\\\u{7f}/"});
        let mut written = String::new();
        write_value(&mut written, &value).unwrap();
        assert_eq!(written, r#"{"a":"\u00e9\ud83d\ude80\n\"\\\u007f/","b":[1,null,true]}"#);
    }
}
