//! Whether hosts are being deleted because all around them is: their namespace, or their kind.
//!
//! The watches cannot tell in time: that of the hosts may be ahead of that of the namespaces. So the
//! API server is asked, at most once a second for all hosts that have been seen by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dynhost_crds::host::DynamicHost;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use kube::api::{Api, ListParams};

use super::guard::Cause;
use crate::deadline::{CALL, within};
use crate::index::object::ObjectKey;

/// The shortest time between two questions about one object.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers that nobody has asked for so long are forgotten.
const KEPT: Duration = Duration::from_secs(60);

/// What the API server has said, and which hosts wait for it to say more.
#[derive(Debug, Default)]
pub(super) struct Terminations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when a host is known to be deleted, until it is known why.
    seen: HashMap<ObjectKey, Instant>,
    asked: HashMap<Surrounding, Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Surrounding {
    Namespace(Arc<str>),
    Definition,
}

#[derive(Debug)]
struct Asked {
    last: Instant,
    /// When the last question was asked that was answered, and whether the object is being deleted.
    answer: Option<(Instant, bool)>,
}

impl Terminations {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a host is being deleted, where it is not for its own sake; or how long it has to wait
    /// for the answer.
    pub(super) async fn cause(
        &self,
        client: &kube::Client,
        host: &ObjectKey,
    ) -> Result<Option<Cause>, Duration> {
        let seen = *self
            .state()
            .seen
            .entry(host.clone())
            .or_insert_with(Instant::now);
        let namespace = Surrounding::Namespace(host.namespace.clone());
        let (namespace, definition) = tokio::join!(
            self.is_terminating(client, namespace, seen),
            self.is_terminating(client, Surrounding::Definition, seen)
        );
        let cause = match (namespace, definition) {
            (Ok(true), _) => Some(Cause::Namespace),
            (_, Ok(true)) => Some(Cause::Definition),
            (Ok(false), Ok(false)) => None,
            (Err(wait), _) | (_, Err(wait)) => return Err(wait),
        };
        self.forget(host);
        Ok(cause)
    }

    /// The host is gone.
    pub(super) fn forget(&self, host: &ObjectKey) {
        self.state().seen.remove(host);
    }

    /// As of a question that was asked after `seen`; or how long to wait for one.
    async fn is_terminating(
        &self,
        client: &kube::Client,
        what: Surrounding,
        seen: Instant,
    ) -> Result<bool, Duration> {
        let now = Instant::now();
        {
            let mut state = self.state();
            if let Some(asked) = state.asked.get(&what) {
                // What is being deleted stays so.
                if let Some((at, answer)) = asked.answer
                    && (answer || at >= seen)
                {
                    return Ok(answer);
                }
                let wait = (asked.last + PAUSE).saturating_duration_since(now);
                if !wait.is_zero() {
                    return Err(wait);
                }
            }
            state.asked.retain(|_, asked| asked.last + KEPT > now);
            let asked = state.asked.entry(what.clone()).or_insert(Asked {
                last: now,
                answer: None,
            });
            asked.last = now;
        }
        match within(CALL, ask(client, &what)).await {
            Ok(answer) => {
                if let Some(asked) = self.state().asked.get_mut(&what) {
                    asked.answer = Some((now, answer));
                }
                Ok(answer)
            }
            Err(error) => {
                tracing::warn!(?what, %error, "it is not known whether it is being deleted");
                Err(PAUSE)
            }
        }
    }
}

async fn ask(client: &kube::Client, what: &Surrounding) -> Result<bool, kube::Error> {
    match what {
        // A list of one: the right to list is needed anyway, that to get is not.
        Surrounding::Namespace(name) => {
            let one = ListParams::default().fields(&format!("metadata.name={name}"));
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let namespaces = namespaces.list_metadata(&one).await?.items;
            let mut namespaces = namespaces.iter();
            Ok(namespaces.all(|n| n.metadata.deletion_timestamp.is_some()))
        }
        Surrounding::Definition => {
            let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
            match definitions.get_metadata(DynamicHost::crd_name()).await {
                Ok(definition) => Ok(definition.metadata.deletion_timestamp.is_some()),
                // Without the right to know it, a mass deletion that comes this way is not seen.
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
                Err(error) => Err(error),
            }
        }
    }
}
