//! Who may see the page.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};

/// The name of the cookie that holds the token after `/?token=…` was opened once.
pub(crate) const COOKIE_NAME: &str = "millrace_token";

/// Who may see the page and the API.
///
/// Any web site that a browser shows can make it send requests to loopback. So a request must name this server in its
/// `Host` header (which stops rebinding a foreign name to this address) and, if it tells its `Origin`, the same one.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Text that a request must bring, as `Authorization: Bearer …`, as `?token=…`, or as the cookie set by it.
    pub token: Option<String>,
    /// Names besides `localhost` and addresses of this server under which it may be asked.
    pub hosts: Vec<String>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Host,
    Origin,
    Token,
}

impl Refusal {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Host => "the Host header names another server: use an address or add the name to http_hosts\n",
            Self::Origin => "requests from other web sites are refused\n",
            Self::Token => "a token is needed: open /?token=… or send Authorization: Bearer …\n",
        }
    }
}

impl Access {
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri, local: SocketAddr) -> Result<(), Refusal> {
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .ok_or(Refusal::Host)?;
        if !self.is_ours(host, local) {
            return Err(Refusal::Host);
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let authority = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.split_once("://"))
                .map(|(_, rest)| rest);
            if authority != Some(host) {
                return Err(Refusal::Origin);
            }
        }
        match &self.token {
            Some(token) if !presented(headers, uri).any(|found| same(found, token)) => Err(Refusal::Token),
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &str, local: SocketAddr) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        if name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return true;
        }
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        match bare.parse::<IpAddr>() {
            // An address in the header cannot have been rebound; behind loopback only loopback makes sense.
            Ok(address) => !local.ip().is_loopback() || address.is_loopback(),
            Err(_) => false,
        }
    }
}

fn presented<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> impl Iterator<Item = &'a str> {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let cookies = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let cookie = cookies.flat_map(|value| value.split(';')).filter_map(|pair| {
        pair.trim()
            .split_once('=')
            .filter(|(name, _)| *name == COOKIE_NAME)
            .map(|(_, token)| token)
    });
    bearer.into_iter().chain(query_token(uri)).chain(cookie)
}

pub(crate) fn query_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Compares in a time that does not tell how much was right.
fn same(found: &str, token: &str) -> bool {
    found.len() == token.len()
        && found
            .bytes()
            .zip(token.bytes())
            .fold(0, |differing, (a, b)| differing | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(access: &Access, uri: &str, headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        access.check(&headers, &uri.parse().unwrap(), "127.0.0.1:8080".parse().unwrap())
    }

    #[test]
    fn only_names_of_this_server_are_answered() {
        let access = Access {
            hosts: vec!["flows.example".into()],
            token: None,
        };
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "127.0.0.1",
            "flows.example:8080",
        ] {
            assert_eq!(check(&access, "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.1:8080"] {
            assert_eq!(check(&access, "/", &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(check(&access, "/", &[]), Err(Refusal::Host));
    }

    #[test]
    fn other_sites_are_refused() {
        let host = ("host", "localhost:8080");
        assert_eq!(
            check(&Access::default(), "/ws", &[host, ("origin", "http://localhost:8080")]),
            Ok(())
        );
        for origin in ["http://evil.example", "http://localhost:9090", "null"] {
            assert_eq!(
                check(&Access::default(), "/ws", &[host, ("origin", origin)]),
                Err(Refusal::Origin),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_token_is_taken_from_header_query_or_cookie() {
        let access = Access {
            token: Some("s3cret".into()),
            hosts: Vec::new(),
        };
        let host = ("host", "localhost");
        assert_eq!(check(&access, "/", &[host]), Err(Refusal::Token));
        assert_eq!(check(&access, "/?token=wrong1", &[host]), Err(Refusal::Token));
        assert_eq!(check(&access, "/?a=b&token=s3cret", &[host]), Ok(()));
        assert_eq!(check(&access, "/", &[host, ("authorization", "Bearer s3cret")]), Ok(()));
        assert_eq!(
            check(&access, "/", &[host, ("cookie", "a=b; millrace_token=s3cret")]),
            Ok(())
        );
    }
}
