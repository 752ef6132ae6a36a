//! The server that a cloud runs on: its processes, links, namespaces and tables, and connections made from within a
//! network's namespace, as its node makes them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use symphony_core::network::links;

use crate::wait::Patience;

/// How long something that must not come is listened for.
const SHORT: Duration = Duration::from_millis(700);
/// One try of something that must come.
const TRY: Duration = Duration::from_secs(2);

/// What there is of links, namespaces and tables, each with the names of others.
#[must_use]
pub fn parts() -> String {
    [
        &["ip", "-o", "link"][..],
        &["ip", "netns", "list"],
        &["nft", "list", "ruleset"],
    ]
    .map(output)
    .concat()
}

fn output(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned()
}

/// The processes whose command line names something in this folder, and begins with (the name of) this program.
#[must_use]
pub fn processes(folder: &Path, program: &str) -> BTreeSet<u32> {
    let folder = format!("{}/", folder.display());
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").expect("there is /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let first = line.split('\0').next().unwrap_or_default();
        let name = first.rsplit('/').next().unwrap_or_default();
        if line.contains(&folder) && name.starts_with(program) {
            found.insert(pid);
        }
    }
    found
}

/// Kills one process as a power cut would.
///
/// # Panics
/// When `kill` can't be run or there is no such process.
pub fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.expect("kill runs").success(), "process {pid} is killed");
}

/// A network on a node: its gateway's namespace.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The namespace's name.
    pub namespace: String,
    /// The bridge's name.
    pub bridge: String,
}

impl Segment {
    /// The network with this id on the node.
    ///
    /// # Panics
    /// When they are not a name and an id.
    #[must_use]
    pub fn of(node: &str, network: &str) -> Self {
        let (node, network) = (node.parse().expect("a name"), network.parse().expect("an id"));
        Self {
            namespace: links::namespace(&node, network),
            bridge: links::bridge(&node, network),
        }
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.namespace)).expect("the namespace is there");
        let enter = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("the work does not panic"))
    }

    fn get(&self, address: &str, port: u16, patience: Duration) -> Option<String> {
        let to = SocketAddr::new(address.parse().expect("an address"), port);
        let request = format!("GET / HTTP/1.0\r\nHost: {address}\r\n\r\n");
        self.within(move || {
            let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
            stream.set_read_timeout(Some(patience)).ok()?;
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok()?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let (_, body) = answer.split_once("\r\n\r\n")?;
            Some(body.trim().to_owned())
        })
    }

    /// What the web server at this address says, tried for a while.
    #[must_use]
    pub fn http(&self, address: &str, port: u16) -> Option<String> {
        patiently(|| self.get(address, port, TRY))
    }

    /// Whether nothing at this address answers there, tried once.
    #[must_use]
    pub fn is_deaf(&self, address: &str, port: u16) -> bool {
        self.get(address, port, SHORT).is_none()
    }

    /// Whether an address answers a ping.
    #[must_use]
    pub fn pings(&self, address: &str) -> bool {
        patiently(|| self.ping(address, TRY).then_some(())).is_some()
    }

    /// Whether an address answers no ping.
    #[must_use]
    pub fn pings_in_vain(&self, address: &str) -> bool {
        !self.ping(address, SHORT)
    }

    fn ping(&self, address: &str, patience: Duration) -> bool {
        let to = SocketAddr::new(address.parse().expect("an address"), 0);
        self.within(move || {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))
                .expect("root can make raw sockets");
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(patience / 4)).expect("it has a timeout");
            let until = Instant::now() + patience;
            // Type 8, checksum, id 0x5359, sequence 1.
            let echo = [8, 0, 0xa4, 0xa5, 0x53, 0x59, 0, 1];
            while Instant::now() < until {
                let mut answer = [0_u8; 128];
                let _ = rustix::net::sendto(&socket, &echo, SendFlags::empty(), &to);
                let heard = rustix::net::recv(&socket, &mut answer, RecvFlags::empty());
                // An IPv4 header of 20 bytes, then an echo reply with our id.
                if heard.is_ok() && answer[20] == 0 && answer[24..26] == [0x53, 0x59] {
                    return true;
                }
            }
            false
        })
    }

    /// The address that the network's name server has for a name.
    #[must_use]
    pub fn resolves(&self, server: &str, name: &str) -> Option<Ipv4Addr> {
        let server = SocketAddr::new(server.parse().expect("an address"), 53);
        let mut question = vec![0x53, 0x59, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).expect("a short label"));
            question.extend(label.bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        self.within(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
            socket.set_read_timeout(Some(TRY)).expect("it has a timeout");
            patiently(|| {
                socket.send_to(&question, server).ok()?;
                let mut answer = [0; 512];
                let length = socket.recv(&mut answer).ok()?;
                let answers = u16::from_be_bytes([answer[6], answer[7]]);
                // The record's data are the last four bytes: there is one answer and nothing behind it.
                let address: [u8; 4] = answer.get(length.checked_sub(4)?..length)?.try_into().ok()?;
                (answers == 1 && answer[3] & 0x0f == 0).then_some(Ipv4Addr::from(address))
            })
        })
    }
}

fn patiently<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + Patience::default().0 / 3;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
