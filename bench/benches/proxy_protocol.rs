//! The PROXY protocol header that tells an upstream of its client.

use std::hint::black_box;
use std::net::SocketAddr;

use countersign_proto::proxy_protocol::{
    Announcement, CertificateState, Format, ProxyClient, ProxyTls, write_v2,
};
use criterion::Criterion;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "proxy_protocol/",
        "about 450 bytes, once for a connection: compare with the microsecond or more of the connect(2) before it",
    );
    let tls = ProxyTls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        group: Some("X25519MLKEM768"),
        certificate_signature: Some("ecdsa-with-SHA256"),
        certificate_key: Some("EC256"),
        signature_scheme: Some("ecdsa_secp256r1_sha256"),
        certificate: CertificateState::Verified,
        client: ProxyClient {
            common_name: Some("client.example"),
            signature_scheme: Some("ecdsa_secp256r1_sha256"),
            ..ProxyClient::default()
        },
    };
    let mut group = criterion.benchmark_group("proxy_protocol");
    for (name, source, destination) in [
        ("v2_ipv4", "192.0.2.7:50000", "192.0.2.1:443"),
        ("v2_ipv6", "[2001:db8::7]:50000", "[2001:db8::1]:443"),
    ] {
        let source: SocketAddr = source.parse().expect("an address");
        let destination: SocketAddr = destination.parse().expect("an address");
        let announcement = Announcement {
            source,
            destination,
            connection: None,
            authority: Some("server.example"),
            alpn: Some("http/1.1"),
            tls: Some(tls),
        };
        let format = Format::default();
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                write_v2(&mut out, black_box(&announcement), &format);
                out.len()
            });
        });
    }
    group.finish();
}
