//! Watches: one stream per kind, and how long ago each was heard.
//!
//! kube's own watcher hides bookmarks and renewals, and those are what tells a quiet watch from a
//! dead one; so this is a small loop of our own on [`Api::watch`].

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::Resource;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::in_sync::{Moment, Unbroken};
use crate::index::object::{Listed, ObjectKey};

/// A watch is asked to end after this long, so that its renewal shows that the API server is there;
/// and so long where it could not be [confirmed](confirm) the last time.
const RENEW_SECONDS: u32 = 30;
const RENEW_SOON_SECONDS: u32 = 5;

/// How long a streamed list may take: 100,000 objects take a minute, and the most that kube lets us
/// ask for is below 295.
const LIST_SECONDS: u32 = 290;

/// A watch that said nothing for this long is dropped: a half-open connection never says so itself.
const SILENCE: Duration = Duration::from_secs(40);

/// How long the API server may take to answer whether it can read what is stored.
const CONFIRM: Duration = Duration::from_secs(10);

/// Pauses between failed attempts: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Objects a page, where the API server cannot stream the initial list.
const PAGE: u32 = 500;

/// Marks the bookmark behind the last object of a streamed list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch tells.
#[derive(Debug)]
pub enum Told<K> {
    /// The object was listed, created or changed.
    Object(Box<K>),
    /// The object is gone.
    Gone(ObjectKey),
    /// These are all objects that exist.
    Listed(Listed),
}

/// When a watch last heard of what is stored: a list, an object, or a renewal that was confirmed.
#[derive(Debug)]
pub struct Heard {
    start: Instant,
    /// Milliseconds from `start`, plus one; 0 means never.
    at: AtomicU64,
    listed: AtomicBool,
    unbroken: Mutex<Option<Unbroken>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            at: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            unbroken: Mutex::default(),
        }
    }
}

impl Heard {
    fn now(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.at.store(millis + 1, Ordering::Relaxed);
        let mut unbroken = self.unbroken.lock().unwrap_or_else(PoisonError::into_inner);
        *unbroken = Some(Unbroken::heard(*unbroken, this_moment()));
    }

    fn forget(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// A list that has to begin anew is no silence: whoever says so is there.
    fn silence(&self) -> Duration {
        let unbroken = self.unbroken.lock().unwrap_or_else(PoisonError::into_inner);
        match *unbroken {
            Some(unbroken) => unbroken.last().elapsed(),
            None => self.start.elapsed(),
        }
    }

    fn age(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(
            self.start
                .elapsed()
                .saturating_sub(Duration::from_millis(at)),
        )
    }
}

fn this_moment() -> Moment {
    Moment {
        steady: std::time::Instant::now(),
        wall: Timestamp::now(),
    }
}

/// How fresh the index is.
#[derive(Debug, Default)]
pub struct Freshness {
    pub hosts: Heard,
    pub zones: Heard,
    pub keys: Heard,
    pub namespaces: Heard,
}

impl Freshness {
    /// Whether every watch has listed its objects once.
    pub fn is_synced(&self) -> bool {
        [&self.hosts, &self.zones, &self.keys, &self.namespaces]
            .iter()
            .all(|heard| heard.listed.load(Ordering::Acquire))
    }

    /// Whether the hosts' watch heard from the API server within this time.
    pub fn heard_within(&self, limit: Duration) -> bool {
        self.hosts.age().is_some_and(|age| age <= limit)
    }

    /// For how long every watch has known its objects and was heard without a gap; `None`: one does
    /// not now.
    pub fn in_sync_for(&self) -> Option<Duration> {
        let now = this_moment();
        let lasts = |heard: &Heard| {
            heard.age()?;
            let unbroken = heard.unbroken.lock();
            (*unbroken.unwrap_or_else(PoisonError::into_inner))?.lasts(now)
        };
        let all = [&self.hosts, &self.zones, &self.keys, &self.namespaces];
        let all: Option<Vec<_>> = all.into_iter().map(lasts).collect();
        all?.into_iter().min()
    }

    /// For how long each watch was not heard, by its objects; from the start where it never was.
    pub fn silences(&self) -> Vec<(&'static str, Duration)> {
        let all = [
            ("hosts", &self.hosts),
            ("zones", &self.zones),
            ("update_keys", &self.keys),
            ("namespaces", &self.namespaces),
        ];
        all.map(|(kind, heard)| (kind, heard.silence())).to_vec()
    }

    /// As if every watch had just listed its objects.
    #[cfg(test)]
    pub(crate) fn just_synced() -> Self {
        let freshness = Self::default();
        for heard in [
            &freshness.hosts,
            &freshness.zones,
            &freshness.keys,
            &freshness.namespaces,
        ] {
            heard.now();
            heard.listed.store(true, Ordering::Release);
        }
        freshness
    }
}

/// Watches one kind for ever and tells what it hears.
pub async fn watch<K>(
    api: Api<K>,
    fields: Option<&str>,
    heard: &Heard,
    mut tell: impl FnMut(Told<K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut streaming = true;
    let mut pause = BACKOFF.0;
    let mut place = Place::default();
    loop {
        let ended = follow(&api, fields, heard, &mut tell, streaming, &mut place).await;
        match ended {
            Ok(()) => {
                pause = BACKOFF.0;
                continue;
            }
            Err(Interrupted::Expired) => {
                let kind = std::any::type_name::<K>();
                tracing::info!(kind, "the API server does not go on from here: listed anew");
                // What was missed is not known before the next list is whole.
                heard.forget();
                place.version = None;
            }
            Err(Interrupted::CannotStream) if streaming => {
                (streaming, place.version) = (false, None);
                continue;
            }
            Err(Interrupted::CannotStream) => place.version = None,
            Err(Interrupted::CutShort) => {
                let kind = std::any::type_name::<K>();
                tracing::warn!(
                    kind,
                    "a streamed list ended before it was whole: listed by pages"
                );
                heard.forget();
                streaming = false;
            }
            Err(Interrupted::Unconfirmed(error)) => {
                let kind = std::any::type_name::<K>();
                tracing::warn!(kind, %error, "the API server watches, but cannot read what is stored");
                place.is_unconfirmed = true;
            }
            Err(Interrupted::Failed(error)) => {
                tracing::warn!(kind = std::any::type_name::<K>(), %error, "watch interrupted");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Why a watch has to start again, other than by an ordinary renewal.
enum Interrupted {
    /// The API server has forgotten the version: list again.
    Expired,
    /// The API server refuses to stream the initial list (Kubernetes 1.33 has it switched off).
    CannotStream,
    /// The streamed list ended before it was whole, and the next would as well.
    CutShort,
    /// The API server may be without its store.
    Unconfirmed(kube::Error),
    Failed(kube::Error),
}

/// Where a watch goes on.
#[derive(Default)]
struct Place {
    /// After this version; where there is none the objects are listed first.
    version: Option<String>,
    /// The last renewal was not confirmed.
    is_unconfirmed: bool,
}

async fn list<K>(
    api: &Api<K>,
    fields: Option<&str>,
    heard: &Heard,
    tell: &mut impl FnMut(Told<K>),
) -> Result<String, Interrupted>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields.map(str::to_owned);
    let mut listed = Listed::default();
    loop {
        let page = limited(api.list(&params)).await?;
        for object in page.items {
            listed.insert(&key_of(&object));
            tell(Told::Object(Box::new(object)));
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            tell(Told::Listed(listed));
            heard.now();
            heard.listed.store(true, Ordering::Release);
            return Ok(page.metadata.resource_version.unwrap_or_default());
        }
    }
}

/// Finds out whether the API server can read what is stored. That it watches does not show it: without
/// etcd it goes on from its cache, with bookmarks and renewals, for as long as that lasts. A list of
/// no version is answered with the most recent one, for which etcd is asked ("resource versions" in
/// the Kubernetes API concepts).
async fn confirm<K>(api: &Api<K>, fields: Option<&str>) -> Result<(), Interrupted>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().limit(1);
    params.field_selector = fields.map(str::to_owned);
    match tokio::time::timeout(CONFIRM, api.list_metadata(&params)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Interrupted::Unconfirmed(error)),
        Err(elapsed) => Err(Interrupted::Unconfirmed(kube::Error::Service(
            elapsed.into(),
        ))),
    }
}

/// Follows one watch request to its end, or to that of the list.
async fn follow<K>(
    api: &Api<K>,
    fields: Option<&str>,
    heard: &Heard,
    tell: &mut impl FnMut(Told<K>),
    streaming: bool,
    place: &mut Place,
) -> Result<(), Interrupted>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let renew = match place.is_unconfirmed {
        true => RENEW_SOON_SECONDS,
        false => RENEW_SECONDS,
    };
    let mut params = WatchParams::default().timeout(renew);
    params.field_selector = fields.map(str::to_owned);
    let mut listed = None;
    if place.version.is_none() && streaming {
        params = params.initial_events().timeout(LIST_SECONDS);
        listed = Some(Listed::default());
    } else if place.version.is_none() {
        let version = list(api, fields, heard, tell).await?;
        place.version = Some(version);
    }
    // Without a version the API server streams a consistent list, never an old one from its cache.
    let from = place.version.clone().unwrap_or_default();
    let mut stream = limited(api.watch(&params, &from)).await?.boxed();
    loop {
        let Some(event) = limited(stream.try_next()).await? else {
            return match listed {
                Some(_) => Err(Interrupted::CutShort),
                None => {
                    confirm(api, fields).await?;
                    place.is_unconfirmed = false;
                    heard.now();
                    Ok(())
                }
            };
        };
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                match &mut listed {
                    Some(listed) => listed.insert(&key_of(&object)),
                    None => place.version.clone_from(&object.meta().resource_version),
                }
                tell(Told::Object(Box::new(object)));
            }
            WatchEvent::Deleted(object) => {
                let key = key_of(&object);
                match &mut listed {
                    Some(listed) => listed.remove(&key),
                    None => place.version.clone_from(&object.meta().resource_version),
                }
                tell(Told::Gone(key));
            }
            WatchEvent::Bookmark(bookmark) => {
                let annotations = &bookmark.metadata.annotations;
                let is_end = annotations.contains_key(INITIAL_EVENTS_END);
                if let Some(listed) = listed.take_if(|_| is_end) {
                    place.version = Some(bookmark.metadata.resource_version);
                    tell(Told::Listed(listed));
                    heard.now();
                    heard.listed.store(true, Ordering::Release);
                    // What follows is renewed more often.
                    return Ok(());
                }
                if listed.is_none() {
                    place.version = Some(bookmark.metadata.resource_version);
                }
                continue;
            }
            WatchEvent::Error(status) => return Err(status_error(status)),
        }
        // Opening a watch shows nothing yet: it may say at once that the version is forgotten.
        if listed.is_none() {
            heard.now();
        }
    }
}

/// Waits for the API server's next word, but not for ever.
async fn limited<T>(
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Interrupted> {
    match tokio::time::timeout(SILENCE, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(status_error(status)),
        Ok(Err(error)) => Err(Interrupted::Failed(error)),
        Err(elapsed) => Err(Interrupted::Failed(kube::Error::Service(elapsed.into()))),
    }
}

fn status_error(status: Box<kube::core::Status>) -> Interrupted {
    match status.code {
        410 | 504 => Interrupted::Expired,
        400 | 422 => Interrupted::CannotStream,
        _ => Interrupted::Failed(kube::Error::Api(status)),
    }
}

fn key_of(object: &impl Resource) -> ObjectKey {
    let meta = object.meta();
    ObjectKey::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::sync::Arc;

    use bytes::Bytes;
    use dynhost_crds::host::DynamicHost;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use tokio::sync::mpsc;

    use super::*;

    /// The queries of a watch whose first requests are answered so, and the next one not at all.
    async fn queries(answers: &'static [&'static str]) -> Vec<String> {
        let (sender, mut asked) = mpsc::unbounded_channel();
        let rest = Arc::new(Mutex::new(answers.iter()));
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            sender.send(query).unwrap();
            let answer = rest.lock().unwrap().next();
            async move {
                match answer {
                    Some(text) => Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(*text))),
                    None => pending().await,
                }
            }
        });
        let api: Api<DynamicHost> = Api::all(kube::Client::new(service, "default"));
        let heard = Heard::default();
        let all = async {
            let mut queries = Vec::new();
            while queries.len() <= answers.len() {
                queries.extend(asked.recv().await);
            }
            queries
        };
        tokio::select! {
            queries = all => queries,
            () = watch(api, None, &heard, |_| {}) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_list_has_minutes_and_what_follows_is_renewed_soon() {
        async fn check(answers: &'static [&'static str], expected: &[&[&str]]) {
            let queries = queries(answers).await;
            assert_eq!(queries.len(), expected.len(), "{queries:?}");
            for (query, expected) in queries.iter().zip(expected) {
                let parts: Vec<_> = query.split('&').collect();
                let found = expected.iter().all(|part| parts.contains(part));
                assert!(found, "{query} for {expected:?}");
                let streams = expected.contains(&"sendInitialEvents=true");
                assert_eq!(query.contains("sendInitialEvents"), streams, "{query}");
            }
        }
        let streamed: &[&str] = &["sendInitialEvents=true", "timeoutSeconds=290"];
        let end = r#"{"type": "BOOKMARK", "object": {"apiVersion": "dynhost.dev/v1alpha1",
            "kind": "DynamicHost", "metadata": {"resourceVersion": "7",
            "annotations": {"k8s.io/initial-events-end": "true"}}}}"#;
        let end: &'static str = end.replace('\n', " ").leak();
        let renewed: &[&str] = &["resourceVersion=7", "timeoutSeconds=30"];
        check(vec![end].leak(), &[streamed, renewed]).await;
        // Its end is confirmed; where it cannot be, the next one is shorter.
        let list = r#"{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": "8"}, "items": []}"#;
        let confirmed: &[&str] = &["limit=1"];
        let expected = [streamed, renewed, confirmed, renewed];
        check(vec![end, "", list].leak(), &expected).await;
        let renewed_soon: &[&str] = &["resourceVersion=7", "timeoutSeconds=5"];
        let expected = [
            streamed,
            renewed,
            confirmed,
            renewed_soon,
            confirmed,
            renewed,
        ];
        check(vec![end, "", "no list", "", list].leak(), &expected).await;
        // It ends too soon.
        let list = r#"{"apiVersion": "dynhost.dev/v1alpha1", "kind": "DynamicHostList",
            "metadata": {"resourceVersion": "9"}, "items": []}"#;
        let renewed: &[&str] = &["resourceVersion=9", "timeoutSeconds=30"];
        check(vec!["", list].leak(), &[streamed, &["limit=500"], renewed]).await;
    }

    #[test]
    fn we_are_in_sync_while_every_watch_is_heard() {
        assert_eq!(Freshness::default().in_sync_for(), None);
        let freshness = Freshness::just_synced();
        assert!(freshness.in_sync_for().is_some());
        // A list is not whole.
        freshness.keys.forget();
        assert_eq!(freshness.in_sync_for(), None);
        freshness.keys.now();
        assert!(freshness.in_sync_for().is_some());
        let never_listed = Freshness {
            namespaces: Heard::default(),
            ..freshness
        };
        assert_eq!(never_listed.in_sync_for(), None);
    }
}
