//! The admin endpoint's client: HTTP/1.1 over TCP or a unix socket, one request a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::deadline::PATIENCE;
use crate::prometheus::Metrics;

/// Where the endpoint is.
#[derive(Clone, Debug)]
pub enum Admin {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came behind the head, to the end of the stream.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Admin {
    /// What to give the key `listen` of the table `admin`.
    #[must_use]
    pub fn listen(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Asks one thing.
    ///
    /// # Errors
    ///
    /// Where nobody listens, or the answer does not come.
    ///
    /// # Panics
    ///
    /// When the answer is no HTTP/1.1.
    pub fn ask(&self, method: &str, path: &str) -> io::Result<Answer> {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        let mut received = Vec::new();
        match self {
            Self::Tcp(address) => {
                let mut tcp = TcpStream::connect(address)?;
                tcp.set_read_timeout(Some(PATIENCE))?;
                tcp.write_all(request.as_bytes())?;
                tcp.read_to_end(&mut received)?;
            }
            Self::Unix(path) => {
                let mut unix = UnixStream::connect(path)?;
                unix.set_read_timeout(Some(PATIENCE))?;
                unix.write_all(request.as_bytes())?;
                unix.read_to_end(&mut received)?;
            }
        }
        Ok(parse(&received))
    }

    /// `GET path`.
    ///
    /// # Panics
    ///
    /// When there is no answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).unwrap_or_else(|error| panic!("GET {path} of {self:?}: {error}"))
    }

    /// `/metrics`, understood.
    ///
    /// # Panics
    ///
    /// When there is no such page, or it is none that a scraper would take.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.body).unwrap_or_else(|problem| panic!("{problem}\n{}", answer.body))
    }
}

fn parse(received: &[u8]) -> Answer {
    let text = str::from_utf8(received).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let mut lines = head.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Answer {
        headers: headers.collect(),
        status: status.unwrap_or_else(|| panic!("no status: {head:?}")),
        body: body.to_owned(),
    }
}
