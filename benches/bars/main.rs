//! The bars of speed, each beside its peers in one alternating run; prints a table.
//!
//!     cargo bench --bench bars                     all sections, three runs of each
//!     cargo bench --bench bars -- big small        only these: big small idle away adopt million cabinets signature
//!                                                  search (editions only when named: it makes one of real size)
//!     cargo bench --bench bars -- --runs 5 --scale 0.1 big
//!
//! Works in /dev/shm, in a network of its own (both ends and every peer talk over its loopback, whose
//! counters are the wire). Needs root, about 12 GB of memory for all sections, and for the peers rsync,
//! openssh-server, openssl, b3sum and cabextract; a peer that is not installed is named and left out.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that fails ends")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod blast;
mod cabinets;
mod corpus;
#[allow(dead_code, unreachable_pub, unused_imports, reason = "tests use the rest")]
#[path = "../../tests/editions/mod.rs"]
mod editions;
#[allow(dead_code, unused_imports, reason = "tests use the rest")]
#[path = "../../tests/authenticode/lab.rs"]
mod lab;
mod meter;
mod offline_index;
mod ours;
mod peers;
mod plan;
#[path = "../../tests/processes/mod.rs"]
mod processes;
mod search;
mod sections;
mod signature;

use plan::Plan;

const SECTIONS: [&str; 10] =
    ["big", "small", "idle", "away", "adopt", "million", "cabinets", "signature", "search", "editions"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--blast-server") => return blast::serve(arguments.get(1).map(Into::into)),
        Some("--read-edition") => return offline_index::read_one(&arguments[1]),
        Some("--blast-client") => return blast::client(&arguments[1], &arguments[2..]),
        _ => {}
    }
    if !plan::is_inside() {
        return plan::go_inside(&arguments);
    }
    // Making an edition of real size takes far longer than all the others: only by name.
    let usual: Vec<_> = SECTIONS.iter().copied().filter(|section| *section != "editions").collect();
    let known = if arguments.iter().any(|argument| argument == "editions") { &SECTIONS[..] } else { &usual };
    let plan = Plan::from_arguments(&arguments, known);
    for section in &plan.sections {
        match section.as_str() {
            "big" => sections::big(&plan),
            "small" => sections::small(&plan),
            "idle" => sections::idle(&plan),
            "away" => sections::away(&plan),
            "adopt" => sections::adopt(&plan),
            "cabinets" => cabinets::cabinets(&plan),
            "signature" => signature::signature(&plan),
            "search" => search::search(&plan),
            "editions" => offline_index::editions(&plan),
            _ => sections::million(&plan),
        }
    }
}
