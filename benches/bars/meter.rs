//! Wall time, CPU time, bytes on the wire, memory; medians.

use std::{io::Write, time::Instant};

/// What one measurement took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) seconds: f64,
    /// CPU seconds of both ends.
    pub(crate) cpu: f64,
    /// Bytes over the loopback of this network, headers included.
    pub(crate) wire: f64,
}

/// A measurement under way.
pub(crate) struct Meter {
    begun: Instant,
    cpu: f64,
    wire: u64,
    servers: Vec<u32>,
}

impl Meter {
    /// Counts the time of these processes, of their ended children, and of this program's ended children.
    pub(crate) fn begin(servers: &[u32]) -> Self {
        touch_free_memory();
        let cpu = cpu_of(servers);
        Self { begun: Instant::now(), cpu, wire: wire_bytes(), servers: servers.to_vec() }
    }

    /// `client` is a process that began with the measurement and still runs, if there is one.
    pub(crate) fn end(self, client: Option<u32>) -> Reading {
        let seconds = self.begun.elapsed().as_secs_f64();
        let client = client.map_or(0.0, |pid| ticks(pid, &[OWN_USER, OWN_SYSTEM]));
        let cpu = cpu_of(&self.servers) - self.cpu + client;
        Reading { seconds, cpu, wire: (wire_bytes() - self.wire) as f64 }
    }
}

/// More than any run fills.
const MEMORY: usize = 6 << 30;

/// A virtual machine may give free memory back to its host within seconds; the first touch then takes the host 0.6 to 3 s
/// for each GB, which would be measured in place of programs. What was just used and freed is still there. A smaller machine
/// touches what it has.
fn touch_free_memory() {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    let block = vec![1; 1 << 20];
    let _touched_all = (0..MEMORY / block.len()).all(|_| file.write_all(&block).is_ok());
}

// Fields of /proc/PID/stat after the name, in clock ticks: proc(5).
const OWN_USER: usize = 11;
const OWN_SYSTEM: usize = 12;
const CHILDREN_USER: usize = 13;
const CHILDREN_SYSTEM: usize = 14;

fn cpu_of(servers: &[u32]) -> f64 {
    let all = [OWN_USER, OWN_SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM];
    let servers: f64 = servers.iter().map(|pid| ticks(*pid, &all)).sum();
    servers + ticks(std::process::id(), &[CHILDREN_USER, CHILDREN_SYSTEM])
}

fn ticks(pid: u32, fields: &[usize]) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let values: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Linux counts in hundredths of a second on every architecture that this runs on.
    fields.iter().map(|field| values[*field].parse::<f64>().unwrap() / 100.0).sum()
}

/// Bytes that the loopback has carried.
pub(crate) fn wire_bytes() -> u64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let loopback = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    loopback.split_whitespace().next().unwrap().parse().unwrap()
}

/// The most memory that a process ever had, in megabytes.
pub(crate) fn peak_memory(pid: u32) -> f64 {
    peak_memory_of_living(pid).unwrap()
}

/// As [`peak_memory`]; `None` of a process that has ended, of which nothing is told any more.
pub(crate) fn peak_memory_of_living(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6)
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// Medians of each column.
pub(crate) fn medians(readings: &[Reading]) -> Reading {
    let of = |column: fn(&Reading) -> f64| median(readings.iter().map(column));
    Reading { seconds: of(|r| r.seconds), cpu: of(|r| r.cpu), wire: of(|r| r.wire) }
}
