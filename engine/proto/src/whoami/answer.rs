//! Responses, as bytes.

use serde::Serialize;

use crate::whoami::request::{Refusal, RequestHead, Status};

/// The responses of one connection: the facts are written out once.
#[derive(Debug)]
pub(super) struct Answers {
    facts: String,
}

impl Answers {
    pub(super) fn new(facts: &impl Serialize) -> Answers {
        // Only a map with keys that are no strings could fail.
        let mut facts = serde_json::to_string_pretty(facts).unwrap_or_default();
        facts.push('\n');
        Answers { facts }
    }

    /// 200 with the facts. HEAD gets the same fields and no content (RFC 9110 section 9.3.2).
    pub(super) fn tell(&self, head: RequestHead, keeps_alive: bool, out: &mut Vec<u8>) {
        let connection = match (keeps_alive, head.is_http_1_0) {
            (false, _) => "Connection: close\r\n",
            // To a 1.0 client keeping alive is an option, which it must be told of (RFC 9112 section 9.3).
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        };
        write("200 OK", connection, &self.facts, head.is_head, out);
    }

    /// 100: the client may send the content it announced.
    pub(super) fn proceed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// The last response of a connection, to a request that could not be understood.
    pub(super) fn refuse(&self, refusal: Refusal, out: &mut Vec<u8>) {
        let status = match refusal.status {
            Status::BadRequest => "400 Bad Request",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        };
        let content = format!("{:#}\n", serde_json::json!({ "error": refusal.reason }));
        write(status, "Connection: close\r\n", &content, refusal.is_head, out);
    }
}

/// There is no Date: "an origin server without a clock MUST NOT generate" one (RFC 9110 section 6.6.1).
fn write(status: &str, connection: &str, content: &str, is_head: bool, out: &mut Vec<u8>) {
    let length = content.len();
    let fields = format!(
        "HTTP/1.1 {status}\r\n\
         Server: countersign\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\
         Cache-Control: no-store\r\n\
         {connection}\r\n"
    );
    out.extend_from_slice(fields.as_bytes());
    if !is_head {
        out.extend_from_slice(content.as_bytes());
    }
}
