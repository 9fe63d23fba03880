//! `[mirror]`: what a secondary keeps. What `join` learns is not here but in the state directory.

use super::{
    keys::Keys,
    node::Node,
    read::{self, Mistake},
    show,
    values::window::Window,
};
use serde::Serialize;

/// What of the parent's folders comes here, and when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mirror {
    /// Which files.
    pub mode: Mode,
    /// Bytes to keep at most where the mode is `on-miss`; `None` is without bound.
    #[serde(serialize_with = "show::optional_size")]
    pub max_size: Option<u64>,
    /// When files may travel, in local time; `None` is always.
    #[serde(serialize_with = "show::optional")]
    pub window: Option<Window>,
}

/// Which files a secondary keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Every file of every folder that it mirrors.
    /// All of them.
    #[serde(rename = "all")]
    All,
    /// Those that hosts asked for.
    #[serde(rename = "on-miss")]
    OnMiss,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { mode: Mode::All, max_size: None, window: None }
    }
}

impl Mirror {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        let mode = keys.value("mode", mode, default.mode);
        let size = read::optional(read::size);
        let max_size = match mode {
            Mode::OnMiss => keys.value("max_size", size, default.max_size),
            // Everything is kept.
            Mode::All => keys.inert("max_size", size, default.max_size),
        };
        Self { mode, max_size, window: keys.value("window", read::optional(read::parsed), default.window) }
    }
}

fn mode(node: &Node) -> Result<Mode, Mistake> {
    match read::text(node)?.as_str() {
        "all" => Ok(Mode::All),
        "on-miss" => Ok(Mode::OnMiss),
        other => Err(Mistake::at(node, format!("{other:?} is no mode; write \"all\" or \"on-miss\""))),
    }
}
