//! What a large revocation list costs: makes one of so many serial numbers (ten million, or the first
//! argument) in a file (the second argument, or a temporary one), signed as by a CA; reads it as the
//! engine does; looks serial numbers up.
#![forbid(unsafe_code)]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use countersign_proto::revocation::{ListReader, RevocationList};

const SERIALS: u64 = 10_000_000;
const SERIAL_BYTES: usize = 20;
const LOOKUPS: u64 = 2_000_000;
const CHUNK_BYTES: usize = 256 * 1024;

/// ecdsa-with-SHA256, a SEQUENCE.
const ALGORITHM: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Up to the point of a P-256 SubjectPublicKeyInfo.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(SERIALS);
    let path = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("large-{}.crl", std::process::id())),
        PathBuf::from,
    );
    let mut out = io::stdout().lock();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(io::Error::other)?;
    let began = Instant::now();
    let bytes = make(&path, count, &key)?;
    writeln!(out, "made       {count} serial numbers, {bytes} bytes, {:?}", began.elapsed())?;

    let before = resident_bytes()?;
    let (began, processor) = (Instant::now(), processor_time()?);
    let list = read(&path)?;
    let (took, processor) = (began.elapsed(), processor_time()? - processor);
    let (peak, now) = (peak_bytes()?, resident_bytes()?);
    let each = |bytes: u64| bytes as f64 / count as f64;
    let rate = bytes as f64 / processor.as_secs_f64() / 1e6;
    writeln!(out, "read       {took:?}, {processor:?} of a processor, {rate:.0} MB/s of it")?;
    writeln!(
        out,
        "memory     {:.2} bytes a serial number as counted, {:.2} resident; while reading at most {:.2}",
        each(list.memory_bytes() as u64),
        each(now.saturating_sub(before)),
        each(peak.saturating_sub(before)),
    )?;
    let spki = [&SPKI[..], key.public_key().as_ref()].concat();
    let began = Instant::now();
    assert!(list.is_signed_by(&spki), "the signature holds");
    writeln!(out, "signature  {:?}", began.elapsed())?;

    // Spread over the list, so that each finds a cold cache line.
    let stride = (count / 7 * 5) | 1;
    let hits = lookups(&list, |number| serial(number * stride % count))?;
    let misses = lookups(&list, |number| serial(count + number))?;
    writeln!(
        out,
        "lookup     {hits:?} of a processor for one that is there, {misses:?} for one that is not"
    )?;
    let began = Instant::now();
    drop(list);
    writeln!(out, "freed      {:?}", began.elapsed())?;
    std::fs::remove_file(&path)
}

fn lookups(
    list: &RevocationList,
    serial: impl Fn(u64) -> [u8; SERIAL_BYTES],
) -> io::Result<Duration> {
    let numbers = || 0..LOOKUPS;
    let began = processor_time()?;
    let sum = numbers().map(|number| u64::from(serial(number)[7])).sum::<u64>();
    black_box(sum);
    let making = processor_time()? - began;
    let began = processor_time()?;
    let found = numbers().filter(|number| list.reason(&serial(*number)).is_some()).count();
    black_box(found);
    Ok((processor_time()? - began).saturating_sub(making) / LOOKUPS as u32)
}

/// What this thread has had of a processor (proc(5), schedstat): others may be running too.
fn processor_time() -> io::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| io::Error::other("no time in schedstat"))
}

fn read(path: &Path) -> io::Result<RevocationList> {
    let mut file = File::open(path)?;
    let mut reader = ListReader::new(file.metadata()?.len());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return reader
                .finish()
                .map_err(io::Error::other)?
                .pop()
                .ok_or_else(|| io::Error::other("no list"));
        }
        reader.push(&chunk[..count]).map_err(io::Error::other)?;
    }
}

/// A serial number as CAs draw them: positive, and without an order.
fn serial(number: u64) -> [u8; SERIAL_BYTES] {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut serial = [0; SERIAL_BYTES];
    for chunk in serial.chunks_mut(8) {
        chunk.copy_from_slice(&next().to_be_bytes()[..chunk.len()]);
    }
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn header(tag: u8, length: u64) -> Vec<u8> {
    let bytes = (length as u32).to_be_bytes();
    match length {
        0..=0x7f => vec![tag, bytes[3]],
        0x80..=0xff => vec![tag, 0x81, bytes[3]],
        0x100..=0xffff => vec![tag, 0x82, bytes[2], bytes[3]],
        0x1_0000..=0xff_ffff => vec![tag, 0x83, bytes[1], bytes[2], bytes[3]],
        _ => vec![tag, 0x84, bytes[0], bytes[1], bytes[2], bytes[3]],
    }
}

/// Writes the list and gives its size.
fn make(path: &Path, count: u64, key: &EcdsaKeyPair) -> io::Result<u64> {
    const ENTRY_BYTES: u64 = 2 + (2 + SERIAL_BYTES as u64) + 15;
    let name = [&[0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 3, 0x0c, 2][..], b"CA"].concat();
    let number = [0xa0, 14, 0x30, 12, 0x30, 10, 6, 3, 0x55, 0x1d, 20, 4, 3, 2, 1, 7];
    let before = [
        &[2, 1, 1],
        &ALGORITHM[..],
        &name,
        &[0x17, 13],
        b"260101000000Z",
        &[0x17, 13],
        b"490101000000Z",
        &header(0x30, count * ENTRY_BYTES),
    ]
    .concat();
    let tbs_bytes = before.len() as u64 + count * ENTRY_BYTES + number.len() as u64;
    let tbs_header = header(0x30, tbs_bytes);
    let mut hash = Context::new(&SHA256);
    // The outer header is written last: the signature's size varies.
    let body = path.with_extension("body");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&body)?);
    let mut write = |bytes: &[u8]| {
        hash.update(bytes);
        file.write_all(bytes)
    };
    write(&tbs_header)?;
    write(&before)?;
    for at in 0..count {
        let mut entry = [0; ENTRY_BYTES as usize];
        entry[..4].copy_from_slice(&[0x30, ENTRY_BYTES as u8 - 2, 2, SERIAL_BYTES as u8]);
        entry[4..4 + SERIAL_BYTES].copy_from_slice(&serial(at));
        entry[4 + SERIAL_BYTES..6 + SERIAL_BYTES].copy_from_slice(&[0x17, 13]);
        entry[6 + SERIAL_BYTES..].copy_from_slice(b"251231235959Z");
        write(&entry)?;
    }
    write(&number)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    let signature = key.sign_digest(&hash.finish()).map_err(io::Error::other)?;
    let signature =
        [&header(3, signature.as_ref().len() as u64 + 1)[..], &[0], signature.as_ref()].concat();
    let inside = tbs_header.len() as u64 + tbs_bytes + (ALGORITHM.len() + signature.len()) as u64;
    let mut whole = BufWriter::with_capacity(1 << 20, File::create(path)?);
    whole.write_all(&header(0x30, inside))?;
    io::copy(&mut File::open(&body)?, &mut whole)?;
    whole.write_all(&ALGORITHM)?;
    whole.write_all(&signature)?;
    whole.flush()?;
    std::fs::remove_file(&body)?;
    Ok(std::fs::metadata(path)?.len())
}

fn resident_bytes() -> io::Result<u64> {
    status("VmRSS:")
}

fn peak_bytes() -> io::Result<u64> {
    status("VmHWM:")
}

/// A line of /proc/self/status (proc(5)), in bytes.
fn status(name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("no such line"))
}
