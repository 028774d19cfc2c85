//! Ticket keys that the nodes of an estate share: a file of them, one key a line, the first one seals; or a key in a
//! token, from which they are derived.

mod token;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use countersign_proto::TicketKey;
use zeroize::Zeroizing;

pub use token::TokenTicketKeys;

/// Where ticket keys come from that are not the process' own.
#[derive(Clone, Debug)]
pub enum TicketKeySource {
    /// A file.
    File(TicketKeyFile),
    /// A secret key in a PKCS#11 token.
    Token(Box<TokenTicketKeys>),
}

/// Keys in a file: more than that never open a ticket that is still good.
const KEYS_MAX: usize = 16;

const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Any of these lets somebody else read or change it.
const OTHERS: u32 = 0o077;

/// The keys of a file, and what the file was like when they were read.
#[derive(Clone, Debug)]
pub struct TicketKeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// At least one; the first one seals.
    pub keys: Vec<TicketKey>,
    /// By which a change is noticed.
    pub stamp: Stamp,
}

/// What changes when a file does, or when another one is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

impl TicketKeyFile {
    /// Reads and checks it.
    ///
    /// # Errors
    /// What is wrong, to go on from the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error: io::Error| format!("cannot be read: {error}");
        // A reload must not wait for whoever may write into a pipe.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err("is not a regular file".into());
        }
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.mode() & OTHERS != 0 {
            return Err(format!(
                "may be read or changed by others (mode {:04o}), and whoever has a ticket key can pose as any client; say `chmod 600`",
                metadata.mode() & 0o7777
            ));
        }
        let room = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or(0) + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(room));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
        }
        Ok(Self { path: path.to_owned(), keys: parse(&content)?, stamp: Stamp::of(&metadata) })
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }

    /// Of what stands at `path` now; `None` if nothing does.
    #[must_use]
    pub fn now(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::of)
    }
}

fn parse(content: &[u8]) -> Result<Vec<TicketKey>, String> {
    let mut keys: Vec<(usize, TicketKey)> = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let number = index + 1;
        // What stands in the line is a secret, or was meant to be one: it is not repeated.
        let wrong = |problem: &dyn std::fmt::Display| format!("line {number}: {problem}");
        let secret = decode(line).ok_or_else(|| {
            wrong(&"is neither hex nor base64; make a key with `openssl rand -hex 32`")
        })?;
        let key = TicketKey::new(secret).map_err(|error| {
            wrong(&format_args!("{error}; make one with `openssl rand -hex 32`"))
        })?;
        if let Some((first, _)) = keys.iter().find(|(_, known)| *known == key) {
            return Err(wrong(&format_args!("is the key of line {first} again; keep one")));
        }
        if keys.len() == KEYS_MAX {
            return Err(wrong(&format_args!("there may be {KEYS_MAX} keys; take out old ones")));
        }
        keys.push((number, key));
    }
    if keys.is_empty() {
        return Err("has no key in it; make one with `openssl rand -hex 32`".into());
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// Hex where there are only its digits, else base64, padded or not.
fn decode(line: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(line.len()));
    if line.iter().all(u8::is_ascii_hexdigit) {
        let (pairs, odd) = line.as_chunks::<2>();
        for [high, low] in pairs {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        }
        return odd.is_empty().then_some(bytes);
    }
    let end = line.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (digits, padding) = line.split_at(end);
    let is_padded = padding.is_empty() || line.len().is_multiple_of(4) && padding.len() <= 2;
    for chunk in digits.chunks(4) {
        let mut bits = 0;
        for digit in chunk {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        let count = chunk.len() * 6 / 8;
        bits <<= 24 - chunk.len() * 6;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=count]);
        // A lone digit has no byte in it, and what is left over of the last ones is zero (RFC 4648 §3.5).
        if count == 0 || count < 3 && bits & (0x00ff_ffff >> (count * 8)) != 0 {
            return None;
        }
    }
    is_padded.then_some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64_are_one_key() {
        let hex = "00fb".repeat(16);
        let base64 = "APsA+wD7APsA+wD7APsA+wD7APsA+wD7APsA+wD7APs=";
        let keys = parse(format!("# from the vault\n\n  {hex} \r\n").as_bytes()).expect("hex");
        assert_eq!(keys, parse(base64.as_bytes()).expect("base64"));
        assert_eq!(keys, parse(base64.trim_end_matches('=').as_bytes()).expect("without padding"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_secret() {
        let good = "ab".repeat(32);
        for (content, line, what) in [
            (format!("{good}\nhello world\n"), "line 2: ", "neither hex nor base64"),
            ("ab".repeat(31), "line 1: ", "32 to 128 bytes; this has 31"),
            ("ab".repeat(129), "line 1: ", "this has 129"),
            (format!("# one\n{good}\n\n{good}"), "line 4: ", "the key of line 2 again"),
            (format!("{good}a"), "line 1: ", "neither hex nor base64"),
            (format!("{}=", "A".repeat(44)), "line 1: ", "neither"),
            (format!("{}B=", "A".repeat(42)), "line 1: ", "neither"),
            ("# nothing\n".to_owned(), "", "has no key in it"),
        ] {
            let error = parse(content.as_bytes()).expect_err(&content);
            assert!(error.starts_with(line) && error.contains(what), "{content}: {error}");
            assert!(!error.contains(&good) && !error.contains("hello"), "{error}");
        }
        let many: String = (0..17).map(|number| format!("{number:064x}\n")).collect();
        let error = parse(many.as_bytes()).expect_err("too many");
        assert!(error.starts_with("line 17: there may be 16 keys"), "{error}");
    }
}
