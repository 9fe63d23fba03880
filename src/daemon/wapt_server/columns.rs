//! Which tables and columns of a WAPT server's database are read, and how. Pure.
//!
//! Versions of WAPT differ, so columns are discovered: what has to be there is named, what else is of use is taken where
//! it is. Rows come as JSON, with the columns' names as keys: the same that agents report.

use std::collections::{BTreeMap, BTreeSet};

/// Asks which columns there are.
pub(super) const DISCOVER: &str = "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema \
     = current_schema() AND table_name IN ('hosts', 'wsusupdates', 'hostwsus')";

/// Columns of use beside those that have to be there.
const OF_HOSTS: [&str; 6] =
    ["computer_fqdn", "computer_name", "last_seen_on", "maturity", "waptwua_status", "waptwua_settings"];
const OF_UPDATES: [&str; 8] =
    ["title", "kbids", "severity", "changetime", "product", "classification", "download_urls", "superseded_update_ids"];
const OF_HOST_UPDATES: [&str; 6] = ["allowed", "present", "hidden", "downloaded", "delayed", "install_date"];
/// What the column is called that says whose update it is; the first that there is.
const HOST_KEYS: [&str; 4] = ["host_id", "host_uuid", "uuid", "host"];

/// What the database lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the WAPT server's database has no {table}.{column}")]
pub(super) struct MissingColumn {
    table: &'static str,
    column: &'static str,
}

/// The questions that are asked of this database; each answers with rows of one JSON text, and the last with whose they
/// are and a tab before it. In none of them stands anything that the database told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Questions {
    /// Every host.
    pub hosts: String,
    /// Every update.
    pub updates: String,
    /// Where updates stand on the hosts of `psql`'s variable `uuids`, which has commas in between.
    pub host_updates: String,
}

/// From the columns that there are to what is asked.
pub(super) fn questions(columns: &[(String, String)]) -> Result<Questions, MissingColumn> {
    let mut tables: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (table, column) in columns {
        tables.entry(table).or_default().insert(column);
    }
    let has = |table: &'static str, column: &'static str| {
        let is_there = tables.get(table).is_some_and(|columns| columns.contains(column));
        if is_there { Ok(column) } else { Err(MissingColumn { table, column }) }
    };
    let with = |table, first: &[&'static str], more: &[&'static str]| {
        let more = more.iter().filter(|column| has(table, column).is_ok());
        first.iter().chain(more).map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")
    };
    has("hosts", "uuid")?;
    has("wsusupdates", "update_id")?;
    has("hostwsus", "update_id")?;
    has("hostwsus", "installed")?;
    let key = HOST_KEYS.into_iter().find(|key| has("hostwsus", key).is_ok());
    let key = key.ok_or(MissingColumn { table: "hostwsus", column: HOST_KEYS[0] })?;
    let (hosts, updates) = (with("hosts", &["uuid"], &OF_HOSTS), with("wsusupdates", &["update_id"], &OF_UPDATES));
    let locals = with("hostwsus", &["update_id", "installed"], &OF_HOST_UPDATES);
    Ok(Questions {
        hosts: format!("SELECT row_to_json(t)::text FROM (SELECT {hosts} FROM hosts ORDER BY uuid) t"),
        updates: format!("SELECT row_to_json(t)::text FROM (SELECT {updates} FROM wsusupdates) t"),
        host_updates: format!(
            "SELECT t.of_host, (row_to_json(t)::jsonb - 'of_host')::text FROM (SELECT \"{key}\"::text AS of_host, {locals} FROM \
             hostwsus WHERE \"{key}\"::text = ANY(string_to_array(:'uuids', ','))) t ORDER BY t.of_host"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Vec<(String, String)> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('.').unwrap());
        pairs.map(|(table, column)| (table.to_owned(), column.to_owned())).collect()
    }

    #[test]
    fn what_has_to_be_there_is_named_and_what_else_there_is_taken() {
        let all = "hosts.uuid hosts.waptwua_status hosts.other wsusupdates.update_id wsusupdates.title hostwsus.host_id \
                   hostwsus.update_id hostwsus.installed hostwsus.hidden";
        let asked = questions(&columns(all)).unwrap();
        assert_eq!(
            asked.hosts,
            "SELECT row_to_json(t)::text FROM (SELECT \"uuid\", \"waptwua_status\" FROM hosts ORDER BY uuid) t"
        );
        assert!(asked.updates.contains("\"update_id\", \"title\" FROM wsusupdates"));
        assert!(asked.host_updates.contains("\"host_id\"::text AS of_host, \"update_id\", \"installed\", \"hidden\""));
        for missing in
            ["hosts.uuid", "wsusupdates.update_id", "hostwsus.update_id", "hostwsus.installed", "hostwsus.host_id"]
        {
            let error = questions(&columns(&all.replace(missing, ""))).unwrap_err();
            assert_eq!(error.to_string(), format!("the WAPT server's database has no {missing}"));
        }
        assert!(questions(&columns(&all.replace("hostwsus.host_id", "hostwsus.uuid"))).is_ok());
    }
}
