//! The floors that the hardware and the kernel set, measured in the same rounds on the server's core.

pub(crate) mod backend;
pub(crate) mod conversation;
pub(crate) mod cryptography;
pub(crate) mod symmetric;
