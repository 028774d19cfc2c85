//! Fixed workloads of our own code, with as little cryptography as can be: what they cost in
//! instructions changes only with the code.

use std::hint::black_box;
use std::net::SocketAddr;

use countersign_proto::proxy_protocol::{
    self, Announcement, CertificateState, Format, ProxyClient, ProxyTls, Tlv,
};
use countersign_proto::whoami::Whoami;
use countersign_proto::{ClientIdentity, Policy, Rule, Side, Subject};
use serde_json::json;

use crate::client::Client;
use crate::pki::Pki;
use crate::server::Server;

/// How often each operation is done before it is counted: lazy initialization and buffers that grow.
pub const WARM_UP: u32 = 8;

/// How often each operation is counted.
pub const TIMES: u32 = 200;

/// What is relayed at a time: little, so that what counts is the bookkeeping and not the cipher.
const RELAYED_BYTES: usize = 100;

/// One operation to be counted.
pub struct Workload {
    /// In the table, and on the command line.
    pub name: &'static str,
    /// What is done, for whoever has to look.
    pub what: &'static str,
    /// Makes everything ready; what it gives is done [`WARM_UP`] + [`TIMES`] times.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All of them.
pub const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "client_hello_refused",
        what: "a connection from its accept to the alert for an unknown server name (Connection, listener.rs, tls/client_hello.rs)",
        prepare: client_hello_refused,
    },
    Workload {
        name: "policy_decide_100",
        what: "the 100th of 100 rules, half of them with a star (policy.rs)",
        prepare: policy_decide,
    },
    Workload {
        name: "proxy_v2_header",
        what: "a PROXY v2 header with a common name and no more (proxy_protocol.rs)",
        prepare: proxy_header,
    },
    Workload {
        name: "relay_to_client_100_bytes",
        what: "100 bytes of the upstream sealed for the client (connection/relay.rs, record.rs)",
        prepare: relay_to_client,
    },
    Workload {
        name: "relay_to_upstream_100_bytes",
        what: "a record of 100 bytes opened for the upstream (connection/relay.rs, record.rs)",
        prepare: relay_to_upstream,
    },
    Workload {
        name: "whoami_request",
        what: "a GET with ten header fields read and answered (whoami.rs)",
        prepare: whoami_request,
    },
];

fn client_hello_refused() -> Box<dyn FnMut()> {
    let pki = Pki::new();
    let server = Server::new(&pki, &["only.example".to_owned()]);
    let client = Client::new(&pki, &pki.client("client.example"));
    let hello = client.connect().say();
    Box::new(move || {
        let mut session = server.accept();
        session.client_says(black_box(&hello));
        assert_eq!(session.drop_sent(Side::Client), 7, "one alert in plaintext");
    })
}

fn policy_decide() -> Box<dyn FnMut()> {
    let client = client_identity("client-99.example");
    let policy = Policy::new((0..100).map(mixed_rule).collect());
    Box::new(move || {
        let subject = subject(black_box(&client));
        assert!(black_box(&policy).decide(&subject).is_allowed());
    })
}

fn proxy_header() -> Box<dyn FnMut()> {
    let source = SocketAddr::from(([192, 0, 2, 7], 50_000));
    let destination = SocketAddr::from(([192, 0, 2, 1], 443));
    let tlvs = [Tlv::Ssl, Tlv::SslCn, Tlv::SslCipher].into_iter().collect();
    let format = Format { tlvs, ..Format::default() };
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        let tls = ProxyTls {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            group: None,
            certificate_signature: None,
            certificate_key: None,
            signature_scheme: None,
            certificate: CertificateState::Verified,
            client: ProxyClient { common_name: Some("client.example"), ..ProxyClient::default() },
        };
        let announcement = Announcement {
            source,
            destination,
            connection: None,
            authority: None,
            alpn: None,
            tls: Some(tls),
        };
        proxy_protocol::write_v2(&mut out, black_box(&announcement), &format);
    })
}

fn relay_to_client() -> Box<dyn FnMut()> {
    let pki = Pki::new();
    let client = Client::new(&pki, &pki.client("client.example"));
    let (mut session, _far) = Server::new(&pki, &[]).relay(&client);
    Box::new(move || {
        session.upstream_says(black_box(&[7; RELAYED_BYTES]));
        assert!(session.drop_sent(Side::Client) > RELAYED_BYTES);
    })
}

fn relay_to_upstream() -> Box<dyn FnMut()> {
    let pki = Pki::new();
    let client = Client::new(&pki, &pki.client("client.example"));
    let (mut session, mut far) = Server::new(&pki, &[]).relay(&client);
    let records: Vec<_> = (0..WARM_UP + TIMES).map(|_| far.seal(&[7; RELAYED_BYTES])).collect();
    let mut records = records.into_iter();
    Box::new(move || {
        session.client_says(&records.next().expect("as many as are asked for"));
        assert_eq!(session.drop_sent(Side::Upstream), RELAYED_BYTES);
    })
}

fn whoami_request() -> Box<dyn FnMut()> {
    let mut request = String::from("GET /who?am=i HTTP/1.1\r\nHost: engine.example\r\n");
    for number in 1..10 {
        request.push_str(&format!("X-Field-{number}: a value of no interest\r\n"));
    }
    request.push_str("\r\n");
    let mut whoami = Whoami::new(&json!({ "client": { "subject": "CN=client.example" } }));
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        assert_eq!(whoami.receive(black_box(request.as_bytes()), &mut out), request.len());
        assert!(out.starts_with(b"HTTP/1.1 200 "));
    })
}

/// The identity in a certificate for `name`.
///
/// # Panics
/// Never: the certificate is well-formed.
#[must_use]
pub fn client_identity(name: &str) -> ClientIdentity {
    ClientIdentity::parse(&Pki::new().client(name).chain[0]).expect("an identity")
}

/// The same as policy is asked about it, when it has just been issued.
#[must_use]
pub fn subject(identity: &ClientIdentity) -> Subject<'_> {
    Subject { identity, trust_domain: Some("clients"), now: identity.not_before() }
}

/// Of every two rules one on an exact name, one with a star; rule 99 fits `client-99.example`.
///
/// # Panics
/// Never: the rules are well-formed.
#[must_use]
pub fn mixed_rule(number: usize) -> Rule {
    let text = match number % 2 {
        0 => format!("dns=client-{number}.example"),
        _ => format!("dns=client-{number}.*"),
    };
    Rule::parse_allow(&text).expect("a rule")
}
