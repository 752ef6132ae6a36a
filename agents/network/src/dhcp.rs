//! DHCP and DNS by dnsmasq, one process for a network, in its namespace. It makes a daemon of itself, so that its start is
//! known to have worked or not, and outlives the agent. It keeps root's rights to read the hosts again on SIGHUP; what it
//! can reach is its namespace.

use std::fmt::Write as _;

use rustix::process::Signal;
use symphony_core::plan::network::{DhcpHost, DhcpSettings, DnsName, PEERS_MAX};

use crate::gateway::GATEWAY;
use crate::state::Folder;
use crate::{NetworkError, names, namespace, process, program};

const PROGRAM: &str = "dnsmasq";
/// Most hosts of one network on one node.
const HOSTS_MAX: usize = symphony_core::plan::network::PORTS_MAX;

fn mark(folder: &Folder) -> String {
    format!("--pid-file={}", folder.path("dnsmasq.pid").display())
}

/// The whole command line, without hosts: another one is another server.
fn words(folder: &Folder, settings: &DhcpSettings) -> Result<Vec<String>, NetworkError> {
    let (subnet, prefix) = names::subnet(&settings.subnet)?;
    let (gateway, domain) = (names::address(&settings.gateway)?, names::domain(&settings.domain)?);
    let path = |name: &str| folder.path(name).display().to_string();
    let mut words = vec![
        PROGRAM.to_owned(),
        "--conf-file=/dev/null".to_owned(),
        mark(folder),
        "--user=root".to_owned(),
        format!("--interface={GATEWAY}"),
        "--except-interface=lo".to_owned(),
        "--bind-interfaces".to_owned(),
        format!("--dhcp-range={subnet},static,{},1h", names::mask(prefix)),
        "--dhcp-ignore=tag:!known".to_owned(),
        "--dhcp-authoritative".to_owned(),
        "--dhcp-lease-max=2048".to_owned(),
        "--no-ping".to_owned(),
        format!("--dhcp-option=option:router,{gateway}"),
        format!("--dhcp-hostsfile={}", path("hosts")),
        format!("--dhcp-leasefile={}", path("leases")),
        format!("--addn-hosts={}", path("names")),
        "--no-hosts".to_owned(),
        format!("--domain={domain}"),
        format!("--local=/{domain}/"),
        "--expand-hosts".to_owned(),
    ];
    if settings.mtu > 0 {
        words.push(format!("--dhcp-option=option:mtu,{}", settings.mtu));
    }
    if !settings.forward {
        words.push("--no-resolv".to_owned());
    }
    Ok(words)
}

/// The files of the hosts: whom DHCP gives an address, and whom DNS knows.
fn files(hosts: &[DhcpHost], others: &[DnsName]) -> Result<(String, String), NetworkError> {
    if hosts.len() > HOSTS_MAX || others.len() > PEERS_MAX {
        let value = (hosts.len() + others.len()).to_string();
        return Err(NetworkError::Invalid {
            what: "a number of hosts",
            value,
        });
    }
    let (mut dhcp, mut dns) = (String::new(), String::new());
    for host in hosts {
        let (mac, address) = (names::mac(&host.mac)?, names::address(&host.address)?);
        // Writing into memory does not fail.
        let _ = match names::hostname(&host.hostname)? {
            "" => writeln!(dhcp, "{mac},{address}"),
            name => writeln!(dhcp, "{mac},{address},{name}").and_then(|()| writeln!(dns, "{address} {name}")),
        };
    }
    for name in others.iter().filter(|name| !name.hostname.is_empty()) {
        let (address, hostname) = (names::address(&name.address)?, names::hostname(&name.hostname)?);
        let _ = writeln!(dns, "{address} {hostname}");
    }
    Ok((dhcp, dns))
}

/// The server of these settings, if it lives and is where it should be.
fn server(folder: &Folder, settings: &DhcpSettings) -> Result<Option<i32>, NetworkError> {
    let words = words(folder, settings)?;
    let pid = process::named_by(&folder.path("dnsmasq.pid"));
    Ok(pid.filter(|pid| process::is(*pid, &words) && namespace::has(&settings.namespace, *pid)))
}

pub(crate) async fn serve(folder: &Folder, settings: &DhcpSettings) -> Result<(), NetworkError> {
    let name = names::namespace(&settings.namespace)?;
    let (dhcp, dns) = files(&settings.hosts, &settings.names)?;
    let words = words(folder, settings)?;
    folder.write("hosts", dhcp.as_bytes())?;
    folder.write("names", dns.as_bytes())?;
    symphony_crash::point("network.dhcp.written");
    if let Some(pid) = server(folder, settings)?
        && process::signal(pid, Signal::HUP, |pid| process::is(pid, &words))
    {
        return Ok(());
    }
    stop(folder).await?;
    symphony_crash::point("network.dhcp.stopped");
    let args: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    program::run(Some(name), PROGRAM, &args, "").await.map(drop)
}

pub(crate) async fn stop(folder: &Folder) -> Result<(), NetworkError> {
    process::end(PROGRAM, &mark(folder)).await
}

/// Whether the server of these settings runs, with their hosts.
pub(crate) fn stands(folder: &Folder, settings: &DhcpSettings) -> Result<bool, NetworkError> {
    let (dhcp, dns) = files(&settings.hosts, &settings.names)?;
    let has = |name: &str, text: &str| std::fs::read(folder.path(name)).is_ok_and(|bytes| bytes == text.as_bytes());
    Ok(has("hosts", &dhcp) && has("names", &dns) && server(folder, settings)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_limited_and_checked() {
        let host = |hostname: &str| DhcpHost {
            mac: "52:54:00:00:00:01".to_owned(),
            address: "10.0.0.2".to_owned(),
            hostname: hostname.to_owned(),
        };
        let name = |hostname: &str| DnsName {
            address: "10.0.0.9".to_owned(),
            hostname: hostname.to_owned(),
        };
        let (dhcp, dns) = files(&[host("one"), host("")], &[name("far")]).unwrap();
        assert_eq!(dhcp, "52:54:00:00:00:01,10.0.0.2,one\n52:54:00:00:00:01,10.0.0.2\n");
        assert_eq!(dns, "10.0.0.2 one\n10.0.0.9 far\n");
        assert!(files(&[host("a\nb")], &[]).is_err() && files(&[], &[name("a\nb")]).is_err());
        assert!(files(&vec![host("a"); HOSTS_MAX], &vec![name("a"); PEERS_MAX]).is_ok());
        assert!(
            files(&vec![host("a"); HOSTS_MAX + 1], &[]).is_err()
                && files(&[], &vec![name("a"); PEERS_MAX + 1]).is_err()
        );
    }
}
