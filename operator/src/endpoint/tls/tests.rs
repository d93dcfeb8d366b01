//! The files, and how they are followed.

use super::*;
use crate::endpoint::tests::tls::{Files, Identity};
use crate::metrics::{Format, Snapshot};

async fn load(certificate: &str, key: &str) -> Result<(Tls, Files), String> {
    let files = Files::new(certificate, key);
    let tls = Tls::load(&files.options(), Arc::default()).await;
    Ok((tls.map_err(|error| error.to_string())?, files))
}

impl Tls {
    fn shows(&self, identity: &Identity) -> bool {
        let key = self.in_use.0.read().unwrap();
        key.cert[0] == identity.certificate
    }

    /// The lines of the page of metrics that begin so.
    fn counted(&self, name: &str) -> Vec<String> {
        let page = self
            .metrics
            .render(&Snapshot::default(), Format::Plain)
            .unwrap();
        let lines = page.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_by_name() {
    let (one, other) = (Identity::until(2049), Identity::until(2049));
    let check = async |certificate: &str, key: &str, expected: &str| {
        let error = load(certificate, key).await.err().unwrap();
        // Without the folders of the files.
        let words: Vec<_> = error
            .split(' ')
            .map(|word| word.rsplit('/').next().unwrap())
            .collect();
        assert!(words.join(" ").starts_with(expected), "{error}");
    };
    let (certificate, key) = (&one.certificate_pem, &one.key_pem);
    check(
        certificate,
        &other.key_pem,
        "the key in tls.key is not that of the first certificate in tls.crt",
    )
    .await;
    check("", key, "tls.crt holds no certificate in PEM").await;
    check(key, key, "tls.crt holds no certificate in PEM").await;
    check(certificate, "", "tls.key holds no private key in PEM").await;
    check(
        certificate,
        certificate,
        "tls.key holds no private key in PEM",
    )
    .await;
    let cut = &certificate[..certificate.len() / 2];
    check(cut, key, "tls.crt is not in PEM:").await;
    check(certificate, &key[..key.len() / 2], "tls.key is not in PEM:").await;
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(
        hollow,
        key,
        "the certificate in tls.crt or the key in tls.key cannot be used:",
    )
    .await;
    let long = certificate.repeat(2000);
    check(&long, key, "tls.crt cannot be read:").await;

    let files = Files::new(certificate, key);
    for missing in ["tls.key", "tls.crt"] {
        files.remove(missing);
        let error = Tls::load(&files.options(), Arc::default()).await;
        let error = error.err().unwrap().to_string();
        assert!(
            error.contains(&format!("/{missing} cannot be read: ")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn another_certificate_is_shown_once_both_files_are_its_own() {
    let (first, second) = (Identity::until(2049), Identity::until(2050));
    let (mut tls, files) = load(&first.certificate_pem, &first.key_pem).await.unwrap();
    let expiry = |tls: &Tls| tls.counted("dynhost_tls_certificate_expiry_timestamp_seconds ");
    assert_eq!(expiry(&tls), ["2524521600"]);
    tls.look().await;
    assert!(tls.shows(&first));

    // One look falls between the files.
    files.write("tls.crt", &second.certificate_pem);
    tls.look().await;
    assert!(tls.shows(&first));
    files.write("tls.key", &second.key_pem);
    tls.look().await;
    assert!(tls.shows(&second));
    assert_eq!(expiry(&tls), ["2556057600"]);
    let reloads = "dynhost_tls_reloads_total";
    assert_eq!(tls.counted(reloads), ["{result=\"loaded\"} 1"]);
}

#[tokio::test]
async fn files_that_stay_unusable_are_told_of_once_and_the_former_ones_go_on() {
    let (first, second) = (Identity::until(2049), Identity::until(2050));
    let (mut tls, files) = load(&first.certificate_pem, &first.key_pem).await.unwrap();
    let reloads = "dynhost_tls_reloads_total";
    let refused = |tls: &Tls| tls.counted(&format!("{reloads}{{result=\"refused\"}} "));
    let mut told = 0;
    for spoil in [
        &(|| files.write("tls.key", &second.key_pem)) as &dyn Fn(),
        &|| files.write("tls.key", ""),
        &|| files.remove("tls.key"),
    ] {
        spoil();
        told += 1;
        for _ in 0..4 {
            tls.look().await;
            assert!(tls.shows(&first));
        }
        assert_eq!(refused(&tls), [told.to_string()]);
    }
    // As it was: nothing is to be told, and the next trouble is told of again.
    files.write("tls.key", &first.key_pem);
    tls.look().await;
    files.remove("tls.key");
    tls.look().await;
    assert_eq!(refused(&tls), ["3"]);
    tls.look().await;
    assert_eq!(refused(&tls), ["4"]);
    files.write("tls.crt", &second.certificate_pem);
    files.write("tls.key", &second.key_pem);
    tls.look().await;
    assert!(tls.shows(&second));
}
