//! The endpoint as clients see it, on a real API server.

mod endpoint {
    mod answers;
    mod bad_days;
    mod clients;
    mod guarded_patch;
    mod writes;

    use dynhost_crds::host::DynamicHost;
    use dynhost_e2e::{Response, Stack, http};

    /// GET `/nic/update?<query>` with this token; status and body.
    pub(crate) async fn update(stack: &Stack, token: &str, query: &str) -> (u16, String) {
        let target = format!("/nic/update?{query}");
        let address = stack.operator.update_address();
        let answer = http::get(address, &target, Some(("router", token)));
        said(&answer.await.unwrap())
    }

    pub(crate) fn said(answer: &Response) -> (u16, String) {
        (answer.status, answer.text())
    }

    /// The stored IPv4 address.
    pub(crate) fn stored_ipv4(host: &DynamicHost) -> Option<String> {
        let observed = host.status.as_ref()?.observed.as_ref()?;
        Some(observed.ipv4.as_ref()?.address.to_string())
    }
}
