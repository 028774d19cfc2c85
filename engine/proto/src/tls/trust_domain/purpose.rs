//! What a certificate is for: TLS client authentication.

use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use crate::identity::{ANY_EXTENDED_KEY_USAGE, CLIENT_AUTH};

/// Decides as [`KeyUsage::client_auth`] does: clientAuth is named, or there is no extended key usage.
///
/// webpki's own keeps each purpose that it has read, decoded, for its error: a certificate can hold
/// twenty thousand, and whoever shows it need not be known. This one says at most that any use is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAuth;

impl ExtendedKeyUsageValidator for ClientAuth {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut is_empty, mut any) = (true, false);
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == KeyPurposeId::new(CLIENT_AUTH) {
                return Ok(());
            }
            is_empty = false;
            any |= purpose == KeyPurposeId::new(ANY_EXTENDED_KEY_USAGE);
        }
        if is_empty {
            return Ok(());
        }
        let present = if any { vec![vec![2, 5, 29, 37, 0]] } else { Vec::new() };
        let required = KeyUsage::client_auth();
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}
