//! Objects written past the API server, straight into its store.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::http;

/// Puts of one transaction; etcd takes 128 (`--max-txn-ops`).
const PUTS: usize = 128;

const LIMIT: Duration = Duration::from_secs(30);

/// By etcd's JSON gateway, which needs no client of ours.
pub(super) async fn put(etcd: SocketAddr, objects: &[(String, String)]) -> Result<()> {
    for some in objects.chunks(PUTS) {
        let puts: Vec<_> = some
            .iter()
            .map(|(key, object)| {
                let key = BASE64_STANDARD.encode(format!("/registry/{key}"));
                json!({"requestPut": {"key": key, "value": BASE64_STANDARD.encode(object)}})
            })
            .collect();
        let body = json!({ "success": puts }).to_string();
        // HTTP/1.0: the answer is not chunked.
        let request = format!(
            "POST /v3/kv/txn HTTP/1.0\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = http::exchange(etcd, request.as_bytes(), LIMIT).await?;
        ensure!(answer.status == 200, "etcd: {}", answer.text());
    }
    Ok(())
}
