//! What hosts get, beside nginx with one worker: files that are here, and files that have to be fetched.
//!
//!     cargo bench --bench beside_nginx                     all sections, three runs of each
//!     cargo bench --bench beside_nginx -- small large      only these: large small ranges crowd alone tail memory
//!     cargo bench --bench beside_nginx -- --runs 5 --scale 0.1 small
//!     TMPDIR=/var/tmp cargo bench --bench beside_nginx     on another file system than /dev/shm
//!
//! Works in a network of its own. Needs root, nginx, and about 12 GB of memory for all sections. Both servers get the
//! same requests from the same program, in turn. Where other programs use the machine, read the servers' CPU time: it
//! hardly depends on them.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that fails ends")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

#[path = "../bars/corpus.rs"]
mod corpus;
mod hits;
mod load;
#[path = "../bars/meter.rs"]
mod meter;
mod misses;
mod nginx;
#[path = "../bars/ours.rs"]
#[expect(dead_code, reason = "the other bench uses the rest")]
mod ours;
#[path = "../bars/plan.rs"]
mod plan;
#[path = "../../tests/processes/mod.rs"]
mod processes;
mod tls;

use plan::Plan;
use rustix::process::{Resource, getrlimit, setrlimit};

const SECTIONS: [&str; 7] = ["large", "small", "ranges", "crowd", "alone", "tail", "memory"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !plan::is_inside() {
        return plan::go_inside(&arguments);
    }
    // For a thousand connections, of both servers as well: they inherit it.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: files.maximum, ..files }).unwrap();
    // It decides how much of everything is the kernel's timers.
    let congestion = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    println!("TCP congestion control: {}", congestion.trim());
    let plan = Plan::from_arguments(&arguments, &SECTIONS);
    for section in &plan.sections {
        match section.as_str() {
            "large" => hits::large(&plan),
            "small" => hits::small(&plan),
            "ranges" => hits::ranges(&plan),
            "crowd" => misses::crowd(&plan),
            "alone" => misses::alone(&plan),
            "tail" => misses::tail(&plan),
            _ => misses::memory(&plan),
        }
    }
}
