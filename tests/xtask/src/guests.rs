//! `cargo xtask guests`: the disks that system tests and demonstrations boot.

use std::error::Error;

/// Makes the Linux disk when it is not there or its recipe has changed; prints its path.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let disk = symphony_lab::linux()?;
    eprintln!("guests: {}", disk.display());
    Ok(())
}
