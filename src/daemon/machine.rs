//! What a node stands on: who listens where on this machine, which units run. Looks only.

use crate::wapt::{agent_ini::AgentIni, server_ini::ServerIni};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
};

/// Where a WAPT server has its configuration on Linux.
pub(super) const SERVER_INI: &str = "/opt/wapt/conf/waptserver.ini";
/// Where a WAPT agent has its configuration on Linux.
pub(super) const AGENT_INI: &str = "/opt/wapt/wapt-get.ini";
/// WAPT's files are well below.
pub(super) const MAX_INI_BYTES: u64 = 1 << 20;
/// The kernel's tables are well below.
const MAX_TABLE_BYTES: u64 = 16 << 20;

/// Addresses that somebody listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    /// TCP.
    pub tcp: BTreeSet<SocketAddr>,
    /// UDP.
    pub udp: BTreeSet<SocketAddr>,
}

impl Sockets {
    /// As the kernel has them in this network namespace; empty where it does not say.
    pub(super) fn gather() -> Self {
        let of = |table: &str, is_tcp| {
            let text = read_text(Path::new("/proc/net").join(table).as_path(), MAX_TABLE_BYTES);
            listening(&text.ok().flatten().unwrap_or_default(), is_tcp)
        };
        Self {
            tcp: of("tcp", true).into_iter().chain(of("tcp6", true)).collect(),
            udp: of("udp", false).into_iter().chain(of("udp6", false)).collect(),
        }
    }

    /// Whether TCP port `port` is taken on any address.
    pub(super) fn has_tcp(&self, port: u16) -> bool {
        self.tcp.iter().any(|address| address.port() == port)
    }
}

/// What a WAPT server beneath `root` is configured as; `None` where there is none.
pub fn wapt_server(root: &Path) -> io::Result<Option<ServerIni>> {
    let text = read_text(&root.join(SERVER_INI.trim_start_matches('/')), MAX_INI_BYTES)?;
    Ok(text.map(|text| ServerIni::parse(&text)))
}

/// What a WAPT agent beneath `root` is configured as; `None` where there is none.
pub(super) fn wapt_agent(root: &Path) -> io::Result<Option<AgentIni>> {
    let text = read_text(&root.join(AGENT_INI.trim_start_matches('/')), MAX_INI_BYTES)?;
    Ok(text.map(|text| AgentIni::parse(&text)))
}

/// The text of a file, at most `most` bytes of it, odd bytes replaced; `None` where there is none.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Those of `units` that run, as `systemctl` tells; none where it can't be asked.
pub(super) fn active_units(units: &BTreeSet<String>) -> BTreeSet<String> {
    if units.is_empty() {
        return BTreeSet::new();
    }
    let mut command = Command::new("systemctl");
    let told = command.arg("is-active").args(units).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let told = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned()).unwrap_or_default();
    let active = units.iter().zip(told.lines()).filter(|(_, state)| *state == "active");
    active.map(|(unit, _)| unit.clone()).collect()
}

/// Listening sockets in a table of `/proc/net` (Documentation/networking/proc_net_tcp.rst of the kernel): of TCP those
/// in state 0A, of UDP those without a peer (07).
fn listening(table: &str, is_tcp: bool) -> Vec<SocketAddr> {
    let state = if is_tcp { "0A" } else { "07" };
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&state)).filter_map(|row| socket(row.get(1)?)).collect()
}

/// `0100007F:1F90`: 32-bit words as they lie in memory, and the port.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_tables_say_who_listens() {
        let tcp = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0 0\n   1: 0100007F:1F91 0100007F:0050 01 0\nbroken\n   2: xx:yy z 0A\n";
        assert_eq!(listening(tcp, true), ["127.0.0.1:8080".parse().unwrap()]);
        let tcp6 = "x\n 0: 00000000000000000000000001000000:0050 0:0 0A\n";
        assert_eq!(listening(tcp6, true), ["[::1]:80".parse().unwrap()]);
        assert_eq!(listening("x\n 0: 00000000:115B 0:0 07\n", false), ["0.0.0.0:4443".parse().unwrap()]);
    }

    #[test]
    fn a_socket_of_our_own_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(Sockets::gather().tcp.contains(&address));
    }
}
