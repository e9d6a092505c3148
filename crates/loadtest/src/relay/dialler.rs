//! Which process opened a connection, as the kernel tells it: `/proc/net/tcp` knows the socket of each pair of addresses, `/proc/<pid>/fd` whose
//! socket it is (proc(5)). Linux only, IPv4 only, which is what fleets on loopback use.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Whether one of these processes has the end `from` of a connection to `to`.
pub(super) fn is_one_of(pids: &HashSet<u32>, from: SocketAddr, to: SocketAddr) -> bool {
    let Some(inode) = std::fs::read_to_string("/proc/net/tcp").ok().and_then(|table| inode(&table, from, to)) else { return false };
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    pids.iter().any(|pid| has(*pid, &socket))
}

/// Whether one of a process' descriptors is this socket.
fn has(pid: u32, socket: &PathBuf) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|one| std::fs::read_link(one.path()).is_ok_and(|link| link == *socket))
}

/// The socket's number in the kernel's table: the tenth field of the line that begins with both addresses.
fn inode(table: &str, from: SocketAddr, to: SocketAddr) -> Option<u64> {
    let (from, to) = (kernel(from)?, kernel(to)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == from && fields.next()? == to).then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

/// An address as the kernel writes it: the bytes of the IP address as a number of this machine, in hexadecimal.
fn kernel(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn this_process_is_found_as_the_one_that_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let dialled = TcpStream::connect(to).unwrap();
        let from = dialled.local_addr().unwrap();
        let (this, another) = (HashSet::from([std::process::id()]), HashSet::from([u32::MAX]));
        assert!(is_one_of(&this, from, to));
        assert!(!is_one_of(&another, from, to));
        assert!(!is_one_of(&this, "127.0.0.1:1".parse().unwrap(), to));
    }
}
