//! Readers of WAPT's own formats. Pure: text in, values out.

pub mod repo_rules;
pub mod server_ini;
