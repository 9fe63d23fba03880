//! What was asked for on the command line, and the network of its own that it is measured in.

use std::{os::unix::process::CommandExt, process::Command};

/// Set in the copy of this program that runs in a network of its own.
const INSIDE: &str = "WUASYNC_BARS_INSIDE";

pub(crate) struct Plan {
    pub(crate) sections: Vec<String>,
    pub(crate) runs: usize,
    pub(crate) scale: f64,
}

impl Plan {
    /// All of `known` where no section is named.
    pub(crate) fn from_arguments(arguments: &[String], known: &[&str]) -> Self {
        let mut plan = Self { sections: Vec::new(), runs: 3, scale: 1.0 };
        let mut arguments = arguments.iter().filter(|argument| *argument != "--bench");
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<f64>().ok());
            match argument.as_str() {
                "--runs" => plan.runs = number().unwrap_or_else(|| panic!("--runs takes a number")) as usize,
                "--scale" => plan.scale = number().unwrap_or_else(|| panic!("--scale takes a number")),
                section if known.contains(&section) => plan.sections.push(argument.clone()),
                other => panic!("{other}: not one of {known:?}, --runs N, --scale F"),
            }
        }
        if plan.sections.is_empty() {
            plan.sections = known.iter().map(|section| (*section).to_owned()).collect();
        }
        plan
    }

    /// A count made smaller for a quick look.
    pub(crate) fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }
}

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Becomes this program in a network of its own, with its files in /dev/shm unless TMPDIR says where.
pub(crate) fn go_inside(arguments: &[String]) {
    let this = std::env::current_exe().unwrap();
    let place = std::env::var_os("TMPDIR").unwrap_or_else(|| "/dev/shm".into());
    let error = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(this)
        .args(arguments)
        .env(INSIDE, "1")
        .env("TMPDIR", place)
        .exec();
    panic!("unshare: {error}");
}
