//! The managers that a client knows, which of them it asks, and how long it goes on asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;

use super::{ClientError, parse_address};

/// Most addresses that are taken.
const ADDRESSES_MAX: usize = 16;

/// Who is told that a request takes long, and why.
pub(super) type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a request that may be repeated is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// While it may pass: no leader, no store, none of several managers. A failover takes six seconds.
    pub(super) long: Duration,
    /// While the only manager does not answer at all, or has too much to do.
    pub(super) short: Duration,
    /// After this long somebody is told.
    pub(super) notice: Duration,
}

impl Patience {
    /// Of one that asks about one manager alone.
    pub(super) const SHORT: Self = Self {
        long: Duration::from_millis(1300),
        short: Duration::from_millis(1300),
        notice: Duration::from_secs(2),
    };
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            long: Duration::from_secs(15),
            ..Self::SHORT
        }
    }
}

/// One or more addresses of managers of one cluster, and the one that is asked now. All clones of a client share it.
#[derive(Debug)]
pub(super) struct Managers {
    addresses: Vec<(Box<str>, Url)>,
    present: AtomicUsize,
}

impl Managers {
    /// Reads addresses with commas between.
    pub(super) fn parse(addresses: &str) -> Result<Self, ClientError> {
        let all = addresses
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        let known = |address: &str| Ok((address.trim_end_matches('/').into(), parse_address(address)?));
        let all = all.map(known).collect::<Result<Vec<_>, ClientError>>()?;
        if all.is_empty() || all.len() > ADDRESSES_MAX {
            return Err(ClientError::Address(addresses.to_owned()));
        }
        Ok(Self {
            addresses: all,
            present: AtomicUsize::new(0),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The first that is spoken to over TLS.
    pub(super) fn first_over_tls(&self) -> Option<&str> {
        let mut all = self.addresses.iter();
        all.find(|(_, url)| url.scheme() == "https")
            .map(|(address, _)| &**address)
    }

    /// Whether any is so.
    pub(super) fn any(&self, is_so: impl Fn(&Url) -> bool) -> bool {
        self.addresses.iter().any(|(_, url)| is_so(url))
    }

    /// The one that is asked now: its number, and its address.
    pub(super) fn present(&self) -> (usize, &str) {
        let number = self.present.load(Ordering::Relaxed) % self.addresses.len();
        (number, &self.addresses[number].0)
    }

    /// Asks the next one from now on, when it is still `number` that is asked: of many requests that find it gone at the
    /// same time one goes on.
    pub(super) fn leave(&self, number: usize) {
        let next = (number + 1) % self.addresses.len();
        _ = self
            .present
            .compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The same path at the manager that is asked now, and its number.
    pub(super) fn at_present(&self, url: &Url) -> (usize, Url) {
        let (number, _) = self.present();
        let mut there = self.addresses[number].1.clone();
        there.set_path(url.path());
        there.set_query(url.query());
        (number, there)
    }
}
