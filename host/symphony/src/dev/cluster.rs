//! A cluster on one server, for trying what happens when parts of it fail: three members of etcd, managers and agents, each
//! a process of its own with an address of its own on the loopback network.
//!
//! ```text
//!   127.S.1.N:15760 managers (DIR/managers/manager-N)     127.S.2.N:15761 agents (DIR/nodes/node-N)
//!   127.S.3.N:2379  etcd     (DIR/etcd/etcdN)             S is kept in DIR/network
//! ```
//! etcd speaks TLS to managers alone, with an authority of its own that is made here: whoever can read it owns the cluster.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use symphony_api::v1::{CreateToken, Truth};
use symphony_api::{Client, ClientConfig, ClientError, Code, DEFAULT_PROJECT, Endpoint};
use symphony_cli::{Failure, Globals};
use symphony_control::clock;
use symphony_core::Timestamp;
use symphony_pki::{Authority, Identity, MemberKey};
use symphony_store::member::{Member, MemberTls, PROGRAM};
use tokio_util::sync::CancellationToken;

use crate::args::DevArgs;
use crate::commands::dev::announce;
use crate::dev::fleet::{Fleet, Program};
use crate::dev::nodes::Node;
use crate::folder::{Folder, make_folder, write_private};

/// Members of etcd: one may be away.
const ETCD_MEMBERS: u8 = 3;
/// Networks 127.S.0.0/16 to choose from.
const SUBNETS: usize = 254;
/// How long the store, and then the managers, may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long etcd's certificates last.
const ETCD_CERTIFICATE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Which part has which address and folder.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    folder: &'a Folder,
    subnet: u8,
    managers: u8,
}

impl<'a> Layout<'a> {
    /// Reads it from the folder, or finds addresses that nobody has.
    ///
    /// # Errors
    /// The folder can't be used, or there is no room.
    pub(crate) fn of(folder: &'a Folder, managers: u16) -> Result<Self, Failure> {
        let path = folder.join("network");
        let failed =
            |error: &dyn std::error::Error| Failure::caused(format!("could not use {}", path.display()), error);
        let subnet = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|error| failed(&error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Two that begin at the same moment would both find the first one free.
                let first = usize::try_from(std::process::id()).unwrap_or(0) % SUBNETS;
                let mut subnets = (1..=254_u8).cycle().skip(first).take(SUBNETS);
                let free = subnets.find(|subnet| is_free(*subnet));
                let free = free.ok_or_else(|| Failure::new("all networks of 127.0.0.0/8 are in use"))?;
                write_private(&path, &format!("{free}\n")).map_err(|error| failed(&error))?;
                free
            }
            Err(error) => return Err(failed(&error)),
        };
        Ok(Self {
            folder,
            subnet,
            managers: u8::try_from(managers).unwrap_or(u8::MAX),
        })
    }

    /// The first three numbers of the nodes' addresses.
    pub(crate) const fn node_addresses(&self) -> [u8; 3] {
        [127, self.subnet, 2]
    }

    fn address(&self, kind: u8, number: u8, port: u16) -> String {
        format!("{}:{port}", Ipv4Addr::new(127, self.subnet, kind, number))
    }

    fn manager_address(&self, number: u8) -> String {
        self.address(1, number, 15_760)
    }

    fn manager_folder(&self, number: u8) -> PathBuf {
        self.folder.join("managers").join(format!("manager-{number}"))
    }

    fn etcd(&self) -> Result<Vec<Member>, Failure> {
        let folder = self.folder.join("etcd");
        // Whatever it connects to here, it comes from 127.0.0.1; and members look at that, too.
        let hosts = (1..=ETCD_MEMBERS).map(|number| self.etcd_host(number));
        let hosts: Vec<String> = hosts.chain(["127.0.0.1".to_owned()]).collect();
        let tls = etcd_certificates(&folder, &hosts)?;
        let addresses: Vec<_> = (1..=ETCD_MEMBERS)
            .map(|number| (self.address(3, number, 2379), self.address(3, number, 2380)))
            .collect();
        let mut members = Member::all(
            &folder,
            addresses.iter().map(|(client, peer)| (client.as_str(), peer.as_str())),
        );
        for member in &mut members {
            member.tls = Some(tls.clone());
        }
        Ok(members)
    }

    fn etcd_host(&self, number: u8) -> String {
        Ipv4Addr::new(127, self.subnet, 3, number).to_string()
    }
}

/// Whether nobody has the ports of a subnet: those of another cluster like this are enough to look at.
fn is_free(subnet: u8) -> bool {
    let bind = |kind, port| TcpListener::bind((Ipv4Addr::new(127, subnet, kind, 1), port)).is_ok();
    bind(1, 15_760) && bind(2, 15_761) && bind(3, 2379)
}

/// The certificate that all members of etcd and all managers show one another.
fn etcd_certificates(folder: &Path, hosts: &[String]) -> Result<MemberTls, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::caused("could not make etcd's certificates", error);
    let tls = MemberTls {
        ca: folder.join("ca.pem"),
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    make_folder(folder).map_err(|error| failed(&error))?;
    if tls.cert.exists() {
        return Ok(tls);
    }
    let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
    let cluster = clock::new_uuid();
    let authority = Authority::make(cluster, now).map_err(|error| failed(&error))?;
    let key = MemberKey::make().map_err(|error| failed(&error))?;
    let csr = key.csr_pem().map_err(|error| failed(&error))?;
    let issued = authority
        .issue(&csr, &Identity::node(cluster, "etcd"), hosts, now, ETCD_CERTIFICATE)
        .map_err(|error| failed(&error))?;
    write_private(&tls.ca, &authority.cert_pem()).map_err(|error| failed(&error))?;
    write_private(&tls.key, &key.to_pem()).map_err(|error| failed(&error))?;
    write_private(&tls.cert, &issued.cert_pem).map_err(|error| failed(&error))?;
    Ok(tls)
}

/// The running store and managers.
pub(crate) struct Cluster<'a> {
    layout: &'a Layout<'a>,
    store: Fleet,
    managers: Fleet,
}

impl<'a> Cluster<'a> {
    /// Starts the store, and then the managers.
    ///
    /// # Errors
    /// Files can't be written, programs are missing, the store does not begin.
    pub(crate) async fn start(layout: &'a Layout<'a>, show: bool, quiet: bool) -> Result<Self, Failure> {
        let etcd = layout.etcd()?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::caused("could not find this program's own path", &error))?;
        let mut managers = Vec::new();
        for number in 1..=layout.managers {
            managers.push(manager(layout, number, &etcd, &program)?);
        }
        let store = etcd.iter().map(etcd_program).collect::<Result<_, _>>()?;
        let store = Fleet::start(store, show, quiet)?;
        if let Err(failure) = begun(&store, &etcd).await {
            store.stop().await;
            return Err(failure);
        }
        Ok(Self {
            store,
            managers: Fleet::start(managers, show, quiet)?,
            layout,
        })
    }

    /// Makes the managers members, lets the nodes in, and says that it serves; returns when it is told to end, and the agents
    /// have.
    ///
    /// # Errors
    /// Something does not begin.
    pub(crate) async fn serve(
        &self,
        globals: &Globals,
        args: &DevArgs,
        nodes: &[Node],
        program: &Path,
        verbose: u8,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let since = clock::now();
        for number in 1..=self.layout.managers {
            self.initialise(number).await?;
        }
        let client = self.client(1)?;
        let addresses: Vec<String> = (1..=self.layout.managers)
            .map(|n| self.layout.manager_address(n))
            .collect();
        self.write_client(&addresses).await?;
        for node in nodes {
            let mut tokens = Vec::new();
            for role in node.roles.iter().filter(|_| node.is_outside()) {
                let wanted = CreateToken {
                    role: role.as_str().to_owned(),
                    name: Some(format!("dev {}", node.name)),
                    ..CreateToken::default()
                };
                let made = client.create_token(&wanted).await;
                tokens.push(
                    made.map_err(|error| Failure::caused("could not make a node's token", &error))?
                        .text,
                );
            }
            node.invite(&addresses, tokens)?;
        }
        let agents = nodes.iter().map(|node| Program::agent(node, program)).collect();
        let fleet = Fleet::start(agents, verbose > 0, globals.quiet)?;
        let mut served = tokio::select! {
            () = stop.cancelled() => Ok(()),
            came = self.all_sessions(nodes, &fleet, since) => {
                came.and_then(|()| announce(globals, args, self.layout.folder)).and_then(|()| say_ready(&addresses[0]))
            }
        };
        if served.is_ok() {
            stop.cancelled().await;
            served = Ok(());
        }
        fleet.stop().await;
        served
    }

    /// Ends the managers, and then the store.
    pub(crate) async fn stop(self) {
        self.managers.stop().await;
        self.store.stop().await;
    }

    /// Makes a manager a member, unless it is one, and waits until it serves as one: in between its control socket goes for
    /// a moment.
    async fn initialise(&self, number: u8) -> Result<(), Failure> {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut is_member = false;
        loop {
            self.managers.expect_alive()?;
            let failure = match self.step_in(number, is_member).await {
                Ok(true) if is_member => return Ok(()),
                Ok(now) => {
                    is_member |= now;
                    continue;
                }
                Err(failure) => failure,
            };
            if tokio::time::Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks a manager to become a member, or whether it serves as one: whether it is, and does.
    async fn step_in(&self, number: u8, is_member: bool) -> Result<bool, Failure> {
        let client = self.client(number)?;
        let said = if is_member {
            client.services().await.map(drop)
        } else {
            client.manager_init().await.map(drop)
        };
        match said {
            Ok(()) => Ok(true),
            Err(ClientError::Problem(problem)) if !is_member && problem.code == Code::Conflict => Ok(true),
            Err(error) => Err(Failure::caused(format!("manager {number} does not serve"), &error)),
        }
    }

    /// Over a manager's control socket.
    fn client(&self, number: u8) -> Result<Client, Failure> {
        let socket = self.layout.manager_folder(number).join("control.sock");
        Client::new(&Endpoint::Socket(socket), None, DEFAULT_PROJECT)
            .map_err(|error| Failure::caused(format!("could not talk to manager {number}"), &error))
    }

    /// The client's file: all managers, with the token of the first.
    async fn write_client(&self, addresses: &[String]) -> Result<(), Failure> {
        let own = self.layout.manager_folder(1).join("client.toml");
        let end = tokio::time::Instant::now() + PATIENCE;
        let config = loop {
            match ClientConfig::load(&own) {
                Ok(config) => break config,
                Err(error) if tokio::time::Instant::now() >= end => {
                    return Err(Failure::caused("the first manager did not begin", &error));
                }
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        };
        let urls: Vec<String> = addresses.iter().map(|address| format!("https://{address}")).collect();
        ClientConfig::single(urls.join(","), config.token.unwrap_or_default())
            .save(&self.layout.folder.join("client.toml"))
            .map_err(|error| Failure::caused("could not write the client's file", &error))
    }

    /// Returns when every node is ready since this start.
    async fn all_sessions(&self, nodes: &[Node], fleet: &Fleet, since: Timestamp) -> Result<(), Failure> {
        let mut missing: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let unusable = |error: &dyn std::error::Error| Failure::caused("could not use the client's file", error);
        let file = ClientConfig::load(&self.layout.folder.join("client.toml")).map_err(|error| unusable(&error))?;
        let address = file.address.unwrap_or_default();
        let client = Client::new(&Endpoint::Http(address), file.token.as_deref(), DEFAULT_PROJECT)
            .map_err(|error| unusable(&error))?;
        while !missing.is_empty() {
            fleet.expect_alive()?;
            self.managers.expect_alive()?;
            // Nobody may lead yet.
            for node in client.all_nodes(None).await.unwrap_or_default() {
                let ready = node
                    .status
                    .conditions
                    .iter()
                    .find(|condition| condition.kind == "ready");
                if ready.is_some_and(|ready| ready.status == Truth::True && ready.since >= since) {
                    missing.remove(node.meta.name.as_str());
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Waits until all members of the store serve.
async fn begun(store: &Fleet, etcd: &[Member]) -> Result<(), Failure> {
    for member in etcd {
        let failed = match member.healthy(PATIENCE).await {
            Ok(()) => continue,
            Err(error) => Failure::caused(format!("the store {} did not begin", member.name), &error).hint(format!(
                "its log says why: {}",
                member.data_dir.with_extension("log").display()
            )),
        };
        store.expect_alive()?;
        return Err(failed);
    }
    Ok(())
}

fn say_ready(address: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready https://{address}")
        .and_then(|()| stdout.flush())
        .map_err(Failure::from)
}

fn manager(layout: &Layout<'_>, number: u8, etcd: &[Member], program: &Path) -> Result<Program, Failure> {
    let folder = layout.manager_folder(number);
    make_folder(&folder).map_err(|error| Failure::caused(format!("could not make {}", folder.display()), &error))?;
    let endpoints: Vec<String> = etcd.iter().map(Member::endpoint).collect();
    let mut arguments: Vec<OsString> = vec![
        "manager".into(),
        "--config-dir".into(),
        folder.clone().into(),
        "--name".into(),
        format!("manager-{number}").into(),
        "--listen".into(),
        layout.manager_address(number).into(),
        "--etcd".into(),
        endpoints.join(",").into(),
        "--exit-with-stdin".into(),
    ];
    if let Some(tls) = etcd.first().and_then(|member| member.tls.as_ref()) {
        for (flag, path) in [
            ("--etcd-ca", &tls.ca),
            ("--etcd-cert", &tls.cert),
            ("--etcd-key", &tls.key),
        ] {
            arguments.extend([flag.into(), path.clone().into()]);
        }
    }
    Ok(Program {
        name: format!("manager-{number}"),
        path: program.to_owned(),
        arguments,
        log: folder.join("manager.log"),
        by_signal: false,
    })
}

/// etcd under `setpriv`, which has the kernel end it when this process dies.
fn etcd_program(member: &Member) -> Result<Program, Failure> {
    make_folder(&member.data_dir)
        .map_err(|error| Failure::caused(format!("could not make {}", member.data_dir.display()), &error))?;
    let mut arguments: Vec<OsString> = vec!["--pdeathsig".into(), "TERM".into(), PROGRAM.into()];
    arguments.extend(member.arguments());
    Ok(Program {
        name: member.name.clone(),
        path: "setpriv".into(),
        arguments,
        log: member.data_dir.with_extension("log"),
        by_signal: true,
    })
}
