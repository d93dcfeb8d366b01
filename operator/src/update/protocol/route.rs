//! Which path is for what.

use super::Dialect;
use super::parameters::Parameters;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An update, in this dialect.
    Update(Dialect),
    /// Which address the request comes from, as a page.
    CheckIpPage,
    /// The same, bare, with a line end.
    BareIp,
    /// The same, bare, without one (sftdyn).
    OwnAddress,
    /// Why the request's address is what it is.
    WhoAmI,
}

/// A path with one slash in front: some UniFi gateways write two.
pub fn with_one_slash(path: &str) -> &str {
    let slashes = path.bytes().take_while(|octet| *octet == b'/').count();
    &path[slashes.saturating_sub(1)..]
}

impl Route {
    /// The table of all paths, as [`with_one_slash`] gives them; a slash at the end is tolerated.
    ///
    /// Everything that has no other meaning is the secret path of an sftdyn client. `query` is the
    /// query's octets; `form` and `is_json` say what the body is.
    pub fn of(path: &str, query: &[u8], form: &[u8], is_json: bool) -> Self {
        use Dialect::{Afraid, DuckDns, Dyndns2, Dynv6, Envelope, Sftdyn, Sha1Script, Signed};

        match path.strip_suffix('/').unwrap_or(path) {
            "" if query.is_empty() => Self::OwnAddress,
            "/nic/update" | "/v2/update" | "/v3/update" | "/nic/delete" => Self::Update(Dyndns2),
            "/update" if is_json => Self::Update(Envelope),
            "/update" if is_duckdns(query, form) => Self::Update(DuckDns),
            "/update" => Self::Update(Dyndns2),
            "/api/update" => Self::Update(Dynv6),
            "/ip.php" => Self::Update(Sha1Script),
            "/signed/update" => Self::Update(Signed),
            "/checkip" | "/nic/checkip" => Self::CheckIpPage,
            "/ip" | "/myip" => Self::BareIp,
            "/debug/whoami" => Self::WhoAmI,
            path if path.starts_with("/update/") => Self::Update(DuckDns),
            path if path.starts_with("/u/") => Self::Update(Afraid),
            _ => Self::Update(Sftdyn),
        }
    }
}

/// DuckDNS and dyndns2 share a path; `domains` is the parameter that DuckDNS demands.
fn is_duckdns(query: &[u8], form: &[u8]) -> bool {
    let parameters = Parameters::parse(query, form);
    parameters.is_ok_and(|parameters| parameters.values("domains").next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_meaning() {
        fn check(target: &str, expected: Route) {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let route = Route::of(with_one_slash(path), query.as_bytes(), b"", false);
            assert_eq!(route, expected, "{target}");
        }
        use Dialect::{Afraid, DuckDns, Dyndns2, Dynv6, Sftdyn, Sha1Script, Signed};
        for path in ["/nic/update", "/v2/update", "/v3/update", "/nic/delete"] {
            check(path, Route::Update(Dyndns2));
            check(&format!("{path}/"), Route::Update(Dyndns2));
            check(&format!("/{path}"), Route::Update(Dyndns2));
            check(&format!("{path}?domains=x"), Route::Update(Dyndns2));
        }
        check("/update", Route::Update(Dyndns2));
        check("/update?hostname=x&token=t", Route::Update(Dyndns2));
        check("/update?domains=x&token=t", Route::Update(DuckDns));
        check("/update/?token=t&domains=x", Route::Update(DuckDns));
        check("/update/home/t", Route::Update(DuckDns));
        check("/update/home/t/198.51.100.7", Route::Update(DuckDns));
        check("/api/update?token=t", Route::Update(Dynv6));
        check("/u/t/", Route::Update(Afraid));
        check("/u/t/?address=198.51.100.7", Route::Update(Afraid));
        check("/ip.php?user=u", Route::Update(Sha1Script));
        check("/signed/update", Route::Update(Signed));
        check("/checkip", Route::CheckIpPage);
        check("/nic/checkip", Route::CheckIpPage);
        check("/ip", Route::BareIp);
        check("/myip/", Route::BareIp);
        check("/debug/whoami", Route::WhoAmI);
        check("//u/t/", Route::Update(Afraid));
        check("/", Route::OwnAddress);
        check("///", Route::OwnAddress);
        check("", Route::OwnAddress);
        check("//", Route::OwnAddress);
        check("/?AnSftdynKeyOfTheirs", Route::Update(Sftdyn));
        check("/AnSftdynKeyOfTheirs", Route::Update(Sftdyn));
        check("/nic/updat", Route::Update(Sftdyn));
        check("/NIC/update", Route::Update(Sftdyn));
    }

    #[test]
    fn a_body_tells_dialects_of_one_path_apart() {
        let json = Route::of("/update", b"", b"", true);
        assert_eq!(json, Route::Update(Dialect::Envelope));
        let form = Route::of("/update", b"", b"domains=x&token=t", false);
        assert_eq!(form, Route::Update(Dialect::DuckDns));
    }
}
