//! What a manager has from one start to the next: its store, its name, its own token.

use std::sync::Arc;

use symphony_cli::Failure;
use symphony_control::members::Members;
use symphony_core::name::Name;
use symphony_core::token::ApiRole;
use symphony_store::{Embedded, Store};

use crate::args::EtcdArgs;
use crate::folder::{Folder, write_private};

/// The name of a manager that is alone.
const ALONE: &str = "manager";
/// Most bytes of this server's name in a manager's.
const HOST_BYTES_MAX: usize = 40;

/// Opens the store: etcd when it is given, else the one in the folder.
pub(crate) async fn open(folder: &Folder, etcd: &EtcdArgs) -> Result<Arc<dyn Store>, Failure> {
    if etcd.is_given() {
        return etcd.connect().await;
    }
    let path = folder.join("store.redb");
    let store = Embedded::open(&path, symphony_store::Options::default())
        .await
        .map_err(|error| Failure::caused(format!("could not open the store {}", path.display()), &error))?;
    Ok(Arc::new(store))
}

/// The manager's name: as it was, as it is told at its first start, or made up of this server's.
pub(super) fn name(folder: &Folder, told: Option<&Name>, alone: bool) -> Result<Name, Failure> {
    let path = folder.join("name");
    let failed = |error: &dyn std::error::Error| Failure::caused(format!("could not use {}", path.display()), error);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let kept: Name = text.trim().parse().map_err(|error| failed(&error))?;
            if told.is_some_and(|told| *told != kept) {
                return Err(
                    Failure::usage(format!("this manager is called {kept} already")).hint(format!(
                        "leave --name away, or give it a folder of its own ({} has its name)",
                        path.display()
                    )),
                );
            }
            return Ok(kept);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let name = match told {
        Some(told) => told.clone(),
        None if alone => ALONE.parse().map_err(|error| failed(&error))?,
        None => made_up(&rustix::system::uname().nodename().to_string_lossy())
            .parse()
            .map_err(|error| failed(&error))?,
    };
    write_private(&path, &format!("{name}\n")).map_err(|error| failed(&error))?;
    Ok(name)
}

/// Several managers may be on one server, so its name is not enough.
fn made_up(host: &str) -> String {
    let host: String = host
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(HOST_BYTES_MAX)
        .collect();
    let host = host.trim_matches('-');
    let host = if host.is_empty() { "manager" } else { host };
    let random = uuid::Uuid::now_v7().simple().to_string();
    format!("{host}-{}", &random[random.len() - 4..])
}

/// The token of the manager's own `client.toml`: an administrator's, on record in the store. One that was revoked is not made
/// anew by itself: the file goes, and then the next start makes one.
pub(super) async fn client_token(folder: &Folder, members: &Members, name: &Name) -> Result<String, Failure> {
    let path = folder.join("api.token");
    let failed =
        |error: &dyn std::error::Error| Failure::caused(format!("could not read or make {}", path.display()), error);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    let token = members
        .mint_api(&format!("manager {name}"), ApiRole::Admin)
        .await
        .map_err(|error| Failure::caused("could not make this manager's token", &error))?;
    let text = token.to_string();
    write_private(&path, &format!("{text}\n")).map_err(|error| failed(&error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_made_up_is_one() {
        for host in ["srv01.example.org", "UPPER_case", "-", "", &"x".repeat(200)] {
            let name: Name = made_up(host).parse().unwrap();
            assert_ne!(made_up(host), name.as_str(), "two on one server differ");
        }
    }

    #[test]
    fn a_name_stays() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let told: Name = "m1".parse().unwrap();
        assert_eq!(name(&folder, Some(&told), false).unwrap(), told);
        assert_eq!(name(&folder, None, false).unwrap(), told);
        assert!(name(&folder, Some(&"m2".parse().unwrap()), false).is_err());
    }
}
