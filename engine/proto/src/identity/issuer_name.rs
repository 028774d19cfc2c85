//! Issuers' names, read once: the clients that were never seen before mostly come under a CA that was.

use std::sync::{Arc, OnceLock};

use x509_parser::asn1_rs::FromDer;
use x509_parser::x509::X509Name;

use super::distinguished_name::DistinguishedName;
use super::{IdentityError, malformed};

/// Names that are kept. The CAs below one trust domain that issue clients are few; further ones are read
/// anew each time.
const NAMES: usize = 16;

/// Names longer than this are read anew each time.
const DER_BYTES_MAX: usize = 1_024;

/// The issuer of a client's certificate, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IssuerName {
    /// As an RFC 4514 string, control characters escaped.
    pub(super) text: String,
    /// Unescaped.
    pub(super) common_names: Vec<String>,
}

/// The names that were read, each written once and then only read.
#[derive(Debug, Default)]
pub(crate) struct IssuerNames {
    known: [OnceLock<Known>; NAMES],
}

#[derive(Debug)]
struct Known {
    der: Box<[u8]>,
    name: Arc<IssuerName>,
}

impl IssuerNames {
    /// The name of which this is the DER with its header.
    pub(super) fn read(&self, der: &[u8]) -> Result<Arc<IssuerName>, IdentityError> {
        let mut known = self.known.iter().map_while(OnceLock::get);
        if let Some(known) = known.find(|known| *known.der == *der) {
            return Ok(Arc::clone(&known.name));
        }
        let (_, name) = X509Name::from_der(der).map_err(malformed)?;
        let DistinguishedName { text, common_names, .. } =
            DistinguishedName::read("issuer", &name)?;
        let name = Arc::new(IssuerName { text, common_names });
        if der.len() <= DER_BYTES_MAX
            && let Some(free) = self.known.iter().find(|slot| slot.get().is_none())
        {
            // Another thread may have taken the place: then it is read once more.
            let _ = free.set(Known { der: der.into(), name: Arc::clone(&name) });
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_once_and_strangers_do_not_push_it_out() {
        let names = IssuerNames::default();
        let first = names.read(&named(0)).expect("a name");
        assert_eq!((&*first.text, &*first.common_names), ("CN=ca 00", &["ca 00".to_owned()][..]));
        for number in 0..2 * NAMES {
            let name = names.read(&named(number)).expect("a name");
            assert_eq!(name.text, format!("CN=ca {number:02}"));
        }
        assert!(Arc::ptr_eq(&first, &names.read(&named(0)).expect("a name")));
        assert!(names.read(&named(0)[1..]).is_err(), "no name at all");
    }

    /// CN=ca NN.
    fn named(number: usize) -> Vec<u8> {
        let text = format!("ca {number:02}");
        let prefix = [0x30, 16, 0x31, 14, 0x30, 12, 6, 3, 0x55, 4, 3, 0x0c, 5];
        [&prefix, text.as_bytes()].concat()
    }
}
