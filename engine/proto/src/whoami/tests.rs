use serde_json::{Value, json};

use super::*;

fn whoami() -> Whoami {
    Whoami::new(&json!({ "client": { "subject": "CN=payments-7" } }))
}

/// What is answered to a client that sends all this at once, and whether the connection is over then.
fn exchange(requests: &str) -> (String, bool) {
    let (mut server, mut out) = (whoami(), Vec::new());
    assert_eq!(server.receive(requests.as_bytes(), &mut out), requests.len());
    (String::from_utf8(out).expect("text"), server.is_finished())
}

/// The status codes in a stream of responses, in order.
fn statuses(responses: &str) -> Vec<&str> {
    responses.split("HTTP/1.1 ").skip(1).map(|response| &response[..3]).collect()
}

/// A request that must be refused with this status and end the connection, whatever follows it.
#[track_caller]
fn refused(status: &str, request: &str) -> String {
    let (responses, is_finished) = exchange(&format!("{request}GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(statuses(&responses), [status], "{request:?}");
    assert!(is_finished && responses.contains("\r\nConnection: close\r\n"), "{request:?}");
    responses
}

/// Requests that must be answered with these statuses, and the connection stays open.
#[track_caller]
fn served(expected: &[&str], requests: &str) -> String {
    let (responses, is_finished) = exchange(requests);
    assert_eq!(statuses(&responses), expected, "{requests:?}");
    assert!(!is_finished, "{requests:?}");
    responses
}

#[test]
fn a_request_is_answered_with_the_facts() {
    let response = served(&["200"], "GET /any/path?at=all HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, content) = response.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}", content.len());
    let fields: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(
        fields,
        [
            "HTTP/1.1 200 OK",
            "Server: countersign",
            "Content-Type: application/json",
            length.as_str(),
            "Cache-Control: no-store",
        ]
    );
    assert!(content.ends_with("}\n"));
    let facts: Value = serde_json::from_str(content).expect("JSON");
    assert_eq!(facts["client"]["subject"], "CN=payments-7");
}

#[test]
fn head_gets_the_same_fields_and_no_content() {
    let get = served(&["200"], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = served(&["200"], "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"));
    assert!(get.starts_with(&head));
    let refused = refused("400", "HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n");
    assert!(refused.ends_with("\r\n\r\n"), "not even of an error");
}

#[test]
fn bodies_are_thrown_away_and_the_next_request_is_found() {
    let next = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nGET / H";
    served(&["200", "200"], &format!("{length}{next}"));
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n\
                   3;name=\"value\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n";
    served(&["200", "200"], &format!("{chunked}{next}"));
    served(&["200", "200"], &format!("\r\n\n{next}\r\n{next}\r\n"));
    served(&["200"], "GET / HTTP/1.0\nHost: x\nConnection: keep-alive\n\n");
}

#[test]
fn who_asks_before_sending_is_told_to_go_on() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n";
    let with_body = format!("{head}Content-Length: 2\r\n\r\n");
    assert_eq!(exchange(&with_body).0, "HTTP/1.1 100 Continue\r\n\r\n");
    served(&["100", "200"], &format!("{with_body}ab"));
    served(&["100", "200"], &format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    served(&["200"], &format!("{head}\r\n"));
    let old = "POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na";
    served(&["200"], old);
}

#[test]
fn the_client_decides_whether_the_connection_lives() {
    for (request, lives) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false),
    ] {
        let (response, is_finished) = exchange(request);
        assert_eq!(statuses(&response), ["200"]);
        assert_eq!(is_finished, !lives, "{request:?}");
        assert_eq!(response.contains("\r\nConnection: close\r\n"), !lives, "{request:?}");
        let is_old = request.contains("HTTP/1.0");
        assert_eq!(
            response.contains("\r\nConnection: keep-alive\r\n"),
            lives && is_old,
            "{request:?}"
        );
    }
}

#[test]
fn a_request_whose_end_is_disputable_is_refused() {
    let post = "POST / HTTP/1.1\r\nHost: x\r\n";
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length : 3\r\n",
        "Content-Length: 3\r\n folded: 4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        // Followed by what would be a whole body, were the fields understood one way or the other.
        refused("400", &format!("{post}{fields}\r\n0\r\n\r\n"));
    }
    refused("400", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    refused("501", &format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"));
}

#[test]
fn malformed_chunks_are_refused() {
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x1\r\n",
        "1 \r\n",
        "1\nabc",
        "1\r1",
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "11111111111111111\r\n",
        "1;a\0\r\n",
        "0\r\n\n",
        "0\r\na: b\n\r\n",
        "0\r\na\0: b\r\n\r\n",
    ] {
        refused("400", &format!("{head}{body}"));
    }
    refused("400", &format!("{head}1;{}\r\n", "a".repeat(16 * 1024)));
    refused("400", &format!("{head}0\r\n{}\r\n", "a: b\r\n".repeat(16 * 1024)));
}

#[test]
fn what_is_no_request_is_refused() {
    refused("400", "\x16\x03\x01\r\n\r\n");
    refused("400", "GET / HTTP/1.1\r\nNo colon\r\n\r\n");
    refused("400", "GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n");
    refused("400", "GET / HTTP/1.1\r\n\r\n");
    refused("400", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n");
    refused("501", "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n");
    refused("505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let (response, is_finished) = exchange("hello\r\n");
    assert_eq!(statuses(&response), ["400"], "one line is enough to see it");
    assert!(is_finished);
}

#[test]
fn a_head_has_a_limit_to_the_byte() {
    let request = |length: usize| {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: x\r\nA: ", "\r\n\r\n");
        format!("{start}{}{end}", "a".repeat(length - start.len() - end.len()))
    };
    served(&["200", "200"], &format!("{}{}", request(MAX_HEAD_BYTES), request(MAX_HEAD_BYTES)));
    refused("431", &request(MAX_HEAD_BYTES + 1));
    refused("431", &"a".repeat(MAX_HEAD_BYTES + 1));
    refused("431", &format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADER_FIELDS + 1)));
}

#[test]
fn however_a_stream_is_cut_the_answers_are_the_same() {
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nHEAD /2 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /3 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\nGET / HTTP/1",
        "POST /4 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;e\r\nhello\r\n1\r\n\n\r\n0\r\nT: t\r\n\r\n",
        "PUT /5 HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    ]
    .concat();
    let endings = [
        "",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nnever read",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "what\r\nis: this\r\n\r\n",
    ];
    for ending in endings {
        let stream = format!("{requests}{ending}");
        let (expected, expected_finished) = exchange(&stream);
        assert!(statuses(&expected).starts_with(&["200", "200", "100", "200", "200", "200"]));
        let cut = |mut next: Box<dyn FnMut(usize) -> usize>, how: &str| {
            let (mut server, mut out) = (whoami(), Vec::new());
            let mut rest = stream.as_bytes();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(next(rest.len()).clamp(1, rest.len()));
                assert_eq!(server.receive(now, &mut out), now.len());
                rest = later;
            }
            assert_eq!(String::from_utf8_lossy(&out), expected, "{how}, ending {ending:?}");
            assert_eq!(server.is_finished(), expected_finished, "{how}, ending {ending:?}");
        };
        for size in 1..=64 {
            cut(Box::new(move |_| size), &format!("pieces of {size}"));
        }
        for place in 1..stream.len() {
            let total = stream.len();
            cut(
                Box::new(move |left| if left == total { place } else { left }),
                &format!("cut at {place}"),
            );
        }
        for seed in 1..=500_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let random = move |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % 40) as usize
            };
            cut(Box::new(random), &format!("seed {seed}"));
        }
    }
}

#[test]
fn a_client_that_asks_and_never_reads_is_held_back() {
    let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let count = 5_000;
    let requests = one.repeat(count);
    let response = exchange(one).0;

    let (mut server, mut out) = (whoami(), Vec::new());
    let mut rest = requests.as_bytes();
    rest = &rest[server.receive(rest, &mut out)..];
    assert!(
        !rest.is_empty() && rest.len().is_multiple_of(one.len()),
        "it stopped between two requests"
    );
    assert!(out.len() < MAX_PENDING_OUTPUT_BYTES + response.len());
    assert_eq!(server.receive(rest, &mut out), 0, "nothing goes on until the output is taken");

    let mut written = 0;
    while !rest.is_empty() || !out.is_empty() {
        written += out.len();
        out.clear();
        rest = &rest[server.receive(rest, &mut out)..];
    }
    assert_eq!(written, count * response.len(), "and then every request is answered");
}

#[test]
fn a_finished_server_reads_and_says_nothing_even_with_its_output_full() {
    let (mut server, mut out) = (whoami(), Vec::new());
    server.end_of_stream();
    out.resize(MAX_PENDING_OUTPUT_BYTES, b' ');
    assert_eq!(server.receive(b"GET / HTTP/1.1\r\n", &mut out), 16);
    assert_eq!(out.len(), MAX_PENDING_OUTPUT_BYTES);
}

#[test]
fn draining_finishes_an_idle_connection_at_once() {
    let mut server = whoami();
    let mut out = Vec::new();
    server.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n", &mut out);
    assert!(server.is_idle(), "an empty line begins no request");
    server.close_after_current();
    assert!(server.is_finished());
}

#[test]
fn draining_lets_the_request_in_progress_be_answered() {
    let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    for begun in 1..request.len() {
        let (mut server, mut out) = (whoami(), Vec::new());
        server.receive(&request[..begun], &mut out);
        assert!(!server.is_idle());
        server.close_after_current();
        assert!(!server.is_finished(), "begun with {begun} bytes");
        server.receive(&request[begun..], &mut out);
        assert!(server.is_finished());
        let response = String::from_utf8(out).expect("text");
        assert_eq!(statuses(&response), ["200"]);
        assert!(response.contains("\r\nConnection: close\r\n"));
    }
}

#[test]
fn an_incomplete_request_gets_no_answer() {
    let (mut server, mut out) = (whoami(), Vec::new());
    server.receive(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na", &mut out);
    server.end_of_stream();
    assert!(server.is_finished() && out.is_empty());
}

#[test]
fn damaged_streams_never_panic_and_never_answer_out_of_bounds() {
    let stream = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;e\r\nhello\r\n0\r\nT: t\r\n\r\n";
    for place in 0..stream.len() {
        for value in 0..=u8::MAX {
            let mut damaged = stream.to_vec();
            damaged[place] = value;
            let (mut server, mut out) = (whoami(), Vec::new());
            assert_eq!(server.receive(&damaged, &mut out), damaged.len());
            assert!(
                statuses(&String::from_utf8_lossy(&out)).len() <= 2,
                "byte {place} set to {value}"
            );
        }
    }
}
