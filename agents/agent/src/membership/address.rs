//! Where a manager is, as people write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port of managers when none is given.
const PORT: u16 = 15760;
/// Longest address, in bytes: a DNS name and a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// A manager's address: `HOST:PORT`, with brackets around an IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManagerAddress(String);

/// Why a text is no address of a manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form ADDRESS or ADDRESS:PORT, like 192.0.2.10:15760")]
pub struct AddressError(String);

impl ManagerAddress {
    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ManagerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.chars().take(ADDRESS_BYTES_MAX).collect());
        let bare = text.trim().trim_start_matches("https://").trim_end_matches('/');
        if let Ok(address) = bare.parse::<SocketAddr>() {
            return Ok(Self(address.to_string()));
        }
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(address, PORT).to_string()));
        }
        let bracketed = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(Ok(address)) = bracketed.map(str::parse::<Ipv6Addr>) {
            return Ok(Self(SocketAddr::new(address.into(), PORT).to_string()));
        }
        let (host, port) = match bare.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
            None => (bare, PORT),
        };
        let is_name = !host.is_empty()
            && host.len() <= ADDRESS_BYTES_MAX - 7
            && !host.starts_with(['-', '.'])
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        // What has only digits and dots and is no address was meant as one.
        let is_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if !is_name || is_number || port == 0 {
            return Err(wrong());
        }
        Ok(Self(format!("{}:{port}", host.to_ascii_lowercase())))
    }
}

impl fmt::Display for ManagerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ManagerAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<ManagerAddress> for String {
    fn from(address: ManagerAddress) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_becomes_one_form() {
        for (written, meant) in [
            ("192.0.2.7", "192.0.2.7:15760"),
            ("192.0.2.7:4", "192.0.2.7:4"),
            ("https://192.0.2.7:4/", "192.0.2.7:4"),
            ("::1", "[::1]:15760"),
            ("[::1]", "[::1]:15760"),
            ("[::1]:4", "[::1]:4"),
            ("M1.example", "m1.example:15760"),
            (" m1:99 ", "m1:99"),
        ] {
            assert_eq!(written.parse::<ManagerAddress>().unwrap().as_str(), meant);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            ":1",
            "m1:",
            "m1:x",
            "m1:0",
            "m1:99999",
            "http://m1",
            "m1/x",
            "a b",
            "300.1.1.1",
            "-x",
            "[::1",
            "m1:1:2",
            "ftp://m1",
        ] {
            assert!(text.parse::<ManagerAddress>().is_err(), "{text}");
        }
        assert!("m".repeat(300).parse::<ManagerAddress>().is_err());
    }
}
