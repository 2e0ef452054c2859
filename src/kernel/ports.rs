//! Ports: who has one, and what is said to whoever wanted it.
//!
//! Linux tells which socket listens on a port, and which process has that
//! socket open; the latter only of processes that this user may look into.

use std::{fs, io, net::SocketAddr};

use anyhow::anyhow;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
}

/// The process that listens on a TCP port of this machine, if that can be told.
pub fn who_listens(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let sockets: Vec<String> =
        tables.iter().flatten().flat_map(|table| listening(table, port)).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_open(*pid, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid, name: name.trim_end().to_owned() })
}

/// Says why a kernel cannot listen on an address, and who is in the way.
/// `advice` tells what to do about a port that is taken.
pub fn bind_error(error: &io::Error, address: SocketAddr, advice: &str) -> anyhow::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return anyhow!("Failed to start kernel service: cannot listen on {address}: {error}");
    }
    let port = address.port();
    let holder = match who_listens(port) {
        Some(Holder { pid, name }) => format!("{name} (process {pid})"),
        None => "another process".to_owned(),
    };
    anyhow!(
        "Failed to start kernel service: Address already in use: port {port} ({address}) \
         is taken by {holder}; {advice}"
    )
}

/// The sockets that listen on a port, by a table of the system, as
/// `/proc/PID/fd` names them.
fn listening(table: &str, port: u16) -> Vec<String> {
    /// How the tables say that a socket listens.
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, at) = local.rsplit_once(':')?;
        let is_it = *state == LISTEN && u16::from_str_radix(at, 16) == Ok(port);
        is_it.then(|| format!("socket:[{inode}]"))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

fn has_open(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    #[test]
    fn our_own_listener_is_found_and_named() {
        for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()]
        {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let holder = who_listens(address.port()).unwrap();
            assert_eq!(holder.pid, std::process::id());
            let error = TcpListener::bind(address).unwrap_err();
            let text = bind_error(&error, address, "choose another").to_string();
            let port = address.port();
            let start = format!(
                "Failed to start kernel service: Address already in use: port {port} ({address}) \
                 is taken by {} (process {}); choose another",
                holder.name, holder.pid
            );
            assert_eq!(text, start);
            drop(listener);
            assert_eq!(who_listens(port), None);
        }
    }

    #[test]
    fn only_those_who_listen_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:2553 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1\n   \
            1: 0100007F:2553 0100007F:8888 01 00000000:00000000 00:00000000 00000000  1000        0 222 1\n   \
            2: 0100007F:2554 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1\n   \
            3: broken";
        assert_eq!(listening(table, 9555), ["socket:[111]"]);
        assert_eq!(listening(table, 1), [""; 0]);
    }

    #[test]
    fn other_errors_say_what_the_system_said() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let error = io::ErrorKind::PermissionDenied.into();
        let text = bind_error(&error, address, "choose another").to_string();
        assert_eq!(
            text,
            "Failed to start kernel service: cannot listen on 127.0.0.1:80: permission denied"
        );
    }
}
