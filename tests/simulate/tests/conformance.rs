//! The simulated store keeps the contract of a store.

use std::sync::Arc;

use symphony_simulate::store::SimStore;
use symphony_store::Store;
use symphony_store::conformance::{PassTime, run_all};

#[tokio::test(start_paused = true)]
async fn the_simulated_store_conforms() {
    run_all(|| async {
        let store: Arc<dyn Store> = Arc::new(SimStore::new());
        let pass: PassTime = Arc::new(|time| Box::pin(tokio::time::sleep(time)));
        (store, pass)
    })
    .await;
}
