//! Reading records: by key, by name or id, and in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use symphony_api::v1::List;
use symphony_api::{Code, PAGE_DEFAULT, PAGE_MAX};
use symphony_core::labels::Labels;
use symphony_core::name::Name;
use symphony_core::record;
use symphony_store::{Keys, Range, Revision, Store};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::failure::{Answer, Failure};

/// Most records that are looked at for one page, when only those with some labels are wanted.
const SCANNED_MAX: usize = 5_000;

/// A record and when it was last written.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

/// Reads a record, if it is there.
pub(crate) async fn load<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Answer<Option<Stored<T>>> {
    let Some(kv) = store.get(&key.into(), None).await? else {
        return Ok(None);
    };
    Ok(Some(Stored {
        value: record::decode(&kv.value)?,
        revision: kv.mod_revision,
    }))
}

/// Reads a record whose key another key tells (from an id to a name).
pub(crate) async fn load_by_id<T: DeserializeOwned>(store: &dyn Store, id_key: &str) -> Answer<Option<Stored<T>>> {
    let Some(kv) = store.get(&id_key.into(), None).await? else {
        return Ok(None);
    };
    match std::str::from_utf8(&kv.value) {
        Ok(key) => load(store, key).await,
        Err(_) => Ok(None),
    }
}

/// What a path's last segment may be.
pub(crate) enum Reference {
    /// A name.
    Name(Name),
    /// An id.
    Id(Uuid),
}

impl Reference {
    /// Reads a reference; none when nothing can be called so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match Uuid::try_parse(text) {
            Ok(id) => Some(Self::Id(id)),
            Err(_) => text.parse().ok().map(Self::Name),
        }
    }
}

/// Reads the project of a path.
pub(crate) fn project(text: &str) -> Answer<Name> {
    text.parse()
        .map_err(|error| Failure::field(Code::InvalidArgument, "project", format!("{error}")))
}

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Most items on the page: 1 to 500, 100 when absent.
    pub(crate) limit: Option<u32>,
    /// From the page before.
    pub(crate) page_token: Option<String>,
    /// Only those with these labels: `a=1,b=2`.
    pub(crate) labels: Option<String>,
}

impl PageQuery {
    fn limit(&self) -> Answer<usize> {
        match self.limit.unwrap_or(PAGE_DEFAULT) {
            limit @ 1..=PAGE_MAX => Ok(limit as usize),
            _ => Err(Failure::field(
                Code::InvalidArgument,
                "limit",
                format!("it must be 1 to {PAGE_MAX}"),
            )),
        }
    }

    pub(crate) fn selector(&self) -> Answer<Labels> {
        let wrong = |error| Failure::field(Code::InvalidArgument, "labels", format!("{error}"));
        self.labels.as_deref().unwrap_or_default().parse().map_err(wrong)
    }

    /// The last part of the key after which the page begins.
    fn after(&self) -> Answer<Option<String>> {
        let Some(token) = &self.page_token else { return Ok(None) };
        let wrong = || {
            Failure::field(
                Code::InvalidArgument,
                "page_token",
                "it is not one that this manager gave",
            )
        };
        let last = URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(wrong)?;
        let good = !last.is_empty() && last.len() <= 64 && last.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if good { Ok(Some(last)) } else { Err(wrong()) }
    }
}

/// In which order a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By key.
    Rising,
    /// By key, the last first.
    Falling,
}

/// Reads a page of the records under a prefix. Pages are by key: what is added or removed between two of them shifts
/// nothing.
pub(crate) async fn page<T: DeserializeOwned>(
    store: &dyn Store,
    prefix: &str,
    query: &PageQuery,
    order: Order,
    wanted: impl Fn(&T) -> bool,
) -> Answer<List<Stored<T>>> {
    let limit = query.limit()?;
    let mut after = query.after()?;
    let mut items = Vec::new();
    let mut scanned = 0;
    loop {
        let answer = store.range(range(prefix, after.as_deref(), order, limit)).await?;
        scanned += answer.kvs.len();
        let count = answer.kvs.len();
        for (position, kv) in answer.kvs.iter().enumerate() {
            after = kv.key.strip_prefix(prefix).map(str::to_owned);
            let value = record::decode(&kv.value)?;
            if wanted(&value) {
                items.push(Stored {
                    value,
                    revision: kv.mod_revision,
                });
            }
            if items.len() == limit {
                let more = answer.more || position + 1 < count;
                return Ok(list(items, after.filter(|_| more), answer.revision));
            }
        }
        if !answer.more || scanned >= SCANNED_MAX {
            return Ok(list(items, after.filter(|_| answer.more), answer.revision));
        }
    }
}

fn range(prefix: &str, after: Option<&str>, order: Order, limit: usize) -> Range {
    let keys = match (after, order) {
        (None, _) => Keys::prefix(prefix),
        (Some(last), Order::Rising) => Keys::prefix(prefix).after(&format!("{prefix}{last}").into()),
        (Some(last), Order::Falling) => Keys::between(prefix, format!("{prefix}{last}")),
    };
    let range = Range::new(keys).limit(limit);
    if order == Order::Falling {
        range.reverse()
    } else {
        range
    }
}

fn list<T>(items: Vec<T>, after: Option<String>, revision: Revision) -> List<T> {
    List {
        items,
        next_page_token: after.map(|last| URL_SAFE_NO_PAD.encode(last)),
        revision: revision.0,
    }
}

/// The same page with its items in another form.
pub(crate) fn map_list<T, U>(list: List<T>, form: impl FnMut(T) -> U) -> List<U> {
    List {
        items: list.items.into_iter().map(form).collect(),
        next_page_token: list.next_page_token,
        revision: list.revision,
    }
}
