//! A client of the API server for who may write for a time only.

use std::sync::Arc;

use http::Request;
use kube::client::Body;
use tower::{BoxError, service_fn};

use super::fence::Fence;

/// The means of a writer for the time of its fence.
#[derive(Clone)]
pub struct Fenced {
    /// Through it nothing is changed when the fence is closed.
    pub client: kube::Client,
    pub fence: Arc<Fence>,
}

impl Fenced {
    pub fn new(client: &kube::Client, fence: Arc<Fence>) -> Self {
        Self {
            client: fenced(client, fence.clone()),
            fence,
        }
    }
}

fn fenced(client: &kube::Client, fence: Arc<Fence>) -> kube::Client {
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Method, Response};

    use super::*;
    use crate::leader::moment::Moment;

    #[tokio::test]
    async fn behind_a_closed_fence_nothing_is_changed() {
        let server = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let client = kube::Client::new(server, "default");
        for (fence, may_write) in [
            (Fence::open(), true),
            (Fence::until(Moment::from_nanos(1)), false),
        ] {
            let client = fenced(&client, Arc::new(fence));
            for method in [
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ] {
                let mut request = Request::new(Body::empty());
                *request.method_mut() = method.clone();
                let passes = client.send(request).await.is_ok();
                assert_eq!(passes, may_write || method == Method::GET, "{method}");
            }
        }
    }
}
