//! Request heads: collecting one, and what it says about the message's body and the connection.

use crate::whoami::{MAX_HEAD_BYTES, MAX_HEADER_FIELDS};

/// What matters of a request line and header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub(super) is_head: bool,
    pub(super) is_http_1_0: bool,
    pub(super) keeps_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) framing: Framing,
}

impl RequestHead {
    /// A 400 to the request this head belongs to.
    pub(super) fn refusal(self, reason: &'static str) -> Refusal {
        Refusal { status: Status::BadRequest, reason, is_head: self.is_head }
    }
}

/// How the end of the body is found (RFC 9112 section 6.3). A request with neither header has a length of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Why a request ends the connection, as it is told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) reason: &'static str,
    pub(super) is_head: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    HeadTooLarge,
    NotImplemented,
    VersionNotSupported,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadProgress {
    Incomplete,
    Complete(RequestHead),
    Refused(Refusal),
}

/// Collects a head until its empty line.
///
/// It is parsed after its first line and at its end, never in between: each byte is looked at a fixed number of times,
/// however slowly it comes.
#[derive(Debug, Default)]
pub(super) struct HeadBuffer {
    bytes: Vec<u8>,
    /// Where the line being received begins.
    line_start: usize,
}

impl HeadBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes bytes up to the end of the head, or all; says how many.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> (usize, HeadProgress) {
        let mut read = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_HEAD_BYTES - self.bytes.len();
            if line.len() > room {
                let reason = "the request line and header fields are too long";
                return (read + room, refused(Status::HeadTooLarge, reason));
            }
            self.bytes.extend_from_slice(line);
            read += line.len();
            if line.ends_with(b"\n") {
                match self.end_of_line() {
                    HeadProgress::Incomplete => {}
                    decided => return (read, decided),
                }
            }
        }
        (read, HeadProgress::Incomplete)
    }

    fn end_of_line(&mut self) -> HeadProgress {
        // RFC 9112 section 2.2: "a recipient MAY recognize a single LF as a line terminator".
        let is_empty = matches!(&self.bytes[self.line_start..], b"\n" | b"\r\n");
        let is_first = self.line_start == 0;
        if is_first && is_empty {
            // The same: "SHOULD ignore at least one empty line (CRLF) received prior to the request-line".
            self.bytes.clear();
            return HeadProgress::Incomplete;
        }
        self.line_start = self.bytes.len();
        if is_empty {
            return parse(&self.bytes);
        }
        if is_first {
            // Who does not speak HTTP at all is told after one line.
            return match parse(&self.bytes) {
                HeadProgress::Complete(_) => HeadProgress::Incomplete,
                other => other,
            };
        }
        HeadProgress::Incomplete
    }
}

fn parse(bytes: &[u8]) -> HeadProgress {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADER_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => HeadProgress::Incomplete,
        Ok(httparse::Status::Complete(_)) => match interpret(&request) {
            Ok(head) => HeadProgress::Complete(head),
            Err(refusal) => HeadProgress::Refused(refusal),
        },
        Err(httparse::Error::TooManyHeaders) => {
            refused(Status::HeadTooLarge, "too many header fields")
        }
        Err(httparse::Error::Version) => {
            refused(Status::VersionNotSupported, "this version of HTTP is not spoken here")
        }
        Err(httparse::Error::HeaderName) => {
            refused(Status::BadRequest, "a header field's name is malformed")
        }
        Err(httparse::Error::HeaderValue) => {
            refused(Status::BadRequest, "a header field's value is malformed")
        }
        Err(_) => refused(Status::BadRequest, "this is no HTTP request"),
    }
}

fn refused(status: Status, reason: &'static str) -> HeadProgress {
    HeadProgress::Refused(Refusal { status, reason, is_head: false })
}

fn interpret(request: &httparse::Request<'_, '_>) -> Result<RequestHead, Refusal> {
    let fields = Fields(request.headers);
    let is_http_1_0 = request.version == Some(0);
    let is_head = request.method == Some("HEAD");
    let refusal = |(status, reason)| Refusal { status, reason, is_head };
    if request.method == Some("CONNECT") {
        // Any 2xx would open a tunnel (RFC 9110 section 9.3.6), to nowhere.
        return Err(refusal((Status::NotImplemented, "CONNECT is not served here")));
    }
    // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
    // that lacks a Host header field and to any request message that contains more than one Host header field line".
    match fields.values("host").count() {
        1 => {}
        0 if is_http_1_0 => {}
        0 => return Err(refusal((Status::BadRequest, "there is no Host header field"))),
        _ => return Err(refusal((Status::BadRequest, "there is more than one Host header field"))),
    }
    let framing = framing(&fields, is_http_1_0).map_err(refusal)?;
    let asks = |option: &str| {
        fields.list("connection").any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    };
    let keeps_alive = !asks("close") && (!is_http_1_0 || asks("keep-alive"));
    // An HTTP/1.0 request cannot ask: its expectation MUST be ignored (RFC 9110 section 10.1.1).
    let expects_continue = !is_http_1_0
        && fields.list("expect").any(|member| member.eq_ignore_ascii_case(b"100-continue"));
    Ok(RequestHead { is_head, is_http_1_0, keeps_alive, expects_continue, framing })
}

/// RFC 9112 section 6.3; where it leaves a choice, the one that lets nobody disagree about where a request ends.
fn framing(fields: &Fields<'_, '_>, is_http_1_0: bool) -> Result<Framing, (Status, &'static str)> {
    let has_coding = fields.values("transfer-encoding").next().is_some();
    let mut lengths = fields.values("content-length");
    let length = lengths.next();
    if has_coding && length.is_some() {
        return Err((Status::BadRequest, "both Transfer-Encoding and Content-Length"));
    }
    if has_coding && is_http_1_0 {
        return Err((Status::BadRequest, "HTTP/1.0 has no Transfer-Encoding"));
    }
    if lengths.next().is_some() {
        return Err((Status::BadRequest, "more than one Content-Length"));
    }
    if has_coding {
        return chunked(fields);
    }
    let length = length.map_or(Some(0), decimal);
    length.map(Framing::Length).ok_or((Status::BadRequest, "Content-Length is no number"))
}

fn chunked(fields: &Fields<'_, '_>) -> Result<Framing, (Status, &'static str)> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings: Vec<&[u8]> = fields.list("transfer-encoding").collect();
    match codings.split_last() {
        Some((last, [])) if is_chunked(last) => Ok(Framing::Chunked),
        Some((last, others))
            if is_chunked(last) && !others.iter().any(|coding| is_chunked(coding)) =>
        {
            Err((Status::NotImplemented, "no transfer coding but chunked is understood"))
        }
        // "If ... the chunked transfer coding is not the final encoding, the message body length cannot be determined
        // reliably; the server MUST respond with the 400 (Bad Request) status code and then close the connection."
        _ => Err((Status::BadRequest, "Transfer-Encoding does not end in chunked, once")),
    }
}

/// Digits only: no sign, no list, no blanks within, nothing beyond a u64.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The header section, looked up by field name in lower case.
struct Fields<'a, 'b>(&'a [httparse::Header<'b>]);

impl<'b> Fields<'_, 'b> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// The members of a comma-separated list, empty ones too (RFC 9110 section 5.6.1), over all lines of that name.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    }
}
