//! Carries a request to a responder and its answer back: HTTP/1.1, by POST (RFC 6960 appendix A.1), on a
//! connection of its own. Redirects are not followed; nothing is sent but the request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_proto::ocsp::RESPONSE_BYTES_MAX;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes that an answer's head may have.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Whom to ask.
#[derive(Debug)]
struct Responder {
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// Can a URL be asked?
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    responder(url).map(drop)
}

fn responder(url: &str) -> Result<Responder, String> {
    let uri: Uri = url.parse().map_err(|error| format!("it is no URL: {error}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(
                "it is an https URL; answers are signed, name the responder's http URL".to_owned()
            );
        }
        _ => return Err("it must begin with http://".to_owned()),
    }
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        return Err("it has a user's name in it, and nobody logs in to a responder".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(Responder {
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(80),
        authority: authority.to_string(),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    })
}

/// Sends a request, gives the body of the answer. The caller bounds the time.
///
/// # Errors
/// What happened instead.
pub(super) async fn exchange(url: &str, request: Vec<u8>) -> Result<Vec<u8>, String> {
    let Responder { host, port, authority, path } = responder(url)?;
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let broken = |error: hyper::Error| format!("the exchange broke: {error}");
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/ocsp-request")
        .header(ACCEPT, "application/ocsp-response")
        .header(USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(request)))
        .map_err(|error| format!("no request can be made for it: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX);
        let body = body.collect().await.map_err(|error| format!("its answer broke: {error}"))?;
        Ok(body.to_bytes().to_vec())
    };
    // The connection is driven beside it, and ends with it.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let mut is_over = false;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            ended = &mut connection, if !is_over => {
                is_over = true;
                // Why it broke is said to whoever waits for the answer.
                drop(ended);
            }
        }
    }
}

/// `CLOCK_REALTIME`: seconds since the epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("http://ocsp.example", "ocsp.example", 80, "/"),
            ("http://ocsp.example:8080/a/b?c", "ocsp.example", 8080, "/a/b?c"),
            ("http://[::1]:81/", "::1", 81, "/"),
        ] {
            let read = responder(url).expect(url);
            assert_eq!((&*read.host, read.port, &*read.path), (host, port, path));
        }
        for bad in
            ["", "ocsp.example", "https://a/", "ftp://a/", "http://", "http://u@a/", "http://a b"]
        {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
