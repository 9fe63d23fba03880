//! The bars of speed, each beside its peers in one alternating run; prints a table.
//!
//!     cargo bench --bench bars                     all sections, three runs of each
//!     cargo bench --bench bars -- big small        only these: big small idle away adopt million cabinets
//!                                                  (editions only when named: it makes one of real size)
//!     cargo bench --bench bars -- --runs 5 --scale 0.1 big
//!
//! Works in /dev/shm, in a network of its own (both ends and every peer talk over its loopback, whose
//! counters are the wire). Needs root, about 12 GB of memory for all sections, and for the peers rsync,
//! openssh-server, openssl, b3sum and cabextract; a peer that is not installed is named and left out.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that fails ends")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod blast;
mod cabinets;
#[allow(dead_code, unreachable_pub, reason = "tests use the rest")]
#[path = "../../tests/cabs/mod.rs"]
mod cabs;
mod corpus;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "tests use the rest")]
#[path = "../../tests/editions/mod.rs"]
mod editions;
mod meter;
mod offline_index;
mod ours;
mod peers;
#[path = "../../tests/processes/mod.rs"]
mod processes;
mod sections;

use std::{os::unix::process::CommandExt, process::Command};

const SECTIONS: [&str; 8] = ["big", "small", "idle", "away", "adopt", "million", "cabinets", "editions"];
/// Set in the copy of this program that runs in a network of its own.
const INSIDE: &str = "WUASYNC_BARS_INSIDE";

/// What was asked for on the command line.
pub(crate) struct Plan {
    sections: Vec<String>,
    runs: usize,
    scale: f64,
}

impl Plan {
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self { sections: Vec::new(), runs: 3, scale: 1.0 };
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse::<f64>().ok());
            match argument.as_str() {
                "--runs" => plan.runs = number().unwrap_or_else(|| panic!("--runs takes a number")) as usize,
                "--scale" => plan.scale = number().unwrap_or_else(|| panic!("--scale takes a number")),
                section if SECTIONS.contains(&section) => plan.sections.push(argument),
                other => panic!("{other}: not one of {SECTIONS:?}, --runs N, --scale F"),
            }
        }
        if plan.sections.is_empty() {
            plan.sections =
                SECTIONS.iter().filter(|section| **section != "editions").map(|s| (*s).to_owned()).collect();
        }
        plan
    }

    /// A count made smaller for a quick look.
    fn scaled(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--blast-server") => return blast::serve(arguments.get(1).map(Into::into)),
        Some("--read-edition") => return offline_index::read_one(&arguments[1]),
        Some("--blast-client") => return blast::client(&arguments[1], &arguments[2..]),
        _ => {}
    }
    if std::env::var_os(INSIDE).is_none() {
        return go_inside(&arguments);
    }
    let plan = Plan::from_arguments(arguments.into_iter());
    for section in &plan.sections {
        match section.as_str() {
            "big" => sections::big(&plan),
            "small" => sections::small(&plan),
            "idle" => sections::idle(&plan),
            "away" => sections::away(&plan),
            "adopt" => sections::adopt(&plan),
            "cabinets" => cabinets::cabinets(&plan),
            "editions" => offline_index::editions(&plan),
            _ => sections::million(&plan),
        }
    }
}

fn go_inside(arguments: &[String]) {
    let this = std::env::current_exe().unwrap();
    let error = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .arg(this)
        .args(arguments)
        .env(INSIDE, "1")
        .env("TMPDIR", "/dev/shm")
        .exec();
    panic!("unshare: {error}");
}
