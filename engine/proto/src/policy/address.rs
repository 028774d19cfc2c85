//! IP addresses and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::identity::shown;
use crate::policy::rule::Action;

/// One address, or all that begin alike: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32` (RFC 4632, RFC 4291 section 2.3).
///
/// An IPv4 address and its IPv4-mapped form (RFC 4291 section 2.5.5.2) are one address; it is written as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPrefix {
    /// All addresses in one space: the IPv4 ones are where they are mapped to, in ::ffff:0:0/96.
    bits: u128,
    /// How many of the 128 count, from the left.
    length: u32,
}

const MAPPED_LENGTH: u32 = 96;

impl AddressPrefix {
    /// Whether the address lies within.
    ///
    /// An IPv6 range so wide that the IPv4-mapped addresses lie in it (as `::/0`) is not about IPv4. But a deny rule
    /// sees an address that was written in mapped form in either way.
    pub fn matches(&self, action: Action, name: IpAddr) -> bool {
        mask(self.length) & bits(name) == self.bits && self.length >= shortest(action, name)
    }

    /// How many bits count, and these bits, in the space that [`bits`] has.
    pub(super) fn parts(&self) -> (u32, u128) {
        (self.length, self.bits)
    }
}

/// The shortest prefix that is about an address at all.
pub(super) fn shortest(action: Action, name: IpAddr) -> u32 {
    let is_ipv4 = match action {
        Action::Allow => name.to_canonical().is_ipv4(),
        Action::Deny => name.is_ipv4(),
    };
    if is_ipv4 { MAPPED_LENGTH } else { 0 }
}

/// The place of an address in the space of all of them.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first bits, so many of them.
pub(super) fn mask(length: u32) -> u128 {
    // A shift by all 128 bits would be an overflow.
    u128::MAX.checked_shl(u128::BITS - length).unwrap_or(0)
}

impl FromStr for AddressPrefix {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<AddressPrefix, AddressError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| AddressError::Address { text: shown(address) })?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(length) => Some(length)
                .filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|length| length.parse().ok())
                .filter(|length| *length <= longest)
                .ok_or_else(|| AddressError::Length { length: shown(length), longest })?,
        };
        let length = length + (u128::BITS - longest);
        let prefix = AddressPrefix { bits: bits(address) & mask(length), length };
        if prefix.bits != bits(address) {
            return Err(AddressError::HostBits { text: shown(text), prefix, address });
        }
        Ok(prefix)
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from_bits(self.bits);
        let (address, longest, length) = match v6.to_ipv4_mapped() {
            Some(v4) if self.length >= MAPPED_LENGTH => {
                (IpAddr::V4(v4), 32, self.length - MAPPED_LENGTH)
            }
            _ => (IpAddr::V6(v6), 128, self.length),
        };
        if length == longest { write!(f, "{address}") } else { write!(f, "{address}/{length}") }
    }
}

/// Why a text is neither an address nor a range of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not an address of either family.
    #[error(
        "`{text}` is no IP address: write one as 192.0.2.7 or 2001:db8::7, a range as 10.0.0.0/8 or 2001:db8::/32"
    )]
    Address {
        /// The beginning of the text.
        text: String,
    },
    /// What follows the slash is no length of a prefix.
    #[error(
        "`/{length}` is no length of a prefix: write a number from 0 to {longest}, a netmask in bits"
    )]
    Length {
        /// The beginning of what follows the slash.
        length: String,
        /// The longest possible, in bits.
        longest: u32,
    },
    /// Bits beyond the prefix are set, so that one of the two is a mistake.
    #[error(
        "`{text}` sets bits beyond its prefix: write {prefix} for the range, {address} for the one address"
    )]
    HostBits {
        /// The beginning of the text.
        text: String,
        /// The range, without these bits.
        prefix: AddressPrefix,
        /// The address alone.
        address: IpAddr,
    },
}
