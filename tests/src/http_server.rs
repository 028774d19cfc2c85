//! An HTTP server that answers every request in one way, for what the engine fetches.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server says, whole.
type Answer = Arc<Mutex<Vec<u8>>>;

/// A server on loopback; dropping it ends it.
pub struct HttpServer {
    address: SocketAddr,
    answer: Answer,
    requests: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on `address`; port 0 is any.
    ///
    /// # Panics
    ///
    /// When it cannot.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (answer, requests) = (Answer::default(), Arc::<AtomicUsize>::default());
        let stopping = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (answer, requests, stopping) =
                (Arc::clone(&answer), Arc::clone(&requests), Arc::clone(&stopping));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    serve(stream, &answer);
                    requests.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { address, answer, requests, stopping, thread: Some(thread) }
    }

    /// From now on every answer is 200 with this body.
    pub fn serve(&self, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.say([head.as_bytes(), body].concat());
    }

    /// From now on every answer is this.
    pub fn say(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// How many requests were answered.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/clients.crl", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes it; fails only where it has ended already.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(mut stream: TcpStream, answer: &Answer) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8_192 {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Whoever breaks off has heard enough.
    let _ = stream.write_all(&answer);
}
