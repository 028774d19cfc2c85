//! Path validation against what others have published: NIST's PKITS, and certificates that OpenSSL signed.

mod pkits;
mod sha1;
