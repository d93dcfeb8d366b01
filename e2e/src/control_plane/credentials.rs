//! The control plane's keys and tokens, and kubeconfig files.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Result, anyhow};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{audit, commands::Layout};
use crate::{random_hex, scratch::write_private};

/// Writes what the API server reads when it starts, and the administrator's kubeconfig.
pub(super) fn write(layout: &Layout) -> Result<()> {
    let token = random_hex(16)?;
    let user = format!("{token},admin,admin,\"system:masters\"\n");
    write_private(&layout.tokens(), &user)?;
    write_signing_key(layout)?;
    fs::write(layout.audit_policy(), audit::POLICY)?;
    write_kubeconfig(
        &layout.admin_kubeconfig(),
        layout.api_server,
        &layout.certificate(),
        "default",
        &token,
    )
}

/// Writes a kubeconfig (JSON, which is YAML too) of somebody in a namespace.
pub(super) fn write_kubeconfig(
    path: &Path,
    server: SocketAddr,
    certificate_authority: &Path,
    namespace: &str,
    token: &str,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority": certificate_authority,
        }}],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {
            "cluster": "e2e", "user": "e2e", "namespace": namespace,
        }}],
        "current-context": "e2e",
    });
    write_private(path, &serde_json::to_string_pretty(&config)?)
}

/// The pair that signs and checks the tokens of ServiceAccounts: P-256, in PEM.
fn write_signing_key(layout: &Layout) -> Result<()> {
    let failed = |_| anyhow!("making the key that signs tokens");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let private = pair.to_pkcs8v1().map_err(failed)?;
    let public: PublicKeyX509Der = pair.public_key().as_der().map_err(failed)?;
    let private = to_pem("PRIVATE KEY", private.as_ref());
    write_private(&layout.service_account_private_key(), &private)?;
    let public = to_pem("PUBLIC KEY", public.as_ref());
    write_private(&layout.service_account_public_key(), &public)
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}
