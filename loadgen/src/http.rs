//! Responses of HTTP/1.1 (RFC 9112), as far as a GET on a kept connection needs them.

use crate::failure::Failure;

/// Heads beyond this are refused.
const HEAD_BYTES_MAX: usize = 64 << 10;

const HEADERS_MAX: usize = 96;

/// A response that is being read.
#[derive(Default)]
pub(crate) struct Response {
    /// The head, as far as it has come in pieces.
    head: Vec<u8>,
    body: Body,
    status: u16,
    closes: bool,
    /// Body bytes so far.
    pub(crate) body_bytes: u64,
}

#[derive(Default, PartialEq)]
enum Body {
    /// The head is not complete.
    #[default]
    Unknown,
    Left(u64),
    UntilEnd,
}

impl Response {
    /// Takes bytes of the stream.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.body != Body::Unknown {
            return self.take_body(bytes);
        }
        if self.head.is_empty() {
            // As a rule all is there at once, and nothing is copied.
            match self.take_head(bytes)? {
                Some(length) => return self.take_body(&bytes[length..]),
                None => self.head.extend_from_slice(bytes),
            }
        } else {
            self.head.extend_from_slice(bytes);
            let head = std::mem::take(&mut self.head);
            match self.take_head(&head)? {
                Some(length) => return self.take_body(&head[length..]),
                None => self.head = head,
            }
        }
        if self.head.len() > HEAD_BYTES_MAX {
            return Err(malformed("its head is longer than 64 KiB"));
        }
        Ok(())
    }

    /// The stream has ended.
    pub(crate) fn end(&mut self) -> Result<(), Failure> {
        self.closes = true;
        match self.body {
            Body::UntilEnd => {
                self.body = Body::Left(0);
                Ok(())
            }
            Body::Left(0) => Ok(()),
            _ => Err(Failure::closed("reading the response")),
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.body == Body::Left(0)
    }

    /// Whether anything has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.body != Body::Unknown || !self.head.is_empty()
    }

    /// Whether the connection can be used again.
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.closes
    }

    /// An error unless the status is one of success.
    pub(crate) fn success(&self) -> Result<(), Failure> {
        if (200..400).contains(&self.status) {
            return Ok(());
        }
        let status = self.status;
        Err(Failure::new(
            format!("http_status:{status}"),
            format!("the server answered with status {status}"),
        ))
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.body_bytes += bytes.len() as u64;
        if let Body::Left(left) = &mut self.body {
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| malformed("it is longer than its Content-Length"))?;
        }
        Ok(())
    }

    /// The length of the head, once it is complete.
    fn take_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        self.status = head.code.unwrap_or_default();
        self.closes = head.version == Some(0);
        // 204 and 304 have no body (RFC 9110, section 6.4.1).
        self.body = if matches!(self.status, 204 | 304) { Body::Left(0) } else { Body::UntilEnd };
        for header in head.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length =
                    str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
                self.body =
                    Body::Left(length.ok_or_else(|| malformed("its Content-Length is no number"))?);
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes |= header.value.eq_ignore_ascii_case(b"close");
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Failure::new(
                    "http_unsupported",
                    "the response is chunked; name a --path whose response has a Content-Length",
                ));
            }
        }
        Ok(Some(length))
    }
}

fn malformed(why: &str) -> Failure {
    Failure::new("http_malformed", format!("what came is no HTTP/1.1 response: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_at_once_or_byte_by_byte() {
        let text = b"HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc";
        let mut whole = Response::default();
        whole.take(text).unwrap();
        let mut pieces = Response::default();
        for byte in text {
            assert!(!pieces.is_complete());
            pieces.take(&[*byte]).unwrap();
        }
        for response in [whole, pieces] {
            assert!(response.is_complete() && response.keeps_alive() && response.success().is_ok());
            assert_eq!(response.body_bytes, 3);
        }
    }

    #[test]
    fn a_response_without_a_length_ends_with_the_stream() {
        let mut response = Response::default();
        response.take(b"HTTP/1.0 200 ok\r\nContent-type: text/html\r\n\r\nabc").unwrap();
        assert!(!response.is_complete());
        response.end().unwrap();
        assert!(response.is_complete() && !response.keeps_alive());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, kind) in [
            (&b"SSH-2.0-OpenSSH\r\n"[..], "http_malformed"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "http_malformed"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nabc", "http_malformed"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "http_unsupported"),
        ] {
            assert_eq!(Response::default().take(text).unwrap_err().kind, kind);
        }
        let mut response = Response::default();
        response
            .take(b"HTTP/1.1 403 Forbidden\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        assert!(response.is_complete() && !response.keeps_alive());
        assert_eq!(response.success().unwrap_err().kind, "http_status:403");
        assert_eq!(Response::default().end().unwrap_err().kind, "closed");
    }
}
