//! What can cut a node's power: devices of operators, and the programs that speak to them.
//!
//! A device is a program by the fence agents' convention (`fence_ipmilan` and its like: options as `name=value` lines on
//! standard input, `action` among them) and its options. It is asked by the agent of *another* node, from that agent's own
//! list of programs. Secrets are never here: an option's value `@NAME` stands for what is in a file of that agent's folder.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::name::Name;

/// Most devices of a node.
pub const DEVICES_MAX: usize = 8;
/// The last level.
pub const LEVEL_MAX: u8 = 4;
/// Most options of a device.
pub const OPTIONS_MAX: usize = 32;
/// Longest name of an option or a program, in bytes.
pub const OPTION_NAME_BYTES_MAX: usize = 63;
/// Longest value of an option, in bytes.
pub const OPTION_VALUE_BYTES_MAX: usize = 1024;
/// The shortest time after which a silent node may be fenced without anybody asking for it, in seconds.
pub const AFTER_S_MIN: u32 = 30;

/// How a node's power is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePower {
    /// At most [`DEVICES_MAX`]. A device's number is its place here.
    pub devices: Vec<Device>,
    /// For how many seconds the node must be unknown until its power is cut without anybody asking for it; at least
    /// [`AFTER_S_MIN`]. A manager that begins to lead counts anew. Nothing: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<u32>,
}

/// Something that can cut a node's power.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// From 1 to [`LEVEL_MAX`]. All devices of one level together cut the power (the two sockets of a server with two
    /// supplies); a later level is for when an earlier one fails.
    #[serde(default = "first_level")]
    pub level: u8,
    /// A name in the list of programs of whichever agent asks it, not a path.
    pub program: String,
    /// What the program is told, but for the action.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

const fn first_level() -> u8 {
    1
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue<'a> {
    /// As it is.
    Plain(&'a str),
    /// What is in the asking agent's file of this name.
    Secret(Name),
}

/// Why a node's power can't be cut so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", self.device.map_or_else(String::new, |device| format!("device {device}: ")))]
pub struct PowerError {
    /// The device's number.
    pub device: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl NodePower {
    /// Whether it can be taken.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), PowerError> {
        let wrong = |what: String| Err(PowerError { device: None, what });
        if self.devices.is_empty() {
            return wrong("it has no devices".to_owned());
        }
        if self.devices.len() > DEVICES_MAX {
            let count = self.devices.len();
            return wrong(format!("it has {count} devices; a node has at most {DEVICES_MAX}"));
        }
        if let Some(after) = self.after_s.filter(|after| *after < AFTER_S_MIN) {
            return wrong(format!(
                "it is to be cut after {after} s; a node that restarts is away for longer: at least {AFTER_S_MIN} s"
            ));
        }
        for (number, device) in self.devices.iter().enumerate() {
            device.check().map_err(|what| PowerError {
                device: Some(number),
                what,
            })?;
        }
        Ok(())
    }
}

impl Device {
    fn check(&self) -> Result<(), String> {
        if !(1..=LEVEL_MAX).contains(&self.level) {
            return Err(format!("level {} is not from 1 to {LEVEL_MAX}", self.level));
        }
        if !is_program(&self.program) {
            return Err(format!(
                "{:?} is not the name of a program: letters, digits, `-`, `_` and `.`, at most {OPTION_NAME_BYTES_MAX} bytes",
                self.program
            ));
        }
        if self.options.len() > OPTIONS_MAX {
            let count = self.options.len();
            return Err(format!("it has {count} options; a device has at most {OPTIONS_MAX}"));
        }
        self.options.iter().try_for_each(|(name, value)| option(name, value))
    }

    /// The values of its options; of one that was checked.
    pub fn values(&self) -> impl Iterator<Item = (&str, OptionValue<'_>)> {
        self.options.iter().map(|(name, value)| {
            let secret = value.strip_prefix('@').and_then(|name| name.parse().ok());
            let value = secret.map_or(OptionValue::Plain(value), OptionValue::Secret);
            (name.as_str(), value)
        })
    }
}

/// Whether a text can name a program in an agent's list.
#[must_use]
pub fn is_program(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= OPTION_NAME_BYTES_MAX && !text.starts_with('.') && text.chars().all(plain)
}

/// Whether a device may be told this.
fn option(name: &str, value: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > OPTION_NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err(format!(
            "{name:?} is not the name of an option: lower case, digits, `-` and `_`, at most {OPTION_NAME_BYTES_MAX} bytes"
        ));
    }
    // The same option has both spellings in the convention.
    let spelled = name.replace('-', "_");
    if matches!(spelled.as_str(), "action" | "option") {
        return Err(format!(
            "option {name} is not for operators: what is to be done is said by symphony"
        ));
    }
    // With these a program runs another one, or writes to a file that is named here.
    let reaches_out = ["_path", "_script", "_options", "_file", "_cmd", "_command"];
    if reaches_out.iter().any(|end| spelled.ends_with(end))
        || spelled.starts_with("debug")
        || spelled.starts_with("verbose")
    {
        return Err(format!(
            "option {name} would have the program use a file or another program of the node, or print its secrets; such options are \
             not taken"
        ));
    }
    if value.len() > OPTION_VALUE_BYTES_MAX {
        return Err(format!("the value of {name} is over {OPTION_VALUE_BYTES_MAX} bytes"));
    }
    // A line more would be an option more.
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} has a control character"));
    }
    if let Some(secret) = value.strip_prefix('@') {
        let parsed = secret.parse::<Name>();
        return parsed
            .map(|_| ())
            .map_err(|error| format!("the value of {name} is to name a secret, and {error}"));
    }
    if ["passw", "secret", "token"].iter().any(|word| spelled.contains(word)) {
        return Err(format!(
            "the value of {name} is a secret, which does not belong here; write {name}=@NAME, and the secret itself to \
             fence/NAME in the folder of each agent that is to use it"
        ));
    }
    Ok(())
}

/// What a device says of a node's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerState {
    /// It is on.
    On,
    /// It is off.
    Off,
    /// Nobody knows: the device can't be asked, or did not say.
    Unknown,
}

impl PowerState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A fence that is under way: the node's power is being cut, and it is fenced once that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fencing {
    /// When it was asked for.
    pub since: Timestamp,
    /// What was asked for it: an operator, or the time in which nothing was heard.
    pub why: String,
    /// What holds it up; empty while nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub held_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, value: &str) -> Device {
        Device {
            level: 1,
            program: "fence_ipmilan".to_owned(),
            options: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        }
    }

    fn power(device: Device) -> NodePower {
        NodePower {
            devices: vec![device],
            after_s: None,
        }
    }

    #[test]
    fn what_a_device_needs_is_taken() {
        for (name, value) in [
            ("ip", "10.9.0.3"),
            ("username", "fence"),
            ("password", "@ipmi"),
            ("plug", "3"),
            ("lanplus", "1"),
            ("power_timeout", "20"),
        ] {
            assert_eq!(power(device(name, value)).check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_would_reach_further_is_not() {
        let long = "x".repeat(OPTION_VALUE_BYTES_MAX + 1);
        for (name, value, said) in [
            ("ipmitool_path", "/bin/sh", "would have the program use a file"),
            ("ssh-options", "-o ProxyCommand=x", "would have the program use a file"),
            ("identity_file", "/etc/shadow", "would have the program use a file"),
            ("debug", "/etc/passwd", "would have the program use a file"),
            ("debug_file", "/etc/passwd", "would have the program use a file"),
            ("password_script", "/x", "would have the program use a file"),
            ("action", "on", "said by symphony"),
            ("ip", "1\naction=on", "a control character"),
            ("IP", "1", "is not the name of an option"),
            ("", "1", "is not the name of an option"),
            ("a=b", "1", "is not the name of an option"),
            ("password", "hunter2", "write password=@NAME"),
            ("snmp_priv_passwd", "hunter2", "write snmp_priv_passwd=@NAME"),
            ("password", "@../key", "is to name a secret"),
            ("ip", &long, "over 1024 bytes"),
        ] {
            let error = power(device(name, value)).check().unwrap_err().to_string();
            assert!(
                error.starts_with("device 0: ") && error.contains(said),
                "{name}: {error}"
            );
            assert!(!error.contains("hunter2"), "a secret is shown: {error}");
        }
    }

    #[test]
    fn each_limit_holds() {
        let one = || device("plug", "1");
        let with = |change: &dyn Fn(&mut NodePower)| {
            let mut power = power(one());
            change(&mut power);
            power.check()
        };
        assert!(with(&|power| power.devices = vec![one(); DEVICES_MAX]).is_ok());
        assert!(with(&|power| power.devices = vec![one(); DEVICES_MAX + 1]).is_err());
        assert!(with(&|power| power.devices.clear()).is_err());
        assert!(with(&|power| power.after_s = Some(AFTER_S_MIN)).is_ok());
        assert!(with(&|power| power.after_s = Some(AFTER_S_MIN - 1)).is_err());
        for level in [0, LEVEL_MAX + 1] {
            assert!(with(&|power| power.devices[0].level = level).is_err());
        }
        for program in ["", "/usr/sbin/fence", "..", "a b", &"x".repeat(64)] {
            assert!(with(&|power| power.devices[0].program = program.to_owned()).is_err());
        }
        let many = |count: usize| (0..count).map(|n| (format!("o{n}"), String::new())).collect();
        assert!(with(&|power| power.devices[0].options = many(OPTIONS_MAX)).is_ok());
        assert!(with(&|power| power.devices[0].options = many(OPTIONS_MAX + 1)).is_err());
    }

    #[test]
    fn a_secret_is_told_from_a_value() {
        let mut device = device("password", "@ipmi");
        device.options.insert("ip".to_owned(), "10.0.0.1".to_owned());
        let values: Vec<_> = device.values().collect();
        let secret = OptionValue::Secret("ipmi".parse().unwrap());
        assert_eq!(values, [("ip", OptionValue::Plain("10.0.0.1")), ("password", secret)]);
    }
}
