//! Whether a file system shares blocks between files: asked once, by trying.

use std::io::{self, Write as _};

use symphony_agent::folder::Folder;

const FROM: &str = "probe-from";
const TO: &str = "probe-to";

pub(super) fn probe(folder: &Folder) -> io::Result<bool> {
    let from = folder.recreate(FROM);
    let result = from.and_then(|mut from| {
        from.write_all(&[1; 4096])?;
        let to = folder.recreate(TO)?;
        Ok(rustix::fs::ioctl_ficlone(&to, &from).is_ok())
    });
    for file in [FROM, TO] {
        folder.remove(file)?;
    }
    result
}
