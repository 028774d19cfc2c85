//! The PROXY protocol header that tells an upstream of its client.

use std::hint::black_box;
use std::net::SocketAddr;

use countersign_proto::proxy_protocol::{CertificateState, ProxyTls, header};
use criterion::Criterion;

pub(crate) fn benches(criterion: &mut Criterion) {
    super::compare_with(
        "proxy_protocol/",
        "about 120 bytes, once for a connection: compare with the microsecond or more of the connect(2) before it",
    );
    let tls = ProxyTls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        common_name: Some("client.example"),
        certificate: CertificateState::Verified,
    };
    let mut group = criterion.benchmark_group("proxy_protocol");
    for (name, source, destination) in [
        ("v2_ipv4", "192.0.2.7:50000", "192.0.2.1:443"),
        ("v2_ipv6", "[2001:db8::7]:50000", "[2001:db8::1]:443"),
    ] {
        let source: SocketAddr = source.parse().expect("an address");
        let destination: SocketAddr = destination.parse().expect("an address");
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                header(&mut out, source, destination, Some(black_box(&tls)));
                out.len()
            });
        });
    }
    group.finish();
}
