//! A machine's stand-in: a namespace, with a link whose other end is the tap on the bridge.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::net::Net;
use crate::node::sh;

/// How long something that has to come is waited for.
const PATIENT: Duration = Duration::from_secs(5);
/// How long something that must not come is listened for.
const SHORT: Duration = Duration::from_millis(300);

/// A namespace with a link `eth0`.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) space: String,
}

/// What DHCP gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    pub(crate) router: Option<Ipv4Addr>,
    pub(crate) mtu: Option<u16>,
}

impl Machine {
    /// Plugs a machine into a port; it has no address yet.
    pub(crate) fn plug(net: &Net, port: u8) -> Self {
        Self::plug_as(net, &net.link(port), &net.mac(port))
    }

    pub(crate) fn plug_as(net: &Net, link: &str, mac: &str) -> Self {
        let (space, bridge, mtu, ip) = (format!("m-{link}"), net.bridge(), net.mtu, net.ip());
        sh(&format!(
            "ip netns add {space} && ip link add eth0 netns {space} address {mac} mtu {mtu} type veth peer name {link} mtu {mtu} \
             && ip -n {space} link set lo up && ip -n {space} link set eth0 up"
        ));
        match net.home {
            Some(home) => sh(&format!("ip link set {link} netns {home}")),
            None => String::new(),
        };
        sh(&format!("{ip} link set {link} master {bridge} up"));
        let machine = Self { space };
        machine.ip("route add 255.255.255.255 dev eth0");
        machine.within(|| std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap());
        machine
    }

    /// Plugs a machine in and gives it its address by hand.
    pub(crate) fn with_address(net: &Net, port: u8) -> Self {
        let machine = Self::plug(net, port);
        machine.ip(&format!("addr add {}/24 dev eth0", Net::address(port)));
        machine.ip(&format!("route add default via {}", Net::address(1)));
        machine
    }

    /// Runs `ip` in it.
    pub(crate) fn ip(&self, args: &str) -> String {
        sh(&format!("ip -n {} {args}", self.space))
    }

    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let space = File::open(format!("/run/netns/{}", self.space)).unwrap();
        let enter = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// Whether an address answers a ping, from whatever address the machine has or from this one.
    pub(crate) fn ping(&self, to: &str, from: Option<&str>, patience: Duration) -> bool {
        let to = SocketAddr::new(to.parse().unwrap(), 0);
        let from = from.map(|from| SocketAddr::new(from.parse().unwrap(), 0));
        self.within(move || {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)).unwrap();
            let step = Some(Duration::from_millis(100));
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, step).unwrap();
            if let Some(from) = from {
                rustix::net::bind(&socket, &from).unwrap();
            }
            let until = Instant::now() + patience;
            while Instant::now() < until {
                let mut answer = [0_u8; 64];
                let echo = [8, 0, 0, 0, 0, 0, 0, 1];
                // Failures (nobody has the address) are no answer.
                let _ = rustix::net::sendto(&socket, &echo, SendFlags::empty(), &to);
                if rustix::net::recv(&socket, &mut answer, RecvFlags::empty()).is_ok() && answer[0] == 0 {
                    return true;
                }
            }
            false
        })
    }

    pub(crate) fn reaches(&self, to: &str) -> bool {
        self.ping(to, None, PATIENT)
    }

    pub(crate) fn is_deaf_to(&self, to: &str) -> bool {
        !self.ping(to, None, SHORT)
    }

    /// Whether a TCP connection can be opened, used in both directions and closed; gives who the server saw.
    pub(crate) fn talks(&self, to: &Self, address: &str, port: u16, must: bool) -> Option<SocketAddr> {
        let listener = to.within(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
        let address = SocketAddr::new(address.parse().unwrap(), port);
        let patience = if must { PATIENT } else { SHORT };
        let mut stream = self.within(|| TcpStream::connect_timeout(&address, patience)).ok()?;
        let (mut served, seen) = listener.accept().unwrap();
        stream.write_all(b"question").unwrap();
        let mut heard = [0; 8];
        served.set_read_timeout(Some(PATIENT)).unwrap();
        served.read_exact(&mut heard).unwrap();
        served.write_all(&heard).unwrap();
        stream.set_read_timeout(Some(PATIENT)).unwrap();
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"question");
        Some(seen)
    }

    pub(crate) fn udp(&self, port: u16) -> UdpSocket {
        let socket = self.within(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
        socket.set_broadcast(true).unwrap();
        socket
    }

    /// Asks for an address by DHCP, as a client without one does.
    pub(crate) fn lease(&self, mac: &str, must: bool) -> Option<Lease> {
        let socket = self.udp(68);
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mac: Vec<u8> = mac
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).unwrap())
            .collect();
        let until = Instant::now() + if must { PATIENT } else { SHORT };
        let exchange = |kind: u8, options: &[u8], answer: u8| {
            while Instant::now() < until {
                let _ = socket.send_to(&message(&mac, kind, options), ("255.255.255.255", 67));
                let mut buffer = [0; 1_500];
                if let Ok(length) = socket.recv(&mut buffer)
                    && option(&buffer[..length], 53) == Some(vec![answer])
                {
                    return Some(buffer[..length].to_vec());
                }
            }
            None
        };
        let offer = exchange(1, &[], 2)?;
        let (address, server) = (offer[16..20].to_vec(), option(&offer, 54).unwrap());
        let wish = [&[50, 4], address.as_slice(), &[54, 4], server.as_slice()].concat();
        let answer = exchange(3, &wish, 5)?;
        let four = |bytes: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).unwrap());
        Some(Lease {
            address: four(&answer[16..20]),
            router: option(&answer, 3).map(|router| four(&router)),
            mtu: option(&answer, 26).map(|mtu| u16::from_be_bytes([mtu[0], mtu[1]])),
        })
    }
}

/// A DHCP message of a client that wants answers by broadcast.
pub(crate) fn message(mac: &[u8], kind: u8, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(b"symp");
    message[10] = 0x80;
    message[28..34].copy_from_slice(mac);
    message.extend([99, 130, 83, 99, 53, 1, kind, 55, 3, 1, 3, 26]);
    message.extend(options);
    message.push(255);
    message
}

fn option(message: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let mut rest = message.get(240..)?;
    loop {
        let (&kind, tail) = rest.split_first()?;
        if kind == 0 {
            rest = tail;
            continue;
        }
        let (&length, tail) = tail.split_first()?;
        let value = tail.get(..usize::from(length))?;
        if kind == wanted {
            return Some(value.to_vec());
        }
        rest = &tail[usize::from(length)..];
    }
}
