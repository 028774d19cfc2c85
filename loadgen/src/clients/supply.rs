//! Who connects next, and whether with a session: one for each runtime.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;

use super::Clients;
use crate::arguments::Percent;
use crate::tls::sessions::{Keeping, Offering, Stock};

/// Chooses a client for each connection.
pub(crate) struct Supply {
    base: ClientConfig,
    seen: Vec<Seen>,
    next_seen: usize,
    unseen: Vec<Arc<CertifiedKey>>,
    unseen_mix: Mix,
    resume_mix: Mix,
}

/// What the next connection is made with.
pub(crate) struct Chosen {
    pub(crate) config: Arc<ClientConfig>,
    /// Tells whether a session was offered, once the connection is made; `None` if none can be.
    pub(crate) stock: Option<Arc<Stock>>,
}

/// No certificate is left that was never used.
#[derive(Debug)]
pub(crate) struct Exhausted;

/// A client who comes again and again.
struct Seen {
    /// Offers nothing, keeps what it is given.
    full: Arc<ClientConfig>,
    /// Offers what was kept.
    resuming: Arc<ClientConfig>,
    stock: Arc<Stock>,
}

impl Supply {
    /// `base` knows everything but the client, and resumes nothing.
    pub(crate) fn new(
        base: ClientConfig,
        Clients { seen, unseen }: Clients,
        unseen_share: Percent,
        resume_share: Percent,
    ) -> Self {
        let seen = if seen.is_empty() {
            vec![Seen::new(&base, None, resume_share)]
        } else {
            seen.into_iter().map(|client| Seen::new(&base, Some(client), resume_share)).collect()
        };
        Self {
            base,
            seen,
            next_seen: 0,
            unseen,
            unseen_mix: Mix::new(unseen_share),
            resume_mix: Mix::new(resume_share),
        }
    }

    /// The client of the next connection.
    pub(crate) fn choose(&mut self) -> Result<Chosen, Exhausted> {
        if self.resume_mix.draw()
            && let Some(seen) = self.with_session()
        {
            return Ok(Chosen {
                config: Arc::clone(&seen.resuming),
                stock: Some(Arc::clone(&seen.stock)),
            });
        }
        if self.unseen_mix.draw() {
            let client = self.unseen.pop().ok_or(Exhausted)?;
            let mut config = self.base.clone();
            config.client_auth_cert_resolver = Arc::new(Only(client));
            return Ok(Chosen { config: Arc::new(config), stock: None });
        }
        let seen = &self.seen[self.next_seen];
        let config = Arc::clone(&seen.full);
        self.next_seen = (self.next_seen + 1) % self.seen.len();
        Ok(Chosen { config, stock: None })
    }

    /// The next of the seen who has a session to offer.
    fn with_session(&mut self) -> Option<&Seen> {
        for _ in 0..self.seen.len() {
            let turn = self.next_seen;
            self.next_seen = (turn + 1) % self.seen.len();
            if !self.seen[turn].stock.is_empty() {
                return Some(&self.seen[turn]);
            }
        }
        None
    }
}

impl Seen {
    fn new(base: &ClientConfig, client: Option<Arc<CertifiedKey>>, resume: Percent) -> Self {
        let mut full = base.clone();
        if let Some(client) = client {
            full.client_auth_cert_resolver = Arc::new(Only(client));
        }
        let stock = Arc::new(Stock::default());
        // rustls resumes only under the same verifier and resolver: both are cloned with the configuration.
        let mut resuming = full.clone();
        resuming.resumption = Resumption::store(Arc::new(Offering(Arc::clone(&stock))));
        full.resumption = if resume.is_some() {
            Resumption::store(Arc::new(Keeping(Arc::clone(&stock))))
        } else {
            Resumption::disabled()
        };
        Self { full: Arc::new(full), resuming: Arc::new(resuming), stock }
    }
}

/// Spreads a share evenly: 25 percent is every fourth time.
struct Mix {
    share: f64,
    owed: f64,
}

impl Mix {
    fn new(share: Percent) -> Self {
        Self { share: share.value() / 100.0, owed: 0.0 }
    }

    fn draw(&mut self) -> bool {
        self.owed += self.share;
        // A sum of tenths is a little less than one.
        let due = self.owed > 1.0 - 1e-9;
        if due {
            self.owed -= 1.0;
        }
        due
    }
}

/// One certificate, whatever CAs the server names: what the server makes of it is what is tested.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesClientCert for Only {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_exactly() {
        for (percent, expected) in [("0", 0), ("10", 100), ("33.3", 333), ("100", 1_000)] {
            let mut mix = Mix::new(percent.parse().unwrap());
            assert_eq!((0..1_000).filter(|_| mix.draw()).count(), expected, "{percent}");
        }
    }
}
