//! What is sealed in a ticket: our terms, and the session as rustls keeps it.

use std::ops::Range;

use rustls::SignatureScheme;

use crate::limits::TICKET_CERTIFICATES_MAX;
use crate::tls::ClientAuth;

/// The terms under which a session may go on, and the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents<'a> {
    /// The listener's name.
    pub(crate) listener: &'a str,
    /// The server name that the client asked for, in lower case.
    pub(crate) server_name: Option<&'a str>,
    /// The trust domain's id.
    pub(crate) domain: [u8; 32],
    pub(crate) client_auth: ClientAuth,
    /// What the client signed with when it proved possession of its key.
    pub(crate) scheme: SignatureScheme,
    /// When it did: seconds since the epoch, as all times here.
    pub(crate) authenticated_at: u64,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    /// When the last session ends that goes back to that proof.
    pub(crate) lineage_ends_at: u64,
    /// Where the client's certificates stand in `session`, end entity first.
    pub(crate) chain: Vec<Range<usize>>,
    /// rustls' own; with the client's certificates, verbatim.
    pub(crate) session: &'a [u8],
}

impl<'a> Contents<'a> {
    /// The bytes; `None` if something is larger than a ticket may hold.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        text(out, self.listener)?;
        match self.server_name {
            Some(name) => {
                out.push(1);
                text(out, name)?;
            }
            None => out.push(0),
        }
        out.extend_from_slice(&self.domain);
        out.push(match self.client_auth {
            ClientAuth::Require => 1,
            ClientAuth::Optional => 2,
            ClientAuth::None => 3,
        });
        out.extend_from_slice(&u16::from(self.scheme).to_be_bytes());
        let times = [self.authenticated_at, self.issued_at, self.expires_at, self.lineage_ends_at];
        for time in times {
            out.extend_from_slice(&time.to_be_bytes());
        }
        if self.chain.is_empty() || self.chain.len() > TICKET_CERTIFICATES_MAX {
            return None;
        }
        out.push(u8::try_from(self.chain.len()).ok()?);
        for place in &self.chain {
            out.extend_from_slice(&u16::try_from(place.start).ok()?.to_be_bytes());
            out.extend_from_slice(&u16::try_from(place.len()).ok()?.to_be_bytes());
        }
        out.extend_from_slice(self.session);
        Some(())
    }

    /// Reads them; `None` where they are not what [`Self::encode`] writes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Input(bytes);
        let listener = rest.text()?;
        let server_name = match rest.byte()? {
            0 => None,
            1 => Some(rest.text()?),
            _ => return None,
        };
        let domain = rest.take()?;
        let client_auth = match rest.byte()? {
            1 => ClientAuth::Require,
            2 => ClientAuth::Optional,
            3 => ClientAuth::None,
            _ => return None,
        };
        let scheme = SignatureScheme::from(u16::from_be_bytes(rest.take()?));
        let mut time = || Some(u64::from_be_bytes(rest.take()?));
        let (authenticated_at, issued_at, expires_at, lineage_ends_at) =
            (time()?, time()?, time()?, time()?);
        let is_in_order = authenticated_at <= issued_at
            && issued_at <= expires_at
            && expires_at <= lineage_ends_at;
        let certificates = usize::from(rest.byte()?);
        if !is_in_order || !(1..=TICKET_CERTIFICATES_MAX).contains(&certificates) {
            return None;
        }
        let mut chain = Vec::with_capacity(certificates);
        let mut end = 0;
        for _ in 0..certificates {
            let start = usize::from(u16::from_be_bytes(rest.take()?));
            let length = usize::from(u16::from_be_bytes(rest.take()?));
            if start < end || length == 0 {
                return None;
            }
            end = start + length;
            chain.push(start..end);
        }
        let session = rest.0;
        (end <= session.len()).then_some(Self {
            listener,
            server_name,
            domain,
            client_auth,
            scheme,
            authenticated_at,
            issued_at,
            expires_at,
            lineage_ends_at,
            chain,
            session,
        })
    }

    /// The client's certificates, end entity first.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &'a [u8]> {
        let session = self.session;
        self.chain.iter().map(move |place| &session[place.clone()])
    }
}

/// Can these be the contents of a ticket? For fuzzing: any bytes may be asked about.
#[must_use]
pub fn is_readable(bytes: &[u8]) -> bool {
    let Some(contents) = Contents::decode(bytes) else { return false };
    let mut again = Vec::new();
    contents.encode(&mut again).is_some()
        && again == bytes
        && contents.certificates().all(|certificate| !certificate.is_empty())
}

/// Where the certificates of `chain` stand in `session`, one behind the other; `None` unless all of them
/// do.
pub(crate) fn locate<'c>(
    session: &[u8],
    chain: impl Iterator<Item = &'c [u8]>,
) -> Option<Vec<Range<usize>>> {
    let mut places = Vec::new();
    let mut searched = 0;
    for certificate in chain {
        if certificate.is_empty() {
            return None;
        }
        let found = session
            .get(searched..)?
            .windows(certificate.len())
            .position(|window| window == certificate)?;
        let start = searched + found;
        searched = start + certificate.len();
        places.push(start..searched);
    }
    (!places.is_empty()).then_some(places)
}

fn text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.push(u8::try_from(text.len()).ok()?);
    out.extend_from_slice(text.as_bytes());
    Some(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        std::str::from_utf8(self.slice(length)?).ok()
    }
}
