//! Hosts at the API server: one patch of a status, sent once, and one read.

use std::sync::Arc;
use std::time::Duration;

use dynhost_crds::ENDPOINT_FIELD_MANAGER;
use dynhost_crds::host::DynamicHost;
use kube::api::{Api, Patch, PatchParams};

use crate::deadline::within;
use crate::index::Index;
use crate::index::host::Host;

/// How long one call of the API server may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What the API server says enters the index at once.
#[derive(Clone)]
pub(super) struct HostApi {
    client: kube::Client,
    index: Arc<Index>,
}

impl HostApi {
    pub(super) fn new(client: kube::Client, index: Arc<Index>) -> Self {
        Self { client, index }
    }

    pub(super) async fn store(
        &self,
        host: &Host,
        patch: json_patch::Patch,
    ) -> Result<(), kube::Error> {
        let params = PatchParams {
            field_manager: Some(ENDPOINT_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Json::<()>(patch);
        let api = self.api(host);
        let patched = api.patch_status(&host.meta.key.name, &params, &patch);
        self.learn(&within(CALL_LIMIT, patched).await?);
        Ok(())
    }

    /// The host as it is now, which is newer than the index; `None`: it is gone.
    pub(super) async fn read(&self, host: &Host) -> Result<Option<Host>, kube::Error> {
        let api = self.api(host);
        match within(CALL_LIMIT, api.get(&host.meta.key.name)).await {
            Ok(object) => Ok(self.learn(&object)),
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn learn(&self, object: &DynamicHost) -> Option<Host> {
        let host = Host::from_object(object)?;
        self.index.apply_host_reply(host.clone());
        Some(host)
    }

    fn api(&self, host: &Host) -> Api<DynamicHost> {
        Api::namespaced(self.client.clone(), &host.meta.key.namespace)
    }
}

/// The HTTP status where the API server answered.
pub(super) fn status_of(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
