//! The store in etcd, from what the command line says of it.

use std::sync::Arc;

use symphony_cli::Failure;
use symphony_store::Store;

use crate::args::EtcdArgs;

impl EtcdArgs {
    /// Whether the state is to be in etcd.
    pub(crate) fn is_given(&self) -> bool {
        !self.etcd.is_empty()
    }

    pub(crate) async fn connect(&self) -> Result<Arc<dyn Store>, Failure> {
        Err(Failure::new("TODO"))
    }
}
