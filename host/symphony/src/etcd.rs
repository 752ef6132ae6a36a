//! The store in etcd, from what the command line says of it.

use std::path::Path;
use std::sync::Arc;

use symphony_cli::Failure;
use symphony_store::{Etcd, EtcdOptions, EtcdTls, Secret, Store};

use crate::args::EtcdArgs;

impl EtcdArgs {
    /// Whether the state is to be in etcd.
    pub(crate) fn is_given(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// Reaches the cluster.
    ///
    /// # Errors
    /// A file can't be read, or the cluster can't be used: what to do about it.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Store>, Failure> {
        let options = self.options()?;
        let etcd = Etcd::connect(options).await.map_err(|error| {
            let failure = Failure::caused(format!("could not use etcd at {}", self.etcd.join(", ")), &error);
            match error {
                symphony_store::Error::Unavailable { .. } => failure.hint(
                    "is it running, and do most of its members reach one another? `etcdctl endpoint health` says so",
                ),
                _ => failure,
            }
        })?;
        Ok(Arc::new(etcd))
    }

    fn options(&self) -> Result<EtcdOptions, Failure> {
        let mut options = EtcdOptions::new(self.etcd.iter().cloned());
        if let (Some(user), Some(file)) = (&self.etcd_user, &self.etcd_password_file) {
            let password = String::from_utf8_lossy(&read(file)?)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            options.user = Some((user.clone(), Secret::new(password)));
        }
        let identity = match (&self.etcd_cert, &self.etcd_key) {
            (Some(cert), Some(key)) => {
                let key = String::from_utf8_lossy(&read(key)?).into_owned();
                Some((read(cert)?, Secret::new(key)))
            }
            _ => None,
        };
        if let Some(ca) = &self.etcd_ca {
            options.tls = Some(EtcdTls {
                ca: read(ca)?,
                identity,
                domain: None,
            });
        } else if identity.is_some() {
            return Err(Failure::usage(
                "--etcd-cert needs --etcd-ca: whom etcd's own certificates are signed by",
            ));
        }
        Ok(options)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::caused(format!("could not read {}", path.display()), &error))
}
