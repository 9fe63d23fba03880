//! Readers of WAPT's own formats. Pure: text in, values out.

pub mod agent_ini;
pub mod ini;
pub mod server_ini;
