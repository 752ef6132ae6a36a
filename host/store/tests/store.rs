//! All tests of the store in one binary.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test, also in what tests share"
)]

#[path = "store/conformance.rs"]
mod conformance;
#[path = "store/disk.rs"]
mod disk;
#[path = "store/etcd.rs"]
mod etcd;
#[path = "store/etcd_apart.rs"]
mod etcd_apart;
#[path = "store/etcd_order.rs"]
mod etcd_order;
#[path = "store/etcd_random.rs"]
mod etcd_random;
#[path = "store/etcd_story.rs"]
mod etcd_story;
#[path = "store/etcd_three.rs"]
mod etcd_three;
#[path = "store/file.rs"]
mod file;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/kill.rs"]
mod kill;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/limits.rs"]
mod limits;
#[path = "store/model.rs"]
mod model;
#[path = "store/random.rs"]
mod random;
#[path = "store/watches.rs"]
mod watches;
