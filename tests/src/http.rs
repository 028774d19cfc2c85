//! Just enough HTTP/1.1 (RFC 9112) to ask the built-in upstream who it thinks the client is.

use serde_json::Value;

use crate::client::{Client, Ending};

/// A request for `/` that leaves the connection open.
pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// A request for `/` after which the server closes.
pub const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The body, as long as Content-Length says.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body))
        })
    }
}

/// Reads one answer from the connection.
///
/// # Errors
///
/// How the server's side ended, where it ended before the answer was complete.
///
/// # Panics
///
/// When it is no HTTP answer with a Content-Length.
pub fn read_response(client: &mut Client) -> Result<Response, Ending> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = split_head(&received) {
            let (status, content_length) = read_head(head);
            if body.len() >= content_length {
                assert_eq!(body.len(), content_length, "bytes after the answer");
                return Ok(Response { status, body: body.to_vec() });
            }
        }
        let length = client.receive(&mut buffer)?;
        received.extend_from_slice(&buffer[..length]);
    }
}

/// Sends [`GET`] and reads the answer as JSON.
///
/// # Panics
///
/// When the answer does not come, or is not 200 with JSON.
#[track_caller]
pub fn whoami(client: &mut Client) -> Value {
    client.send(GET);
    match read_response(client) {
        Ok(response) => {
            assert_eq!(response.status, 200);
            response.json()
        }
        Err(ending) => panic!("no answer from builtin:whoami: {ending:?}"),
    }
}

/// Whether `text` is a value anywhere inside `json`.
#[must_use]
pub fn names(json: &Value, text: &str) -> bool {
    match json {
        Value::String(string) => string == text,
        Value::Array(values) => values.iter().any(|value| names(value, text)),
        Value::Object(members) => members.values().any(|value| names(value, text)),
        _ => false,
    }
}

fn split_head(received: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&received[..end], &received[end + 4..]))
}

fn read_head(head: &[u8]) -> (u16, usize) {
    let head = str::from_utf8(head).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let content_length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    match (status, content_length) {
        (Some(status), Some(content_length)) => (status, content_length),
        _ => panic!("no status or no Content-Length: {head}"),
    }
}
