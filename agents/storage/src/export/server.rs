//! The server of one volume: a qemu-storage-daemon that takes QEMU's lock on the file, listens on a socket that it is given,
//! and speaks with nobody who does not prove by TLS (PSK) that he knows the key of this generation.
//!
//! Here is how it is called and what is seen of it; when, is said elsewhere.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use symphony_agent::StepError;
use symphony_core::export::ExportKey;

use super::state::Serving;

/// What serves.
pub(super) const PROGRAM: &str = "qemu-storage-daemon";
/// It opens a file and a socket: a node that is busy with everything else does that within this time.
pub(super) const UP: Duration = Duration::from_secs(60);
/// Where gnutls looks for it, in a folder that QEMU is told.
const KEY_FILE: &str = "keys.psk";
/// As the kernel writes it.
const ESTABLISHED: &str = "01";

/// What all servers of one volume have on their command line, and no other process.
pub(super) fn mark(folder: &Path) -> String {
    format!("--pidfile={}", folder.join("pid").display())
}

/// The whole command line. Another one is another server.
pub(super) fn words(folder: &Path, file: &Path, serving: &Serving, port: u16) -> Vec<String> {
    let settings = &serving.settings;
    let direct = if serving.direct { "on" } else { "off" };
    let (file, keys) = (escaped(file), escaped(&keys(folder)));
    vec![
        PROGRAM.to_owned(),
        "--daemonize".to_owned(),
        mark(folder),
        format!("--object=tls-creds-psk,id=tls,endpoint=server,dir={keys}"),
        format!("--blockdev=driver=file,node-name=file,filename={file},cache.direct={direct},discard=unmap,locking=on"),
        "--blockdev=driver=raw,node-name=volume,file=file,discard=unmap".to_owned(),
        "--nbd-server=addr.type=fd,addr.str=3,tls-creds=tls".to_owned(),
        format!(
            "--export=type=nbd,id=export,node-name=volume,writable=on,name={},description=for {} at {} {port}",
            settings.name, settings.client, settings.listen
        ),
    ]
}

/// QEMU takes a comma that is doubled as one.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn keys(folder: &Path) -> std::path::PathBuf {
    folder.join("keys")
}

/// Whether the file can be read and written past the page cache.
pub(super) fn is_direct(file: &Path) -> Result<bool, StepError> {
    let what = || StepError::io("open the volume");
    OpenOptions::new().read(true).write(true).open(file).map_err(what())?;
    let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(direct)
        .open(file);
    Ok(opened.is_ok())
}

/// Puts the key where the server reads it at every handshake. It is the only one there.
pub(super) fn write_key(folder: &Path, client: &str, key: &ExportKey) -> Result<(), StepError> {
    let what = || StepError::io("write the export's key");
    let keys = keys(folder);
    match DirBuilder::new().mode(0o700).create(&keys) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(what()(error)),
        _ => {}
    }
    let new = keys.join("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(what())?;
    writeln!(file, "{client}:{}", key.reveal()).map_err(what())?;
    fs::rename(new, keys.join(KEY_FILE)).map_err(what())
}

pub(super) fn forget_key(folder: &Path) -> Result<(), StepError> {
    match fs::remove_dir_all(keys(folder)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StepError::io("remove the export's key")(error)),
        _ => Ok(()),
    }
}

/// Whether somebody is connected to this port of ours.
pub(super) fn is_connected(port: u16) -> io::Result<bool> {
    let mut connected = connections(&fs::read_to_string("/proc/self/net/tcp")?, port);
    // Without IPv6 there is no such file.
    if let Ok(table) = fs::read_to_string("/proc/self/net/tcp6") {
        connected |= connections(&table, port);
    }
    Ok(connected)
}

/// Lines like `  0: 0100007F:9119 0100007F:D0E4 01 …`, after one of headings.
fn connections(table: &str, port: u16) -> bool {
    let own = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(&own)) && state == Some(ESTABLISHED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:9119 00000000:0000 0A 0\n\
                     1: 0100007F:9120 0100007F:D0E4 01 0\n";
        assert!(connections(table, 0x9120));
        assert!(!connections(table, 0x9119), "somebody listens, nobody is there");
        assert!(!connections(table, 0xD0E4), "the other end");
        assert!(!connections("", 1));
    }
}
