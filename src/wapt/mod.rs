//! Readers of WAPT's own formats. Pure: text in, values out.

pub mod ini;
pub mod server_ini;
