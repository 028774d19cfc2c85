//! A PROXY header from a balancer: one answer however it comes, found without asking for more than is read.

use std::net::SocketAddr;

use countersign_proto::limits::RECEIVED_PROXY_HEADER_BYTES_MAX;
use countersign_proto::proxy_protocol::{
    Announcement, Format, Received, V1_BYTES_MAX, parse, write_v1, write_v2,
};

use crate::outcome::note;

/// A line is asked for byte by byte, the other version in three pieces.
const STEPS_MAX: usize = V1_BYTES_MAX + 8;

pub(super) fn target(data: &[u8]) {
    let verdict = parse(data);
    match &verdict {
        Ok(Received::Whole { length, addresses }) => {
            assert!((1..=data.len()).contains(length));
            assert_eq!(parse(&data[..*length]), verdict, "what follows is not the header's");
            note(if addresses.is_some() { "addresses" } else { "no addresses" });
        }
        Ok(Received::Partial { needs }) => {
            assert!(*needs > data.len() && *needs <= RECEIVED_PROXY_HEADER_BYTES_MAX);
            note("partial");
        }
        Err(error) => note(error),
    }
    // As somebody reads who waits for what is asked for, until nothing more comes.
    let (mut arrived, mut steps) = (0, 0);
    let settled = loop {
        match parse(&data[..arrived]) {
            Ok(Received::Partial { needs }) if arrived < data.len() => {
                assert!(needs > arrived, "it asks for no more than it has");
                arrived = needs.min(data.len());
                steps += 1;
                assert!(steps <= STEPS_MAX, "it goes on asking");
            }
            settled => break settled,
        }
    };
    match (&verdict, &settled) {
        // Which fault is noticed first may depend on how much is there, that there is one not.
        (Err(_), Err(_)) => {}
        (Ok(_), Ok(_)) => assert_eq!(verdict, settled),
        _ => panic!("{verdict:?}, and as it is asked for {settled:?}"),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let pairs =
        [("192.0.2.7:49153", "198.51.100.1:443"), ("[2001:db8::7]:1", "[2001:db8::1]:65535")];
    let mut seeds = Vec::new();
    for (source, destination) in
        pairs.map(|(source, destination)| (address(source), address(destination)))
    {
        let mut line = Vec::new();
        write_v1(&mut line, source, destination);
        let announcement = Announcement {
            source,
            destination,
            connection: None,
            authority: Some("api.example.org"),
            alpn: Some("h2"),
            tls: None,
        };
        let mut header = Vec::new();
        write_v2(&mut header, &announcement, &Format::default());
        seeds.extend([[&line[..], b"\x16\x03\x01"].concat(), line, header]);
    }
    let mut plain = seeds[2][..28].to_vec();
    (plain[14], plain[15]) = (0, 12);
    let mut local = plain.clone();
    local[12] = 0x20;
    let of_any_length = [&plain[..15], &[15], &plain[16..], &[4, 0, 0]].concat();
    seeds.extend([plain, local, of_any_length]);
    seeds.extend([&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 2 3\r\n"].map(Vec::from));
    seeds
}
