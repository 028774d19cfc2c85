//! Envoy's configuration file, as JSON.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{BACKLOG, Setup};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// The command line without the file.
pub(super) fn arguments(setup: &Setup<'_>) -> Vec<String> {
    let concurrency = setup.cpus.len().to_string();
    let words = ["--concurrency", &concurrency, "--disable-hot-restart", "--log-level", "warning"];
    words.map(str::to_owned).to_vec()
}

/// The file.
pub(super) fn text(setup: &Setup<'_>) -> String {
    let listeners: Vec<Value> = setup
        .service
        .listeners()
        .into_iter()
        .enumerate()
        .map(|(number, (listen, upstream))| {
            let filter = match upstream {
                None => http_filter(),
                Some(_) => json!({
                    "name": "envoy.filters.network.tcp_proxy",
                    "typed_config": {
                        "@type": format!("{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"),
                        "stat_prefix": "relay",
                        "cluster": format!("c{number}"),
                        "idle_timeout": "0s",
                    },
                }),
            };
            json!({
                "name": format!("l{number}"),
                "address": address(listen),
                "tcp_backlog_size": BACKLOG,
                "filter_chains": [{
                    "filters": [filter],
                    "transport_socket": {
                        "name": "envoy.transport_sockets.tls",
                        "typed_config": tls(setup),
                    },
                }],
            })
        })
        .collect();
    let clusters: Vec<Value> = setup
        .service
        .listeners()
        .into_iter()
        .enumerate()
        .filter_map(|(number, (_, upstream))| Some(cluster(number, upstream?)))
        .collect();
    json!({ "static_resources": { "listeners": listeners, "clusters": clusters } }).to_string()
}

fn http_filter() -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!(
                "{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
            ),
            "stat_prefix": "http",
            "codec_type": "HTTP1",
            "generate_request_id": false,
            "common_http_protocol_options": { "idle_timeout": "0s" },
            "stream_idle_timeout": "0s",
            "route_config": {
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "direct_response": { "status": 200, "body": { "inline_string": "ok\n" } },
                    }],
                }],
            },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
            }],
        },
    })
}

fn tls(setup: &Setup<'_>) -> Value {
    let key = setup.variant.server_key();
    json!({
        "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": {
            // BoringSSL has no setting for the suites of TLS 1.3: the client's offer decides.
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
                "ecdh_curves": [setup.variant.group()],
            },
            "tls_certificates": [{
                "certificate_chain": { "filename": setup.pki.server_chain(key) },
                "private_key": { "filename": setup.pki.server_key(key) },
            }],
            "validation_context": { "trusted_ca": { "filename": setup.pki.client_root() } },
        },
    })
}

fn cluster(number: usize, upstream: SocketAddr) -> Value {
    let name = format!("c{number}");
    let endpoint = json!({ "endpoint": { "address": address(upstream) } });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    })
}

fn address(address: SocketAddr) -> Value {
    json!({
        "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
    })
}
