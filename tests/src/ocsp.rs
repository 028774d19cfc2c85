//! OCSP responders: openssl's, for what a CA's own would say, and one that answers whatever a test wants.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rcgen::{CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, SigningKey};
use time::{Duration, OffsetDateTime};

use crate::pki::{
    ClientProfile, Identity, KeyKind, Pki, client_params, end_entity, numbered, server_params,
    write,
};
use crate::tool::{OPENSSL, Running};

/// An intermediate CA, as a responder needs it.
pub struct Authority<'a> {
    issuer: &'a CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    /// Its certificate, PEM.
    pub certificate_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

/// What a certificate's issuer says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is good.
    Good,
    /// It was revoked at the beginning of 2024 for a compromised key.
    Revoked,
}

impl Pki {
    /// The CA that issues clients.
    #[must_use]
    pub fn client_authority(&self) -> Authority<'_> {
        self.authority("client-ca", &self.clients.intermediate)
    }

    /// The CA that issues servers.
    #[must_use]
    pub fn server_authority(&self) -> Authority<'_> {
        self.authority("server-ca", &self.servers.intermediate)
    }

    /// Another CA, that nobody trusts.
    #[must_use]
    pub fn stranger_authority(&self) -> Authority<'_> {
        self.authority("stranger-ca", &self.strangers.intermediate)
    }

    fn authority<'a>(
        &'a self,
        name: &str,
        issuer: &'a CertifiedIssuer<'static, KeyPair>,
    ) -> Authority<'a> {
        let stem = numbered(name);
        let certificate_file = self.directory().join(format!("{stem}.pem"));
        let key_file = self.directory().join(format!("{stem}.key"));
        write(&certificate_file, &issuer.pem());
        write(&key_file, &issuer.key().serialize_pem());
        let directory = self.directory().to_owned();
        Authority { issuer, directory, certificate_file, key_file }
    }

    /// A certificate of the clients' CA that may sign answers, or has another purpose.
    #[must_use]
    pub fn answer_signer(&self, may_sign: bool) -> Identity {
        let purpose = if may_sign {
            ExtendedKeyUsagePurpose::OcspSigning
        } else {
            ExtendedKeyUsagePurpose::EmailProtection
        };
        self.issue(&ClientProfile { purpose, ..ClientProfile::good("responder") })
    }

    /// A good client whose certificate names an OCSP responder.
    #[must_use]
    pub fn client_naming_responder(&self, common_name: &str, url: &str) -> Identity {
        let profile = ClientProfile::good(common_name);
        let mut params = client_params(&profile);
        params.custom_extensions.push(responder_extension(url));
        let stem = numbered(common_name);
        end_entity(self.directory(), &stem, &self.clients, profile.key, true, &params)
    }

    /// A server identity for `localhost` that wants to be stapled (RFC 7633), and names a responder if
    /// there is one.
    #[must_use]
    pub fn must_staple_server(&self, responder: Option<&str>) -> Identity {
        let mut params = server_params("must-staple", &["localhost"], (2020, 2090));
        // SEQUENCE { INTEGER 5 }: status_request.
        let features = vec![0x30, 3, 2, 1, 5];
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features));
        params.custom_extensions.extend(responder.map(responder_extension));
        let stem = numbered("must-staple");
        end_entity(self.directory(), &stem, &self.servers, KeyKind::EcdsaP256, true, &params)
    }
}

/// authorityInfoAccess with one responder (RFC 5280 §4.2.2.1).
fn responder_extension(url: &str) -> CustomExtension {
    let oid = [6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let description = element(0x30, &[&oid[..], &element(0x86, url.as_bytes())].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], element(0x30, &description))
}

/// A short DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("a short element");
    let header = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [header.as_slice(), content].concat()
}

impl Authority<'_> {
    /// Writes the list of what it knows, as `openssl ca` keeps it.
    #[must_use]
    pub fn index(&self, known: &[(&Identity, Standing)]) -> PathBuf {
        let mut text = String::new();
        for (identity, standing) in known {
            let serial = serial(&identity.chain_file);
            let (flag, revoked) = match standing {
                Standing::Good => ("V", ""),
                Standing::Revoked => ("R", "240101000000Z,keyCompromise"),
            };
            writeln!(text, "{flag}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN={serial}")
                .expect("writing to memory");
        }
        let file = self.directory.join(format!("{}.txt", numbered("index")));
        write(&file, &text);
        file
    }

    /// `openssl ocsp` as its responder; answers are signed by it itself or by `signer`.
    #[must_use]
    #[track_caller]
    pub fn responder(&self, index: &Path, signer: Option<&Identity>) -> OpensslResponder {
        let mut words = self.words(index, signer);
        words.extend(["-port", "0", "-nmin", "60"].map(str::to_owned));
        let running = OPENSSL.start(&words);
        running.wait_for_output("ACCEPT");
        running.wait_for_output("PID=");
        let said = running.said();
        let port = said.split("ACCEPT ").nth(1).and_then(|text| text.split(' ').next());
        let port = port.and_then(|address| address.rsplit_once(':')).map(|(_, port)| port.trim());
        let port = port.unwrap_or_else(|| panic!("no port in {said}"));
        OpensslResponder { url: format!("http://127.0.0.1:{port}/"), running }
    }

    /// What it would answer about `certificate` to a request without a nonce, DER.
    #[must_use]
    #[track_caller]
    pub fn answer(
        &self,
        certificate: &Identity,
        index: &Path,
        signer: Option<&Identity>,
    ) -> Vec<u8> {
        let request = self.directory.join(numbered("request"));
        let response = self.directory.join(numbered("response"));
        let own = self.directory.join(numbered("own"));
        // The first of the chain alone: the responder takes every certificate of a file.
        let pem = fs::read_to_string(&certificate.chain_file).expect("a chain");
        let end = "-----END CERTIFICATE-----\n";
        write(&own, &format!("{}{end}", pem.split(end).next().unwrap_or_default()));
        let text = |path: &Path| path.display().to_string();
        let asked = OPENSSL.run(&[
            "ocsp".to_owned(),
            "-issuer".to_owned(),
            text(&self.certificate_file),
            "-cert".to_owned(),
            text(&own),
            "-no_nonce".to_owned(),
            "-reqout".to_owned(),
            text(&request),
        ]);
        assert!(asked.status.success(), "{}", asked.said);
        let mut words = self.words(index, signer);
        words.extend(["-reqin".to_owned(), text(&request), "-respout".to_owned(), text(&response)]);
        words.extend(["-ndays", "30"].map(str::to_owned));
        let answered = OPENSSL.run(&words);
        assert!(answered.status.success(), "{}", answered.said);
        fs::read(response).expect("an answer")
    }

    /// The same answer, given `since` ago and good until after `until`, signed anew.
    #[must_use]
    pub fn retimed(&self, answer: &[u8], since: Duration, until: Duration) -> Vec<u8> {
        retimed(answer, self.issuer.key(), since, until)
    }

    fn words(&self, index: &Path, signer: Option<&Identity>) -> Vec<String> {
        let signer = signer.map_or((&self.certificate_file, &self.key_file), |own| {
            (&own.chain_file, &own.key_file)
        });
        let mut words = vec!["ocsp".to_owned()];
        for (option, file) in [
            ("-index", index),
            ("-CA", &self.certificate_file),
            ("-rsigner", signer.0),
            ("-rkey", signer.1),
        ] {
            words.extend([option.to_owned(), file.display().to_string()]);
        }
        words
    }
}

/// A running `openssl ocsp`; dropping it ends it.
pub struct OpensslResponder {
    /// Where it is asked.
    pub url: String,
    running: Running,
}

impl OpensslResponder {
    /// Ends it: nobody listens there any more.
    pub fn stop(self) {
        drop(self.running);
    }
}

fn serial(file: &Path) -> String {
    let words = ["x509", "-noout", "-serial", "-in"].map(str::to_owned);
    let said = OPENSSL.run(&[&words[..], &[file.display().to_string()]].concat()).said;
    said.trim().strip_prefix("serial=").expect("a serial number").to_owned()
}

/// Changes every time of an OCSPResponse with one answer in it, and signs it anew (ECDSA P-256). The
/// layout is that of `openssl ocsp`.
fn retimed(answer: &[u8], key: &KeyPair, since: Duration, until: Duration) -> Vec<u8> {
    let basic = nth(answer, &[1, 0, 1, 0]);
    let mut data = whole(nth_whole(&basic, 0)).to_vec();
    let now = OffsetDateTime::now_utc();
    let starts: Vec<usize> = data
        .windows(2)
        .enumerate()
        .filter(|(_, two)| *two == [0x18, 15])
        .map(|(at, _)| at)
        .collect();
    let last = starts.len() - 1;
    for (number, at) in starts.into_iter().enumerate() {
        // producedAt, thisUpdate, nextUpdate.
        let time = if number == last { now + until } else { now - since };
        let (date, clock) = (time.date(), time.time());
        let text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second()
        );
        data[at + 2..at + 17].copy_from_slice(text.as_bytes());
    }
    let signature = key.sign(&data).expect("a signature");
    let algorithm = nth_whole(&basic, 1);
    let bits = element(3, &[&[0], &signature[..]].concat());
    let basic = long(0x30, &[&data, algorithm, &bits].concat());
    let oid = [6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    let bytes = long(0x30, &[&oid[..], &long(4, &basic)].concat());
    long(0x30, &[&[10, 1, 0], &long(0xa0, &bytes)[..]].concat())
}

/// A DER element with a length of two bytes, be it needed or not: no more than that is short.
fn long(tag: u8, content: &[u8]) -> Vec<u8> {
    match content.len() {
        0..=0xff => element(tag, content),
        length => {
            let length = u16::try_from(length).expect("a short element").to_be_bytes();
            [&[tag, 0x82, length[0], length[1]], content].concat()
        }
    }
}

/// Header length and whole length of an element.
fn sizes(der: &[u8]) -> (usize, usize) {
    match der[1] {
        length @ 0..=0x7f => (2, 2 + usize::from(length)),
        0x81 => (3, 3 + usize::from(der[2])),
        0x82 => (4, 4 + usize::from(u16::from_be_bytes([der[2], der[3]]))),
        other => panic!("a length {other:#x}"),
    }
}

fn whole(der: &[u8]) -> &[u8] {
    &der[..sizes(der).1]
}

/// The element number `index` within an element.
fn nth_whole(der: &[u8], index: usize) -> &[u8] {
    let mut rest = &der[sizes(der).0..];
    for _ in 0..index {
        rest = &rest[sizes(rest).1..];
    }
    whole(rest)
}

/// Down a path of indices.
fn nth(der: &[u8], path: &[usize]) -> Vec<u8> {
    path.iter().fold(der.to_vec(), |der, index| nth_whole(&der, *index).to_vec())
}

/// What a [`Responder`] does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200, with this body.
    Body(Vec<u8>),
    /// Another status.
    Status(u16),
    /// Nothing at all, until it ends.
    Silence,
    /// These bytes, and the end.
    Raw(Vec<u8>),
}

/// A responder that answers as a test wants; dropping it ends it.
pub struct Responder {
    /// Where it is asked.
    pub url: String,
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    reply: Arc<Mutex<Box<ReplyTo>>>,
    silent: Arc<Mutex<Vec<TcpStream>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// By the number of the request, from 0.
type ReplyTo = dyn Fn(usize) -> Reply + Send;

impl Responder {
    /// Answers request `n`, counted from 0, with `reply(n)`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn start(reply: impl Fn(usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::<AtomicUsize>::default();
        let stopping = Arc::<AtomicBool>::default();
        let reply: Arc<Mutex<Box<ReplyTo>>> = Arc::new(Mutex::new(Box::new(reply)));
        let silent = Arc::<Mutex<Vec<TcpStream>>>::default();
        let thread = thread::spawn({
            let (requests, stopping) = (Arc::clone(&requests), Arc::clone(&stopping));
            let (reply, silent) = (Arc::clone(&reply), Arc::clone(&silent));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Some(stream) = read_request(stream) else { continue };
                    let number = requests.fetch_add(1, Ordering::SeqCst);
                    let reply = reply.lock().unwrap_or_else(PoisonError::into_inner)(number);
                    answer(stream, reply, &silent);
                }
            }
        });
        let url = format!("http://{address}/ocsp");
        Self { url, address, requests, reply, silent, stopping, thread: Some(thread) }
    }

    /// Answers otherwise from now on, those included whom it left without an answer.
    pub fn say(&self, reply: Reply) {
        let others = reply.clone();
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) =
            Box::new(move |_| others.clone());
        let silent =
            std::mem::take(&mut *self.silent.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in silent {
            answer(stream, reply.clone(), &self.silent);
        }
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // It waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads a whole request; gives the stream back if it is one.
fn read_request(stream: TcpStream) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(reader.into_inner())
}

fn answer(mut stream: TcpStream, reply: Reply, silent: &Mutex<Vec<TcpStream>>) {
    let head = |status: u16, length: usize| {
        format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/ocsp-response\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let bytes = match reply {
        Reply::Silence => {
            silent.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
            return;
        }
        Reply::Body(body) => [head(200, body.len()).as_bytes(), &body].concat(),
        Reply::Status(status) => head(status, 0).into_bytes(),
        Reply::Raw(bytes) => bytes,
    };
    // Whoever asked may be gone.
    drop(stream.write_all(&bytes));
}
