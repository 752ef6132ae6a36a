//! Kernel modules with all that they need, in the order in which they are to be loaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::Packages;
use crate::run::{self, Error, run};

/// Modules, those needed first.
pub(super) struct Modules {
    files: Vec<PathBuf>,
}

impl Modules {
    /// Finds these modules; one that is built into the kernel needs no file.
    pub(super) fn find(packages: &Packages, names: &[&str]) -> Result<Self, Error> {
        let index = packages
            .dir
            .join("lib/modules")
            .join(&packages.version)
            .join("modules.dep.bin");
        if !index.is_file() {
            run(tool("depmod").arg("-b").arg(&packages.dir).arg(&packages.version))?;
        }
        let mut files = Vec::new();
        for name in names {
            let mut ask = tool("modprobe");
            ask.arg("-d")
                .arg(&packages.dir)
                .args(["-S", &packages.version, "--show-depends", name]);
            for line in run(&mut ask)?.lines() {
                let path = line.strip_prefix("insmod ").map(|path| PathBuf::from(path.trim()));
                files.extend(path.filter(|path| !files.contains(path)));
            }
        }
        Ok(Self { files })
    }

    /// Only those that are not among others.
    pub(super) fn without(mut self, others: &Self) -> Self {
        self.files.retain(|file| !others.files.contains(file));
        self
    }

    /// Their names and contents, and a file `order` with the names, a line each.
    pub(super) fn contents(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let order: String = self.files.iter().map(|path| name(path) + "\n").collect();
        let mut contents = vec![("order".to_owned(), order.into_bytes())];
        for path in &self.files {
            contents.push((name(path), run::read(path)?));
        }
        Ok(contents)
    }
}

/// A program of the administrator's, whose folder is not on everyone's path.
pub(super) fn tool(name: &str) -> Command {
    let path = ["/usr/sbin", "/sbin", "/usr/bin"].map(|dir| Path::new(dir).join(name));
    let found = path.into_iter().find(|path| path.is_file());
    Command::new(found.unwrap_or_else(|| name.into()))
}
