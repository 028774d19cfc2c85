//! The admin endpoint: `/metrics`, `/healthz`, `/readyz`, on a loopback address or a unix socket.
//!
//! It runs on a thread of its own and knows no connection: what it shows is gathered when asked.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};

use crate::config::AdminAddress;

/// Requests at one time; more wait.
const CONNECTIONS_MAX: usize = 32;

/// Somebody who connects and asks nothing is sent away after this.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What the endpoint shows.
pub(super) trait Source: Send + Sync {
    /// The page of metrics.
    fn metrics(&self) -> String;
    /// Do all workers run?
    fn is_healthy(&self) -> bool;
    /// Are new clients served?
    fn is_ready(&self) -> bool;
}

/// A running endpoint; dropping it ends it.
pub(super) struct Admin {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Admin {
    /// Starts listening and serving.
    pub(super) fn start(address: &AdminAddress, source: Arc<dyn Source>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            Listener::bind(address)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, source) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Listener {
    fn bind(address: &AdminAddress) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
            AdminAddress::Unix(path) => {
                remove_stale(path)?;
                Ok(Self::Unix(UnixListener::bind(path)?))
            }
        }
    }
}

/// Removes the socket of a process that is gone; nothing else that may be at that path.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

async fn serve(listener: Listener, source: Arc<dyn Source>) {
    let tasks = tokio::task::LocalSet::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tasks
        .run_until(async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let source = Arc::clone(&source);
                let served = match &listener {
                    Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                        tokio::task::spawn_local(async move {
                            connection(stream, source).await;
                            drop(place);
                        })
                    }),
                    Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                        tokio::task::spawn_local(async move {
                            connection(stream, source).await;
                            drop(place);
                        })
                    }),
                };
                if served.is_err() {
                    // Out of descriptors, most likely: others will end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        })
        .await;
}

async fn connection(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    source: Arc<dyn Source>,
) {
    let service = service_fn(|request| {
        let response = answer(&request, &*source);
        async { Ok::<_, Infallible>(response) }
    });
    // A client that breaks off interests nobody.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>, source: &dyn Source) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let state = |good: bool, word: &str, otherwise: &str| match good {
        true => text(StatusCode::OK, format!("{word}\n")),
        false => text(StatusCode::SERVICE_UNAVAILABLE, format!("{otherwise}\n")),
    };
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, source.metrics());
            response.headers_mut().insert(
                CONTENT_TYPE,
                hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
        "/healthz" => state(source.is_healthy(), "ok", "a worker has failed"),
        "/readyz" => state(source.is_ready(), "ready", "not serving new clients"),
        "/" => text(StatusCode::OK, "countersign: /metrics /healthz /readyz\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
