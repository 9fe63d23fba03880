//! Readers of WAPT's own formats. Pure: text in, values out.

pub mod agent_ini;
pub mod host_report;
pub mod ini;
pub mod ini_edit;
mod loose;
pub mod package;
pub mod packages;
pub mod repo_rules;
pub mod rules_json;
pub mod server_ini;
pub mod waptwua;
