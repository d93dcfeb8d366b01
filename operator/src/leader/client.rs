//! A client of the API server for who may write for a time only.

use std::sync::Arc;

use http::Request;
use kube::client::Body;
use tower::{BoxError, service_fn};

use super::fence::Fence;

/// The same client, but that through it nothing is changed when the fence is closed.
pub fn fenced(client: &kube::Client, fence: Arc<Fence>) -> kube::Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let service = service_fn(move |request: Request<Body>| {
        let (client, fence) = (client.clone(), fence.clone());
        async move {
            if !request.method().is_safe() {
                fence.check()?;
            }
            Ok::<_, BoxError>(client.send(request).await?)
        }
    });
    kube::Client::new(service, namespace)
}
