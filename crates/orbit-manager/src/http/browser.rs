//! A browser is not a user: a page that its user opened may not drive a manager that the browser can reach.
//!
//! A browser sends a page's requests with the rights of the machine it runs on, so an address that only this
//! machine reaches protects nothing. Three rules, each for every route, streams and WebSockets among them:
//!
//! - A request that a page of another origin sent is refused: a browser says so in `Origin` or `Sec-Fetch-Site`.
//! - A manager on a loopback address answers to loopback names only. Otherwise a page could point a name of its own
//!   at the loopback address, and its requests would be of its own origin.
//! - A body is named as JSON. A page can send other bodies to any origin without asking first.

use super::{Fault, HttpCode, Problem};
use axum::{
    body::HttpBody,
    extract::{Request, State},
    http::{HeaderMap, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::{IpAddr, Ipv6Addr};

/// By which names clients may call this manager.
#[derive(Clone, Debug)]
pub enum Names {
    /// Any: the listener is reached from other machines, which know it by names that it does not know.
    Any,
    /// Those of the loopback, and these, in lower case and without a port.
    Loopback(Vec<String>),
}

impl Names {
    /// What a listener answers to. `more` are names that its operator gave it, a reverse proxy's for example.
    pub fn of(listener: IpAddr, more: &[String]) -> Names {
        match listener.to_canonical().is_loopback() {
            true => Names::Loopback(more.iter().map(|name| name.to_ascii_lowercase()).collect()),
            false => Names::Any,
        }
    }

    fn hold(&self, authority: &Authority) -> bool {
        let Names::Loopback(more) = self else { return true };
        let host = authority.host().to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().map(IpAddr::from),
            None => host.parse::<IpAddr>(),
        };
        host == "localhost" || address.is_ok_and(|it| it.to_canonical().is_loopback()) || more.contains(&host)
    }
}

/// The layer around all routes.
pub(super) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    match check(&names, &request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

fn check(names: &Names, request: &Request) -> Result<(), Fault> {
    let own = own_name(names, request)?;
    same_origin(request.headers(), own.as_ref())?;
    let body = request.body();
    let is_named = request.headers().contains_key(header::CONTENT_TYPE);
    // A body of unknown length may be empty: who reads it looks again.
    if !body.is_end_stream() && (is_named || body.size_hint().lower() > 0) {
        json_named(request.headers())?;
    }
    Ok(())
}

/// How the client calls this manager; nothing where it speaks HTTP/1.0 and does not say.
fn own_name(names: &Names, request: &Request) -> Result<Option<Authority>, Fault> {
    let malformed = |what: &str| Fault(Problem::new(HttpCode::Malformed, what));
    let mut said = request.headers().get_all(header::HOST).iter();
    let host = match (said.next(), said.next()) {
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            Some(host.filter(plain).ok_or_else(|| malformed("the header Host is no HOST:PORT"))?)
        }
        (None, _) if request.version() < Version::HTTP_11 => None,
        (None, _) => return Err(malformed("the header Host is missing")),
        (Some(_), Some(_)) => return Err(malformed("the header Host stands there twice")),
    };
    // A target in absolute form is stronger than the header.
    let target = request.uri().authority().cloned();
    for name in target.iter().chain(&host) {
        if !names.hold(name) || !plain(name) {
            let detail = format!(
                "this manager listens on a loopback address and does not answer to `{}`: use localhost or 127.0.0.1",
                name.host()
            );
            return Err(Fault(Problem::new(HttpCode::UnknownHost, detail)));
        }
    }
    Ok(target.or(host))
}

/// Without a user's name, and with a port that is a number.
fn plain(authority: &Authority) -> bool {
    let text = authority.as_str();
    let port = text.strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
    !authority.host().is_empty() && (text == authority.host() || port.is_some_and(|port| port.parse::<u16>().is_ok()))
}

/// That no page of another origin sent it. Programs that are not browsers say nothing of an origin.
fn same_origin(headers: &HeaderMap, own: Option<&Authority>) -> Result<(), Fault> {
    let foreign = || {
        let detail = "a web page of another origin made a browser send this request: Orbit answers its own origin only";
        Err(Fault(Problem::new(HttpCode::CrossOrigin, detail)))
    };
    // `same-site` is another port of the same machine, and so another program.
    let told = headers.get_all("sec-fetch-site").iter();
    if told.into_iter().any(|site| site != "same-origin" && site != "none") {
        return foreign();
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next(), own) {
        (None, ..) => Ok(()),
        (Some(origin), None, Some(own)) if origin.to_str().is_ok_and(|origin| is_origin_of(origin, own)) => Ok(()),
        _ => foreign(),
    }
}

/// Whether `scheme://host[:port]` is where the client reaches this manager. A proxy may speak https before it.
fn is_origin_of(origin: &str, own: &Authority) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(origin) = rest.parse::<Authority>() else { return false };
    let same_port = origin.port_u16().unwrap_or(port) == own.port_u16().unwrap_or(port);
    plain(&origin) && origin.host().eq_ignore_ascii_case(own.host()) && same_port
}

/// That a body is said to be JSON.
pub(super) fn json_named(headers: &HeaderMap) -> Result<(), Fault> {
    let mut said = headers.get_all(header::CONTENT_TYPE).iter();
    let name = said.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = name.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") && said.next().is_none() {
        return Ok(());
    }
    let name = if name.is_empty() { "of no kind that is named" } else { "of another kind" };
    let detail = format!("the body is {name}: send JSON with the header Content-Type: application/json");
    Err(Fault(Problem::new(HttpCode::UnsupportedMediaType, detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        text.parse().unwrap()
    }

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_and_those_it_was_given() {
        let names = Names::of("127.0.0.1".parse().unwrap(), &["Orbit.example".to_string()]);
        for name in ["localhost", "LOCALHOST:7070", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:7070", "orbit.example"]
        {
            assert!(names.hold(&authority(name)), "{name}");
        }
        for name in ["rebound.example", "localhost.example", "10.0.0.1", "[fe80::1]", "127.0.0.1.example", "0.0.0.0"] {
            assert!(!names.hold(&authority(name)), "{name}");
        }
        assert!(Names::of("0.0.0.0".parse().unwrap(), &[]).hold(&authority("rebound.example")));
    }

    #[test]
    fn an_origin_is_the_managers_own_by_host_and_port() {
        let own = authority("localhost:7070");
        assert!(is_origin_of("http://localhost:7070", &own) && is_origin_of("http://LOCALHOST:7070", &own));
        assert!(is_origin_of("http://orbit.example", &authority("orbit.example:80")));
        assert!(is_origin_of("https://orbit.example", &authority("orbit.example")));
        for other in ["null", "", "http://localhost", "http://localhost:7071", "http://127.0.0.1:7070", "http://", "x"]
        {
            assert!(!is_origin_of(other, &own), "{other}");
        }
        assert!(!is_origin_of("http://me@localhost:7070", &own) && !is_origin_of("file://localhost:7070", &own));
    }
}
