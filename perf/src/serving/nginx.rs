//! nginx's configuration file.

use std::net::SocketAddr;
use std::path::Path;

use super::{BACKLOG, CONNECTIONS_MAX, IDLE_S, Service, Setup, TokenKey};
use crate::problem::{Problem, Result};
use crate::system::Program;

/// The file.
pub(super) fn text(setup: &Setup<'_>, program: &Program) -> Result<String> {
    let module = match (setup.service, &program.stream_module) {
        (Service::Relay { .. }, Some(module)) if !module.is_file() => {
            return Err(Problem::new(format!(
                "{} is missing; it is in the Debian package libnginx-mod-stream",
                module.display()
            )));
        }
        (Service::Relay { .. }, Some(module)) => format!("load_module {};\n", module.display()),
        _ => String::new(),
    };
    let head = module + &head(setup.directory, setup.cpus, setup.open_files);
    let tls = tls(setup);
    let body = match setup.service {
        Service::Http { listen } => http(
            setup.directory,
            &format!("{listen} ssl"),
            &(tls + "        ssl_verify_client on;\n"),
        ),
        Service::Pair { .. } => {
            return Err(Problem::new("only the engine is set up with a key beside a token's"));
        }
        Service::Relay { sink, source } => {
            let server = |relay: super::Relay| {
                format!(
                    "    server {{
        listen {} ssl reuseport backlog={BACKLOG};
{tls}        ssl_verify_client on;
        proxy_pass {};
        proxy_timeout {IDLE_S}s;
        proxy_buffer_size 64k;
    }}
",
                    relay.listen, relay.upstream
                )
            };
            format!("stream {{\n    tcp_nodelay on;\n{}{}}}\n", server(sink), server(source))
        }
    };
    Ok(head + &body)
}

/// The file of one that answers without TLS.
pub(super) fn plain_text(
    directory: &Path,
    cpus: &[usize],
    open_files: u64,
    listen: SocketAddr,
) -> String {
    head(directory, cpus, open_files) + &http(directory, &listen.to_string(), "")
}

fn head(directory: &Path, cpus: &[usize], open_files: u64) -> String {
    let workers = cpus.len();
    // One mask for each worker, the lowest CPU rightmost.
    let width = cpus.iter().max().map_or(1, |cpu| cpu + 1);
    let mask = |&cpu: &usize| {
        let bit = |place: usize| if place == cpu { '1' } else { '0' };
        (0..width).rev().map(bit).collect::<String>()
    };
    let masks: Vec<String> = cpus.iter().map(mask).collect();
    let directory = directory.display();
    format!(
        "daemon off;
worker_processes {workers};
worker_cpu_affinity {};
worker_rlimit_nofile {open_files};
error_log {directory}/server.log warn;
pid {directory}/nginx.pid;
events {{
    use epoll;
    worker_connections {CONNECTIONS_MAX};
    multi_accept on;
    accept_mutex off;
}}
",
        masks.join(" "),
    )
}

/// Answers `listen`, an address with what follows it; `tls` is of the server's block, or empty.
fn http(directory: &Path, listen: &str, tls: &str) -> String {
    let directory = directory.display();
    format!(
        "http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    tcp_nodelay on;
    server_tokens off;
    keepalive_timeout {IDLE_S}s;
    keepalive_requests 1000000000;
    server {{
        listen {listen} reuseport backlog={BACKLOG};
        server_name localhost;
{tls}        location / {{ return 200 \"ok\\n\"; }}
    }}
}}
"
    )
}

fn tls(setup: &Setup<'_>) -> String {
    let key = setup.variant.server_key();
    let private = match setup.token {
        // The engine pkcs11, by the name that OpenSSL knows it by.
        Some(token) => format!("\"engine:pkcs11:{}\"", token.folder.object()),
        None => setup.pki.server_key(key).display().to_string(),
    };
    format!(
        "        ssl_certificate {};
        ssl_certificate_key {};
        ssl_client_certificate {};
        ssl_verify_depth 3;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_conf_command NumTickets 1;
        ssl_ecdh_curve {};
        ssl_session_cache shared:tls:64m;
        ssl_session_tickets on;
        ssl_session_timeout 1h;
",
        setup.pki.server_chain(key).display(),
        private,
        setup.pki.client_root().display(),
        setup.variant.group(),
    )
}

/// OpenSSL's configuration with the module that its engine is to load. The engine is that of the Debian package
/// libengine-pkcs11-openssl; OpenSSL finds it in its own folder of engines.
pub(super) fn openssl_conf(token: &TokenKey<'_>) -> String {
    format!(
        "openssl_conf = settings
[settings]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = {}
PIN = {}
",
        token.folder.module().display(),
        token.folder.pin(),
    )
}
