//! Where a manager listens, and by which address others find it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use symphony_cli::Failure;
use tokio::net::TcpListener;

use crate::args::Listen;

/// An address that leads out of this server, for finding out which of its own does: nothing is sent there.
const OUTSIDE: &str = "192.0.2.1:9";

/// Listens.
///
/// # Errors
/// The address can't be had: why, and what to do.
pub(crate) async fn listen(listen: &Listen) -> Result<TcpListener, Failure> {
    let address = listen.listen;
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::caused(format!("could not listen on {address}"), &error);
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                failure.hint("something else has that port; take a free one with --listen 127.0.0.1:0")
            }
            _ => failure.hint("--listen takes an address of this server, like 127.0.0.1:15760"),
        }
    })
}

/// By which address others find a manager that listens there: what it was told, or the address that it listens on; for one
/// that listens everywhere, this server's own.
pub(crate) fn advertised(listen: &Listen, bound: SocketAddr, peers: &[String]) -> String {
    if let Some(told) = &listen.advertise {
        return with_port(told, bound.port());
    }
    let ip = if bound.ip().is_unspecified() {
        own_address(peers)
    } else {
        bound.ip()
    };
    SocketAddr::new(ip, bound.port()).to_string()
}

fn with_port(told: &str, port: u16) -> String {
    let has_port = told.parse::<SocketAddr>().is_ok()
        || (told.parse::<IpAddr>().is_err()
            && told
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok()));
    match told.parse::<IpAddr>() {
        _ if has_port => told.to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{told}:{port}"),
    }
}

/// The address of this server that leads to one of these (`http://HOST:PORT`), or else out of it.
fn own_address(peers: &[String]) -> IpAddr {
    let authority = |url: &String| {
        url.split_once("://")
            .map_or(url.clone(), |(_, rest)| rest.trim_end_matches('/').to_owned())
    };
    peers
        .iter()
        .map(authority)
        .chain([OUTSIDE.to_owned()])
        .find_map(|peer| {
            let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
            socket.connect(&peer).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_gets_the_port_that_it_lacks() {
        for (told, whole) in [
            ("10.0.0.1", "10.0.0.1:15760"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("::1", "[::1]:15760"),
            ("[::1]:1", "[::1]:1"),
            ("m1.example", "m1.example:15760"),
            ("m1.example:1", "m1.example:1"),
        ] {
            assert_eq!(with_port(told, 15760), whole);
        }
    }

    #[test]
    fn one_that_listens_everywhere_is_found_by_the_way_to_its_store() {
        let listen = Listen::default();
        let bound = "0.0.0.0:15760".parse().unwrap();
        assert_eq!(
            advertised(&listen, bound, &["http://127.0.0.1:2379".to_owned()]),
            "127.0.0.1:15760"
        );
    }
}
