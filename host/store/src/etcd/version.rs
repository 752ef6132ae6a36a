//! Which etcd is good enough: what older ones lose is said once, at the first connection to each member.

/// The oldest etcd without known losses of watch events and leases: 3.5.28, and 3.6.9 of the next series.
const GOOD: [(u64, u64, u64); 2] = [(3, 5, 28), (3, 6, 9)];

fn parse(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.split(['.', '-', '+']).map(str::parse);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

/// Whether a version of etcd is older than 3.5.28 (3.6.9 of the next series) and so known to lose watch events and leases
/// in rare cases. One that can't be read is not.
pub fn is_old(version: &str) -> bool {
    let Some(version) = parse(version) else {
        return false;
    };
    let series = |good: &(u64, u64, u64)| (good.0, good.1) == (version.0, version.1);
    match GOOD.iter().find(|good| series(good)) {
        Some(good) => version < *good,
        None => version < GOOD[0],
    }
}

pub(super) fn warn_if_old(endpoint: &str, version: &str) {
    if is_old(version) {
        tracing::warn!(
            endpoint,
            version,
            "this etcd is older than 3.5.28 or 3.6.9 and is known to lose watch events and leases in rare cases: upgrade it"
        );
    }
}
