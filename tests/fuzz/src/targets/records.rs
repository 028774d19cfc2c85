//! What a client does that was let in: whatever it sends, the upstream hears no more than the data that it sealed, in
//! its order, and the connection ends.
//!
//! ```text
//! input = version (1)  steps
//! step  = kind (1)  length (2)  content
//! ```
//!
//! An even version is TLS 1.3. Of the kinds [`RAW`] puts the content on the wire as it is, [`UPSTREAM`] lets the
//! upstream say it, [`PADDED`] and more is sealed with so many zeros behind it; every other is the type of a record
//! that is sealed.

use std::sync::Arc;

use countersign_proto::Side;
use rustls::ClientConfig;

use crate::client::{self, Liar, Version};
use crate::outcome::note;
use crate::session::Worker;

const DATA: u8 = 23;
const RAW: u8 = 0xfe;
const UPSTREAM: u8 = 0xff;
/// Application data with as many zeros as the kind is larger.
const PADDED: u8 = 0x80;

struct World {
    worker: Worker,
    configs: [Arc<ClientConfig>; 2],
}

thread_local! {
    static WORLD: World = World::new();
}

pub(super) fn target(data: &[u8]) {
    let Some((version, mut steps)) = data.split_first() else { return };
    WORLD.with(|world| {
        let is_tls12 = version & 1 == 1;
        let version = if is_tls12 { Version::Tls12 } else { Version::Tls13 };
        let config = &world.configs[usize::from(is_tls12)];
        let (mut liar, mut session) = Liar::let_in(&world.worker, config, version);
        let mut said = Vec::new();
        while let Some((kind, content)) = next(&mut steps) {
            let wire = match kind {
                UPSTREAM => {
                    session.receive(Side::Upstream, content, content.len());
                    continue;
                }
                RAW => content.to_vec(),
                PADDED.. => {
                    said.extend_from_slice(content);
                    liar.seal(DATA, content, usize::from(kind - PADDED))
                }
                kind => {
                    said.extend_from_slice(data_in(version, kind, content));
                    liar.seal(kind, content, 0)
                }
            };
            session.receive(Side::Client, &wire, wire.len());
        }
        let heard = std::mem::take(&mut session.to_upstream);
        assert!(said.starts_with(&heard), "the upstream heard what was not said");
        let all = heard.len() == said.len();
        // Numbers are left out of outcomes.
        let version = if is_tls12 { "one-two" } else { "one-three" };
        let part = if all { "all" } else { "some" };
        note(format_args!("TLS {version} {} {part}", session.phase()));
        note(session.end());
    });
}

/// What of a record is data for the upstream. In TLS 1.3 the last byte that is not zero is the type, whatever was meant
/// to be (RFC 9846 §5.4).
fn data_in(version: Version, kind: u8, content: &[u8]) -> &[u8] {
    let is_padding = version == Version::Tls13 && kind == 0;
    let (kind, content) = match content.iter().rposition(|byte| *byte != 0) {
        Some(last) if is_padding => (content[last], &content[..last]),
        _ => (kind, content),
    };
    if kind == DATA { content } else { &[] }
}

fn next<'a>(steps: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[kind, high, low], rest) = steps.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (content, rest) = rest.split_at(length.min(rest.len()));
    *steps = rest;
    Some((kind, content))
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    // What they stand on is made before the first input is measured.
    WORLD.with(|_| {});
    let close: &[u8] = &[1, 0];
    let key_update = |request| [24, 0, 0, 1, request];
    let ask = key_update(1);
    let tell = key_update(0);
    let large = vec![7; 16_384];
    let scripts: [&[(u8, &[u8])]; 8] = [
        &[(DATA, b"GET / HTTP/1.1\r\n\r\n"), (UPSTREAM, b"HTTP/1.1 200 OK\r\n\r\n"), (21, close)],
        &[(DATA, &large), (DATA, b""), (PADDED + 9, b"padded"), (PADDED, b""), (DATA, b"end")],
        &[(22, &ask), (DATA, b"under new keys"), (22, &tell), (DATA, b"again"), (21, close)],
        &[(22, &ask), (22, &ask), (22, &ask), (UPSTREAM, b"answer"), (DATA, b"on")],
        &[(DATA, b"one"), (RAW, &[23, 3, 3, 0, 20, 0]), (DATA, b"two")],
        &[(RAW, &[20, 3, 3, 0, 1, 1]), (DATA, b"one"), (21, &[2, 40]), (DATA, b"two")],
        &[(DATA, b"one"), (21, close), (DATA, b"two"), (UPSTREAM, b"late"), (22, &[24, 0])],
        // HelloRequest, which means renegotiation; a warning.
        &[(22, &[0, 0, 0, 0]), (22, &[1, 0, 0, 0]), (21, &[1, 90]), (DATA, b"on"), (DATA, b"")],
    ];
    let step = |(kind, content): &(u8, &[u8])| {
        [&[*kind][..], &(content.len() as u16).to_be_bytes(), content].concat()
    };
    let script = |version: u8, steps: &[(u8, &[u8])]| {
        [vec![version], steps.iter().flat_map(step).collect()].concat()
    };
    scripts.iter().flat_map(|steps| [0, 1].map(|version| script(version, steps))).collect()
}

impl World {
    fn new() -> Self {
        let mut worker = Worker::new();
        let configs = [Version::Tls13, Version::Tls12]
            .map(|version| client::config(&mut worker, version, false));
        Self { worker, configs }
    }
}
