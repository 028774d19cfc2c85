//! The clients: certificates and keys, given or issued ahead of the run.

mod authority;
mod supply;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::arguments::Arguments;
use crate::plan::certificates;
use authority::Authority;
pub(crate) use supply::{Exhausted, Supply};

/// One client: what it sends, what it signs with.
pub(crate) struct Client {
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
}

/// All clients of a run.
pub(crate) struct Pool {
    /// Those who come again and again.
    seen: Vec<Client>,
    /// Those who come once.
    unseen: Vec<Arc<CertifiedKey>>,
}

/// The clients of one runtime.
#[derive(Default)]
pub(crate) struct Clients {
    /// Those who come again and again.
    pub(crate) seen: Vec<Arc<CertifiedKey>>,
    /// Those who come once, and to no other runtime.
    pub(crate) unseen: Vec<Arc<CertifiedKey>>,
}

impl Client {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let certified = certified(chain, &key)?;
        Ok(Self { key, certified })
    }

    /// The same client with a key object of its own, so that runtimes share no reference counts.
    fn separate(&self) -> Arc<CertifiedKey> {
        certified(self.certified.cert.clone(), &self.key).expect("it was parsed before")
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    let signer = any_supported_type(key).map_err(|error| error.to_string())?;
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}

impl Pool {
    /// Reads or issues what the command line asks for; keys are made by all CPUs.
    pub(crate) fn prepare(arguments: &Arguments) -> Result<Self, String> {
        if let (Some(certificate), Some(key)) =
            (&arguments.client_certificate, &arguments.client_key)
        {
            return Ok(Self { seen: vec![read(certificate, key)?], unseen: Vec::new() });
        }
        let authority = match (&arguments.client_ca, &arguments.client_ca_key) {
            (Some(certificates), Some(key)) => Authority::read(certificates, key)?,
            _ => match &arguments.make_client_ca {
                Some(directory) => Authority::make_or_reuse(directory)?,
                None => return Ok(Self { seen: Vec::new(), unseen: Vec::new() }),
            },
        };
        // Without --unseen nobody would use more of them than --seen.
        let wanted = match arguments.clients {
            Some(clients) if arguments.unseen.is_some() => clients,
            Some(clients) => clients.min(arguments.seen),
            None => arguments.seen,
        };
        let mut seen = issue(&authority, arguments, wanted)?;
        let unseen = seen.split_off(seen.len().min(arguments.seen));
        Ok(Self { seen, unseen: unseen.into_iter().map(|client| client.certified).collect() })
    }

    /// What each of `of` runtimes works with.
    pub(crate) fn divide(self, of: usize) -> Vec<Clients> {
        let seen = || self.seen.iter().map(Client::separate).collect();
        let mut parts: Vec<Clients> =
            (0..of).map(|_| Clients { seen: seen(), unseen: Vec::new() }).collect();
        for (number, client) in self.unseen.into_iter().enumerate() {
            parts[number % of].unseen.push(client);
        }
        parts
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Client, String> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| format!("{}: not a private key in PEM: {error}", key.display()))?;
    let client = Client::new(chain, private)
        .map_err(|error| format!("{}: not a usable key: {error}", key.display()))?;
    if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) =
        client.certified.keys_match()
    {
        let names = (key.display(), certificate.display());
        return Err(format!("{} is not the key of {}", names.0, names.1));
    }
    Ok(client)
}

fn issue(
    authority: &Authority,
    arguments: &Arguments,
    count: usize,
) -> Result<Vec<Client>, String> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let of_thread = count.div_ceil(threads);
    let issue_some = |first: usize| -> Result<Vec<Client>, String> {
        (first..count.min(first + of_thread))
            .map(|number| {
                let name = format!("{}-{:06}", arguments.common_name, number + 1);
                let dns = format!("{name}.{}-domain", arguments.common_name);
                let (chain, key) = authority.issue(&name, &dns, arguments.client_key_type)?;
                Client::new(chain, key)
            })
            .collect()
    };
    let issued: Result<Vec<Vec<Client>>, String> = thread::scope(|scope| {
        let issue_some = &issue_some;
        let started: Vec<_> = (0..count)
            .step_by(of_thread)
            .map(|first| scope.spawn(move || issue_some(first)))
            .collect();
        started.into_iter().map(|thread| thread.join().expect("issuing does not panic")).collect()
    });
    Ok(issued?.into_iter().flatten().collect())
}
