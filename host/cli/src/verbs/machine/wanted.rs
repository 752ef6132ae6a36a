//! Volumes, networks, sizes and rates of a machine as flags: checked here, so that a wrong one never leaves the client.

use std::net::Ipv4Addr;
use std::str::FromStr;

use symphony_api::v1::{Size, WantedPort, WantedVolume};
use symphony_core::machine::{CPUS_MAX, MEMORY_BYTES_MIN, MachineSize, MachineSizeError};
use symphony_core::name::Name;
use symphony_core::network::Rule;
use symphony_core::quantity::{Bytes, VolumeSize};

use crate::target::Target;

/// Units of a rate, in bits per second.
const RATES: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

/// `--volume`: `data=1GiB` makes one, `NAME` takes one that exists; `,delete` ends it with the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeFlag {
    name: String,
    size: Option<VolumeSize>,
    delete_with_machine: bool,
}

impl VolumeFlag {
    /// Whether it names a volume that exists.
    pub(super) fn exists(&self) -> bool {
        self.size.is_none()
    }

    /// As it is sent.
    pub(super) fn wanted(&self) -> WantedVolume {
        WantedVolume {
            name: self.name.clone(),
            size: self.size.map(|size| Size::bytes(size.bytes())),
            delete_with_machine: self.delete_with_machine,
        }
    }
}

impl FromStr for VolumeFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, delete_with_machine) = match text.split_once(',') {
            None => (text, false),
            Some((what, "delete")) => (what, true),
            Some((_, other)) => {
                return Err(format!(
                    "{other:?} is no option of a volume; there is `delete`: it ends with the machine"
                ));
            }
        };
        let Some((name, size)) = what.split_once('=') else {
            let target: Target = what.parse().map_err(|error| {
                format!("{error}; write NAME=SIZE for a new volume, or the name of one that exists")
            })?;
            return Ok(Self {
                name: target.to_string(),
                size: None,
                delete_with_machine,
            });
        };
        Ok(Self {
            name: name.parse::<Name>().map_err(|error| error.to_string())?.to_string(),
            size: Some(size.parse::<VolumeSize>().map_err(|error| error.to_string())?),
            delete_with_machine,
        })
    }
}

/// `--network`: `NET[,address=A][,rate=100Mbit]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NetworkFlag {
    network: Target,
    address: Option<Ipv4Addr>,
    rate: Option<String>,
}

impl NetworkFlag {
    /// The network's name or id.
    pub(super) fn network(&self) -> &Target {
        &self.network
    }

    /// As it is sent, with the rules, and with the rate that counts where it has none of its own.
    pub(super) fn wanted(&self, allow: &[Rule], rate: Option<&String>) -> WantedPort {
        WantedPort {
            network: self.network.to_string(),
            address: self.address.map(|address| address.to_string()),
            allow: allow.iter().map(ToString::to_string).collect(),
            rate: self.rate.as_ref().or(rate).cloned(),
        }
    }
}

impl FromStr for NetworkFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let network = parts.next().unwrap_or_default();
        let mut flag = Self {
            network: network
                .parse()
                .map_err(|error| format!("{error}; write NETWORK[,address=A][,rate=100Mbit]"))?,
            address: None,
            rate: None,
        };
        for part in parts {
            let twice = || format!("{part:?} is given twice");
            match part.split_once('=') {
                Some(("address", address)) => {
                    let address = address
                        .parse()
                        .map_err(|_| format!("{address:?} is no address; write one of the network's, like 10.0.0.5"))?;
                    flag.address.replace(address).map_or(Ok(()), |_| Err(twice()))?;
                }
                Some(("rate", text)) => {
                    flag.rate.replace(rate(text)?).map_or(Ok(()), |_| Err(twice()))?;
                }
                _ => {
                    return Err(format!(
                        "{part:?} is no option of a network; there are address=10.0.0.5 and rate=100Mbit"
                    ));
                }
            }
        }
        Ok(flag)
    }
}

/// A number of bits per second with its unit: `100Mbit`.
pub(super) fn rate(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let (number, factor) = RATES
        .iter()
        .find_map(|(unit, factor)| lower.strip_suffix(unit).map(|number| (number.trim(), *factor)))
        .ok_or_else(|| no_rate(text))?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(0) => Err("a rate is more than 0; for no limit, give none".to_owned()),
        Some(_) if digits => Ok(text.to_owned()),
        _ => Err(no_rate(text)),
    }
}

fn no_rate(text: &str) -> String {
    format!("{text:?} is no rate; write a whole number and a unit, like 100Mbit (bit, kbit, Mbit, Gbit)")
}

/// A number of virtual processors.
pub(super) fn cpus(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no number of processors; a machine has 1 to {CPUS_MAX}");
    let cpus = text.parse().map_err(|_| wrong())?;
    checked(MachineSize::new(cpus, MEMORY_BYTES_MIN)).map(|()| cpus)
}

/// A machine's memory.
pub(super) fn memory(text: &str) -> Result<Bytes, String> {
    let memory: Bytes = text.parse().map_err(|error| format!("{error}"))?;
    let checked = checked(MachineSize::new(1, memory.0)).map(|()| memory);
    // Others take it for MiB.
    checked.map_err(|error| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("{error}; give it a unit, like 256MiB"),
        false => error,
    })
}

fn checked(size: Result<MachineSize, MachineSizeError>) -> Result<(), String> {
    size.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_new_or_exist() {
        let new: VolumeFlag = "data=1GiB".parse().unwrap();
        assert!(!new.exists());
        assert_eq!(
            new.wanted(),
            WantedVolume {
                name: "data".into(),
                size: Some(Size::bytes(1 << 30)),
                delete_with_machine: false
            }
        );
        let old: VolumeFlag = "0192f0c1-2345-7abc-8def-0123456789ab,delete".parse().unwrap();
        assert!(old.exists() && old.wanted().delete_with_machine);
        assert_eq!(old.wanted().size, None);
        for (wrong, why) in [
            ("", "NAME=SIZE"),
            ("../etc", "NAME=SIZE"),
            ("data=", "is not a size"),
            ("data=0", "more than 0"),
            ("data=1000", "multiple of 512"),
            ("=1GiB", "name"),
            ("data=1GiB,keep", "`delete`"),
            ("data=1GiB,delete,delete", "`delete`"),
            ("0192f0c1-2345-7abc-8def-0123456789ab=1GiB", "UUID"),
        ] {
            let error = wrong.parse::<VolumeFlag>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn networks_have_addresses_and_rates() {
        let rules = ["tcp:22".parse().unwrap(), "icmp".parse().unwrap()];
        let common = "1Gbit".to_owned();
        let flag: NetworkFlag = "net1,address=10.0.0.5,rate=100Mbit".parse().unwrap();
        let wanted = flag.wanted(&rules, Some(&common));
        assert_eq!(
            (wanted.network.as_str(), wanted.address.as_deref()),
            ("net1", Some("10.0.0.5"))
        );
        assert_eq!(wanted.allow, ["tcp:22", "icmp"]);
        assert_eq!(wanted.rate.as_deref(), Some("100Mbit"), "its own counts");
        let plain: NetworkFlag = "net1".parse().unwrap();
        assert_eq!(plain.wanted(&[], Some(&common)).rate.as_deref(), Some("1Gbit"));
        assert_eq!(plain.wanted(&[], None), {
            WantedPort {
                network: "net1".into(),
                ..WantedPort::default()
            }
        });
        for (wrong, why) in [
            ("", "NETWORK["),
            ("a/b", "NETWORK["),
            ("net1,address=10.0.0", "no address"),
            ("net1,address=fe80::1", "no address"),
            ("net1,rate=fast", "no rate"),
            ("net1,mac=1", "no option"),
            ("net1,", "no option"),
            ("net1,rate=1bit,rate=2bit", "twice"),
        ] {
            let error = wrong.parse::<NetworkFlag>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn rates_have_units() {
        for good in ["100Mbit", "1gbit", "512 kbit", "9600bit"] {
            assert_eq!(rate(good).unwrap(), good);
        }
        for wrong in [
            "",
            "100",
            "Mbit",
            "0Mbit",
            "-1Mbit",
            "+1Mbit",
            "1.5Mbit",
            "100MB",
            "99999999999999999999Gbit",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processors_and_memory_have_limits() {
        assert_eq!(cpus("2"), Ok(2));
        assert_eq!(memory("512MiB"), Ok(Bytes(512 << 20)));
        for wrong in ["0", "513", "-1", "two"] {
            assert!(cpus(wrong).unwrap_err().contains("512"), "{wrong}");
        }
        for (wrong, why) in [
            ("0", "16MiB"),
            ("256", "like 256MiB"),
            ("1MiB", "16MiB"),
            ("17TiB", "16TiB"),
            ("20000001", "MiB"),
            ("much", "is not a size"),
        ] {
            let error = memory(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
