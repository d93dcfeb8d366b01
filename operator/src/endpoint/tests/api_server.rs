//! An API server for status patches: it keeps objects, and answers as a test tells it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::LIMIT;

/// What the next patch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is stored, and the answer is this status all the same.
    StoreAndSay(u16),
    /// It is not stored, and the answer is this status.
    Say(u16),
    /// It is stored; the answer never comes.
    StoreAndHang,
    /// It is stored when [`ApiServer::go_on`] is called.
    StoreWhenTold,
    /// Another client stores this IPv4 address just before.
    Overtake(&'static str),
}

pub(super) struct ApiServer {
    address: SocketAddr,
    state: Arc<ServerState>,
}

#[derive(Default)]
struct ServerState {
    objects: Mutex<HashMap<String, Value>>,
    script: Mutex<VecDeque<Next>>,
    patches: Mutex<Vec<(String, Value)>>,
    patched: Notify,
    changed: Notify,
    told: Notify,
}

impl ApiServer {
    pub(super) async fn start(tasks: &mut JoinSet<()>) -> Self {
        let state = Arc::new(ServerState::default());
        let app = Router::new().fallback(handle).with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, state }
    }

    pub(super) fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address);
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    pub(super) fn store(&self, name: &str, object: Value) {
        self.state
            .objects
            .lock()
            .unwrap()
            .insert(name.to_owned(), object);
    }

    pub(super) fn stored(&self, name: &str) -> Value {
        self.state.objects.lock().unwrap()[name].clone()
    }

    pub(super) fn delete(&self, name: &str) {
        self.state.objects.lock().unwrap().remove(name);
    }

    /// What the next patches meet, one each; later ones are stored.
    pub(super) fn script(&self, next: &[Next]) {
        self.state.script.lock().unwrap().extend(next);
    }

    /// Path with query, and body, of each patch since the last call.
    pub(super) fn take_patches(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.patches.lock().unwrap())
    }

    /// A copy of a patch that arrives late; the status.
    pub(super) fn apply(&self, name: &str, patch: &Value) -> u16 {
        store(&self.state, name, patch).0.as_u16()
    }

    /// Has one patch that waits be stored.
    pub(super) fn go_on(&self) {
        self.state.told.notify_one();
    }

    /// Waits until an object is as wanted.
    pub(super) async fn until(&self, name: &str, is_wanted: impl Fn(&Value) -> bool) {
        let wanted = async {
            loop {
                let changed = self.state.changed.notified();
                if is_wanted(&self.stored(name)) {
                    return;
                }
                changed.await;
            }
        };
        let wanted = tokio::time::timeout(LIMIT, wanted).await;
        assert!(wanted.is_ok(), "{name} is still {}", self.stored(name));
    }

    /// Waits until a patch has come.
    pub(super) async fn patched(&self) {
        let patched = tokio::time::timeout(LIMIT, self.state.patched.notified());
        assert!(patched.await.is_ok(), "no patch has come");
    }
}

async fn handle(
    State(state): State<Arc<ServerState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let base = "/apis/dynhost.dev/v1alpha1/namespaces/family/dynamichosts/";
    let name = uri.path().strip_prefix(base).unwrap().to_owned();
    if method == Method::GET {
        return match state.objects.lock().unwrap().get(&name) {
            Some(object) => (StatusCode::OK, object.to_string()),
            None => say(404),
        };
    }
    assert_eq!(method, Method::PATCH);
    assert_eq!(headers["content-type"], "application/json-patch+json");
    let name = name.strip_suffix("/status").unwrap();
    let patch: Value = serde_json::from_slice(&body).unwrap();
    state
        .patches
        .lock()
        .unwrap()
        .push((uri.to_string(), patch.clone()));
    state.patched.notify_one();
    let next = state.script.lock().unwrap().pop_front();
    match next {
        None => store(&state, name, &patch),
        Some(Next::StoreAndSay(code)) => {
            store(&state, name, &patch);
            say(code)
        }
        Some(Next::Say(code)) => say(code),
        Some(Next::StoreAndHang) => {
            store(&state, name, &patch);
            std::future::pending().await
        }
        Some(Next::StoreWhenTold) => {
            state.told.notified().await;
            store(&state, name, &patch)
        }
        Some(Next::Overtake(address)) => {
            let now = jiff::Timestamp::now().to_string();
            let value = json!({"address": address, "changedAt": now, "protocol": "dyndns2"});
            let others = json!([{"op": "add", "path": "/status",
                "value": {"observed": {"ipv4": value, "lastSeen": now}}}]);
            store(&state, name, &others);
            store(&state, name, &patch)
        }
    }
}

/// Applies tests and adds as the real one does: a test for null passes where nothing is.
fn store(state: &ServerState, name: &str, patch: &Value) -> (StatusCode, String) {
    let mut objects = state.objects.lock().unwrap();
    let Some(object) = objects.get_mut(name) else {
        return say(404);
    };
    let mut changed = object.clone();
    for operation in patch.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let value = &operation["value"];
        let (parent, key) = path.rsplit_once('/').unwrap();
        let Some(parent) = changed.pointer_mut(parent) else {
            return say(422);
        };
        match operation["op"].as_str().unwrap() {
            "test" if parent.get(key).unwrap_or(&Value::Null) == value => {}
            "test" => return say(422),
            _ => parent[key] = value.clone(),
        }
    }
    let version = &mut changed["metadata"]["resourceVersion"];
    let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
    *version = next.to_string().into();
    *object = changed;
    state.changed.notify_waiters();
    (StatusCode::OK, object.to_string())
}

fn say(code: u16) -> (StatusCode, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": "Test", "message": "as the test says"});
    (StatusCode::from_u16(code).unwrap(), status.to_string())
}
