//! The clients: honest ones, clumsy ones and hostile ones, which keep account of what they hear.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use countersign_proto::{Reason, TlsVersion};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, SignatureScheme,
};
use rustls_pki_types::UnixTime;

use crate::front::Front;
use crate::network::{End, Link, Read};
use crate::pki::{EPOCH_SECONDS, Pki, SERVER_NAME, Shown};
use crate::plan::{MILLISECOND, SECOND};
use crate::provider::{self, P256, P384, X25519};
use crate::random::{Random, Stream};

/// A whole request to the built-in upstream.
pub(crate) const REQUEST: &[u8] = b"GET /whoami HTTP/1.1\r\nHost: engine.example\r\n\r\n";

/// rustls counts KeyUpdates, and counts again from 0 only when application data comes with them: at the
/// 33rd it gives up.
const KEY_UPDATES_MAX: u64 = 30;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Conduct {
    /// Speaks TLS as it should.
    Tls,
    /// Speaks TLS a byte at a time, far apart.
    Trickles,
    /// Does not trust the engine's certificate.
    Distrusts,
    /// Flips a bit in its first application data.
    Tampers,
    Garbage,
    /// A ClientHello that announces too much.
    HugeHello,
    /// A ClientHello in ever more small records.
    EndlessHello,
    OldVersion,
    FinishedFirst,
    AlertFirst,
    /// Connects and says nothing.
    Mute,
}

/// The groups that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// A share for the group that the engine prefers.
    Preferred,
    /// A share for a group that the engine does not speak; it speaks the preferred one too:
    /// HelloRetryRequest.
    Retried,
    Second,
    /// None that the engine speaks.
    Foreign,
}

/// How a client's side of the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Farewell {
    /// close_notify after its data; closes when the engine has closed.
    Complete,
    /// close_notify and the end of its stream right after its data; reads on.
    HalfClose,
    /// Says close_notify only after the engine has.
    AfterTheEngine,
    /// Ends its stream after the engine's close_notify, without its own.
    WithoutWord,
    /// Ends its stream without close_notify in the middle of its data.
    Truncate,
    /// Ends its stream after so many turns.
    CloseAt(u64),
    /// Resets after so many turns.
    ResetAt(u64),
    /// Stays, and says nothing more.
    Stays,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) conduct: Conduct,
    /// A balancer between it and the engine.
    pub(crate) front: Option<Front>,
    pub(crate) shown: Shown,
    pub(crate) version: TlsVersion,
    pub(crate) offer: Offer,
    pub(crate) farewell: Farewell,
    /// Application data to send.
    pub(crate) bytes: u64,
    /// Is the data requests for the built-in upstream?
    pub(crate) asks_whoami: bool,
    pub(crate) key: u64,
    pub(crate) key_update_percent: u64,
    /// Longest pause between two turns.
    pub(crate) pause_nanos: u64,
    /// Bytes that it reads or writes in a turn.
    pub(crate) turn_bytes: usize,
    /// Pauses after every read, however much is there.
    pub(crate) reads_slowly: bool,
}

impl ClientPlan {
    /// May policy let it in? The one thing that everything else is measured against.
    pub(crate) fn may_enter(&self) -> bool {
        let speaks = matches!(self.conduct, Conduct::Tls | Conduct::Tampers | Conduct::Trickles);
        let speaks = speaks && self.front != Some(Front::Damaged);
        speaks && matches!(self.shown, Shown::Friend | Shown::Brief) && self.offer != Offer::Foreign
    }

    /// Why it is refused, and what it hears, if nothing else happens to it.
    pub(crate) fn refusal(&self) -> Option<(Reason, Option<AlertDescription>)> {
        use AlertDescription as Alert;
        if self.front == Some(Front::Damaged) {
            return Some((Reason::ProxyHeader, None));
        }
        let of_conduct = match self.conduct {
            Conduct::Tls | Conduct::Trickles | Conduct::Tampers => None,
            Conduct::Distrusts => Some((Reason::ClientAlert, None)),
            Conduct::Garbage => Some((Reason::MalformedMessage, Some(Alert::DecodeError))),
            Conduct::HugeHello | Conduct::EndlessHello => {
                Some((Reason::ClientHelloTooLarge, Some(Alert::DecodeError)))
            }
            Conduct::OldVersion => Some((Reason::ProtocolVersion, Some(Alert::ProtocolVersion))),
            // RFC 9846 §4 and §6.2: a message that is inappropriate here.
            Conduct::FinishedFirst | Conduct::AlertFirst => {
                Some((Reason::ProtocolViolation, Some(Alert::UnexpectedMessage)))
            }
            Conduct::Mute => Some((Reason::HandshakeTimeout, Some(Alert::HandshakeFailure))),
        };
        if of_conduct.is_some() {
            return of_conduct;
        }
        if self.offer == Offer::Foreign {
            return Some((Reason::NothingInCommon, Some(Alert::HandshakeFailure)));
        }
        let (reason, alert) = match self.shown {
            Shown::Friend | Shown::Brief => return None,
            Shown::Denied => (Reason::DeniedByRule, Alert::AccessDenied),
            Shown::Nothing => (Reason::ClientCertificateMissing, Alert::CertificateRequired),
            Shown::OfAnotherCa | Shown::WithoutIntermediate => {
                (Reason::UnknownIssuer, Alert::UnknownCA)
            }
            Shown::Expired => (Reason::ClientCertificateExpired, Alert::CertificateExpired),
            Shown::NotYetValid => (Reason::ClientCertificateNotYetValid, Alert::CertificateExpired),
            Shown::OfPurposeServer => {
                (Reason::ClientCertificatePurpose, Alert::UnsupportedCertificate)
            }
            Shown::WithoutDigitalSignature => {
                (Reason::ClientCertificateKeyUsage, Alert::CertificateUnknown)
            }
            Shown::TooManyCertificates => (Reason::ClientChainTooLarge, Alert::CertificateUnknown),
            Shown::Unparsable => (Reason::ClientCertificateMalformed, Alert::BadCertificate),
            Shown::BadlySigned => (Reason::ClientCertificateBadSignature, Alert::DecryptError),
            Shown::AnAuthority => (Reason::ClientCertificateInvalid, Alert::CertificateUnknown),
            Shown::WithAnotherKey => (Reason::PossessionNotProven, Alert::DecryptError),
        };
        Some((reason, Some(alert)))
    }

    /// Does it read to the end whatever comes, and promptly?
    pub(crate) fn reads_to_the_end(&self) -> bool {
        !self.reads_slowly && !matches!(self.farewell, Farewell::ResetAt(_))
    }
}

/// How the stream from the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Eof,
    Reset,
}

enum Speech {
    Tls(Box<ClientConnection>),
    Raw,
}

pub(crate) struct Client {
    pub(crate) plan: ClientPlan,
    speech: Speech,
    own: Stream,
    turns: u64,
    /// Written by TLS, not yet taken by the link.
    wire: Vec<u8>,
    heard_raw: Vec<u8>,
    pub(crate) answers: Vec<u8>,
    pub(crate) received: u64,
    /// Application data given to TLS.
    pub(crate) sent: u64,
    pub(crate) said_close_notify: bool,
    pub(crate) heard_close_notify: bool,
    pub(crate) alert: Option<AlertDescription>,
    pub(crate) error: Option<Error>,
    pub(crate) ended: Option<Ending>,
    /// Its sending direction is closed.
    pub(crate) finished: bool,
    /// It was cut off, or cut itself off, without the engine's doing.
    pub(crate) has_reset: bool,
    pub(crate) key_updates: u64,
    pub(crate) tampered: bool,
    is_gone: bool,
}

impl Client {
    pub(crate) fn new(plan: ClientPlan, random: &mut Random) -> Self {
        let (speech, words) = match plan.conduct {
            Conduct::Tls | Conduct::Trickles | Conduct::Distrusts | Conduct::Tampers => {
                (Speech::Tls(Box::new(connect(&plan))), Vec::new())
            }
            raw => (Speech::Raw, raw_words(raw, random)),
        };
        let mut wire = plan.front.map(|front| front.header(plan.key)).unwrap_or_default();
        wire.extend(words);
        Self {
            plan,
            speech,
            own: Stream::new(plan.key),
            turns: 0,
            wire,
            heard_raw: Vec::new(),
            answers: Vec::new(),
            received: 0,
            sent: 0,
            said_close_notify: false,
            heard_close_notify: false,
            alert: None,
            error: None,
            ended: None,
            finished: false,
            has_reset: false,
            key_updates: 0,
            tampered: false,
            is_gone: false,
        }
    }

    /// What the upstream should hear from it.
    pub(crate) fn stream(&self) -> Stream {
        self.own
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Was there a HelloRetryRequest?
    pub(crate) fn was_retried(&self) -> bool {
        match &self.speech {
            Speech::Tls(tls) => {
                tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
            }
            Speech::Raw => false,
        }
    }

    /// Reads and writes once. `expected` is what it should hear. Gives the nanoseconds after which it
    /// wants to go on by itself; `None` if it waits for the link.
    ///
    /// # Errors
    /// What it hears is not what the upstream said.
    pub(crate) fn step(
        &mut self,
        random: &mut Random,
        link: &mut Link,
        now: u64,
        expected: Option<Stream>,
    ) -> Result<Option<u64>, String> {
        if self.is_gone {
            return Ok(None);
        }
        self.turns += 1;
        if let Farewell::ResetAt(turn) = self.plan.farewell
            && turn == self.turns
        {
            self.has_reset = true;
            self.is_gone = true;
            link.reset(End::Far, now);
            return Ok(None);
        }
        let mut again = self.hear(random, link, expected)?;
        if self.ended == Some(Ending::Reset) {
            self.is_gone = true;
            return Ok(None);
        }
        again |= self.speak(random, link, now);
        let has_failed = self.error.is_some() || self.alert.is_some();
        if self.ended.is_some() && (self.wire.is_empty() || self.finished || has_failed) {
            // The engine has said everything.
            self.is_gone = true;
            self.finished = true;
            link.close(End::Far, now);
            return Ok(None);
        }
        let waits_for_its_turn =
            matches!(self.plan.farewell, Farewell::ResetAt(_) | Farewell::CloseAt(_));
        let again = again || (waits_for_its_turn && !self.finished && self.turns < 200);
        Ok(again.then(|| self.pause(random)))
    }

    /// How long it waits before its next turn.
    pub(crate) fn pause(&self, random: &mut Random) -> u64 {
        match self.plan.conduct {
            Conduct::Trickles => SECOND,
            _ if self.plan.reads_slowly => random.within(50 * MILLISECOND..=200 * MILLISECOND),
            _ => random.within(0..=self.plan.pause_nanos),
        }
    }

    fn hear(
        &mut self,
        random: &mut Random,
        link: &mut Link,
        expected: Option<Stream>,
    ) -> Result<bool, String> {
        if self.ended.is_some() {
            return Ok(false);
        }
        loop {
            match link.read(End::Far, random.size(1..=self.plan.turn_bytes)) {
                Read::Bytes(bytes) => {
                    self.take(&bytes, expected)?;
                    if self.plan.reads_slowly {
                        return Ok(true);
                    }
                }
                Read::Eof => {
                    self.ended = Some(Ending::Eof);
                    return Ok(true);
                }
                Read::Reset => {
                    self.ended = Some(Ending::Reset);
                    return Ok(true);
                }
                Read::NothingYet => return Ok(false),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], expected: Option<Stream>) -> Result<(), String> {
        let Speech::Tls(tls) = &mut self.speech else {
            self.heard_raw.extend_from_slice(bytes);
            if let [21, _, _, 0, 2, _, alert] = self.heard_raw[..] {
                self.alert = Some(AlertDescription::from(alert));
            }
            return Ok(());
        };
        while !bytes.is_empty() && self.error.is_none() {
            match tls.read_tls(&mut bytes) {
                // rustls takes nothing any more.
                Ok(0) => return Err("the engine goes on after its close_notify".to_owned()),
                Ok(_) => {}
                Err(error) => {
                    self.error = Some(Error::General(error.to_string()));
                    break;
                }
            }
            let state = match tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    if let Error::AlertReceived(alert) = error {
                        self.alert = Some(alert);
                    }
                    self.error = Some(error);
                    break;
                }
            };
            self.heard_close_notify |= state.peer_has_closed();
            let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
            if tls.reader().read_exact(&mut plaintext).is_err() {
                return Err("rustls promised more plaintext than it had".to_owned());
            }
            if self.plan.asks_whoami {
                self.answers.extend_from_slice(&plaintext);
            } else if let Some(stream) = expected {
                if let Some(at) = stream.first_difference(self.received, &plaintext) {
                    return Err(format!("the client got another byte than the upstream's at {at}"));
                }
            } else if !plaintext.is_empty() {
                return Err("the client got data, and there is no upstream".to_owned());
            }
            self.received += plaintext.len() as u64;
        }
        Ok(())
    }

    fn speak(&mut self, random: &mut Random, link: &mut Link, now: u64) -> bool {
        if self.finished {
            return false;
        }
        let mut again = false;
        if let Speech::Tls(tls) = &mut self.speech {
            // Written ahead of what follows: only application data is tampered with.
            write_out(tls, &mut self.wire);
            if !tls.is_handshaking() && self.error.is_none() && self.wire.len() < 65_536 {
                again |= self.say(random);
            }
        }
        let most = match self.plan.conduct {
            Conduct::Trickles => 1,
            _ => self.wire.len(),
        };
        // What cannot be sent any more is lost; the end will be heard.
        let taken = link.write(End::Far, now, &self.wire[..most.min(self.wire.len())]);
        let taken = taken.unwrap_or(self.wire.len());
        self.wire.drain(..taken);
        again |= self.plan.conduct == Conduct::Trickles && taken > 0;
        again |= self.finish(link, now);
        again
    }

    /// Gives the next of its data to TLS.
    fn say(&mut self, random: &mut Random) -> bool {
        let Speech::Tls(tls) = &mut self.speech else { return false };
        if self.said_close_notify {
            return false;
        }
        if self.key_updates < KEY_UPDATES_MAX
            && random.percent(self.plan.key_update_percent)
            && tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
            && tls.refresh_traffic_keys().is_ok()
        {
            self.key_updates += 1;
        }
        let left = usize::try_from(self.plan.bytes - self.sent).unwrap_or(usize::MAX);
        let bytes = if self.plan.asks_whoami {
            let at = usize::try_from(self.sent).unwrap_or(0) % REQUEST.len();
            REQUEST[at..].iter().copied().take(left).collect()
        } else {
            self.own.bytes(self.sent, left.min(random.size(1..=self.plan.turn_bytes)))
        };
        // rustls queues in memory without a bound: it takes everything.
        let taken = tls.writer().write(&bytes).unwrap_or(0);
        self.sent += taken as u64;
        let is_done = self.sent == self.plan.bytes;
        let says_goodbye = match self.plan.farewell {
            Farewell::Complete | Farewell::HalfClose => true,
            Farewell::AfterTheEngine => self.heard_close_notify,
            _ => false,
        };
        if is_done && says_goodbye {
            tls.send_close_notify();
            self.said_close_notify = true;
        }
        let start = self.wire.len();
        write_out(tls, &mut self.wire);
        if self.plan.conduct == Conduct::Tampers && !self.tampered && self.wire.len() > start + 21 {
            self.tampered = true;
            self.wire[start + 20] ^= 0x40;
        }
        taken > 0
    }

    /// Ends its stream if it is time; says whether it did.
    fn finish(&mut self, link: &mut Link, now: u64) -> bool {
        let is_established = match &self.speech {
            Speech::Tls(tls) => !tls.is_handshaking(),
            Speech::Raw => false,
        };
        let is_time = match self.plan.farewell {
            Farewell::CloseAt(turn) => turn <= self.turns,
            Farewell::HalfClose => self.said_close_notify && self.wire.is_empty(),
            Farewell::WithoutWord => self.heard_close_notify && self.wire.is_empty(),
            Farewell::Truncate => {
                is_established && self.sent * 2 >= self.plan.bytes && self.wire.is_empty()
            }
            _ => false,
        };
        if is_time {
            self.finished = true;
            link.shut_down(End::Far, now);
        }
        is_time
    }
}

fn write_out(tls: &mut ClientConnection, wire: &mut Vec<u8>) {
    while tls.wants_write() {
        if tls.write_tls(wire).unwrap_or(0) == 0 {
            break;
        }
    }
}

fn connect(plan: &ClientPlan) -> ClientConnection {
    let pki = Pki::get();
    let groups = match plan.offer {
        Offer::Preferred => vec![&X25519, &P256],
        Offer::Retried => vec![&P384, &X25519],
        Offer::Second => vec![&P256],
        Offer::Foreign => vec![&P384],
    };
    let version = match plan.version {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    };
    let roots = match plan.conduct {
        Conduct::Distrusts => Arc::clone(&pki.other_roots),
        _ => Arc::clone(&pki.server_roots),
    };
    let certified = pki
        .presented(plan.shown)
        .map(|presented| Arc::new(CertifiedKey::new(presented.chain, presented.key)));
    let mut config =
        ClientConfig::builder_with_details(provider::of_client(&groups), Arc::new(FixedClock))
            .with_protocol_versions(&[version])
            .expect("suites for the version")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Shows(certified)));
    config.resumption = Resumption::disabled();
    let name = SERVER_NAME.try_into().expect("a DNS name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    tls.set_buffer_limit(None);
    tls
}

#[derive(Debug)]
struct FixedClock;

impl TimeProvider for FixedClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(EPOCH_SECONDS)))
    }
}

/// Shows what it is told to, fitting or not.
#[derive(Debug)]
struct Shows(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// What a client says that does not speak TLS, all at once.
fn raw_words(conduct: Conduct, random: &mut Random) -> Vec<u8> {
    match conduct {
        Conduct::Garbage => {
            let mut bytes = vec![0; random.size(64..=2_000)];
            random.fill(&mut bytes);
            // Whatever follows, no content type of TLS.
            bytes[0] |= 0x80;
            bytes
        }
        Conduct::HugeHello => {
            let mut bytes = record(22, &[1, 0, 0xf0, 0]);
            bytes.extend(record(22, &vec![0; random.size(0..=8_000)]));
            bytes
        }
        Conduct::EndlessHello => {
            let mut message = vec![1, 0, 0x6f, 0xff, 3, 3];
            message.resize(24_000, 0);
            message.chunks(random.size(3..=8)).flat_map(|piece| record(22, piece)).collect()
        }
        Conduct::OldVersion => record(22, &old_client_hello(random)),
        Conduct::FinishedFirst => record(22, &[20, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Conduct::AlertFirst => record(21, &[2, 40]),
        _ => Vec::new(),
    }
}

fn record(content_type: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a record");
    let mut record = vec![content_type, 3, 1];
    record.extend(length.to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// A ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2), with the extension for signatures that a later
/// server may insist on.
fn old_client_hello(random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 2];
    let mut nonce = [0; 32];
    random.fill(&mut nonce);
    body.extend(nonce);
    body.push(0);
    body.extend([0, 2, 0xc0, 0x09]);
    body.extend([1, 0]);
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 8, 7]);
    let length = u8::try_from(body.len()).expect("a small body");
    let mut message = vec![1, 0, 0, length];
    message.extend(body);
    message
}
