use super::*;

fn name() -> TokenName {
    let text = |text: &str| text.to_owned();
    TokenName { label: text("edge"), serial: text("01"), manufacturer: text("m"), model: text("x") }
}

fn key() -> Key {
    Key { id: 7, uri: "pkcs11:object=a".to_owned(), spki: vec![1, 2, 3] }
}

fn given(pin: &str, is_another: bool) -> Given {
    Given { pin: Secret(Zeroizing::new(pin.to_owned())), is_another }
}

fn to_child() -> Vec<ToChild> {
    let hello = Hello {
        version: VERSION,
        module: b"/lib/module.so".to_vec(),
        token: "pkcs11:token=edge".to_owned(),
        least: 1,
        most: 64,
        queue: 1_024,
        deadline_us: 1_000_000,
    };
    let message = vec![9; 130];
    vec![
        ToChild::Hello(hello),
        ToChild::Pin(Ok(None)),
        ToChild::Pin(Ok(Some(given("1234", false)))),
        ToChild::Pin(Ok(Some(given("5678", true)))),
        ToChild::Pin(Err(StationError::fatal("refused before"))),
        ToChild::Pin(Err(StationError::passing("somebody tries it"))),
        ToChild::Known { key: key() },
        ToChild::Begin,
        ToChild::Sign {
            operation: u64::MAX,
            key: 7,
            scheme: Scheme::EcdsaP256Sha256,
            message: message.clone(),
        },
        ToChild::Find { request: 1, key: key() },
        ToChild::Challenge {
            request: 2,
            key: 7,
            scheme: Scheme::Ed25519,
            message: message.clone(),
        },
        ToChild::Derive { request: 3, uri: "pkcs11:object=t".to_owned(), message },
        ToChild::Forget { key: 7 },
    ]
}

fn to_parent() -> Vec<ToParent> {
    let info = StationInfo {
        label: "edge".to_owned(),
        serial: "01".to_owned(),
        manufacturer: String::new(),
        model: "x".to_owned(),
        lanes: 64,
        max_sessions: Some(0),
    };
    let refusal = Refusal { reason: RefusalReason::Key, problem: "gone".to_owned() };
    vec![
        ToParent::Found(name()),
        ToParent::PinTried { token: name(), is_refused: true },
        ToParent::PinTried { token: name(), is_refused: false },
        ToParent::Up(StationInfo { max_sessions: None, ..info.clone() }),
        ToParent::Up(info),
        ToParent::Down { remedy: Remedy::Fatal, is_final: false, problem: "why".to_owned() },
        ToParent::Answer { operation: 5, result: Ok(vec![0x30; 71]) },
        ToParent::Answer { operation: 5, result: Err(refusal) },
        ToParent::Lanes { busy: 1, open: 2, waiting: 3 },
        ToParent::Notice("n".to_owned()),
        ToParent::Stuck("s".to_owned()),
        ToParent::Key { request: 1, schemes: Scheme::ALL.to_vec(), spki: None },
        ToParent::Key { request: 1, schemes: vec![], spki: Some(vec![]) },
        ToParent::Bytes { request: 2, bytes: Zeroizing::new(vec![1; 32]) },
        ToParent::Failed { request: 3, remedy: Remedy::Reopen, problem: "f".to_owned() },
    ]
}

#[test]
fn every_frame_is_read_as_it_was_written_however_it_arrives() {
    let (ours, theirs) = (to_child(), to_parent());
    let mut stream = Vec::new();
    ours.iter().for_each(|frame| frame.write(&mut stream));
    let mut frames = Frames::new();
    let mut read = Vec::new();
    // One byte at a time.
    for byte in &stream {
        frames.fill(&mut &[*byte][..]).expect("memory");
        read.extend(frames.next(ToChild::read).expect("what was written"));
    }
    assert_eq!(read, ours);
    // All at once.
    stream.clear();
    theirs.iter().for_each(|frame| frame.write(&mut stream));
    let mut stream = &stream[..];
    let mut read = Vec::new();
    while frames.fill(&mut stream).expect("memory") > 0 {
        while let Some(frame) = frames.next(ToParent::read).expect("what was written") {
            read.push(frame);
        }
    }
    assert_eq!(read, theirs);
}

#[test]
fn no_cut_and_no_flipped_byte_of_a_frame_panics() {
    for frame in to_parent() {
        let mut written = Vec::new();
        frame.write(&mut written);
        let body = &written[4..];
        for cut in 0..body.len() {
            assert_eq!(ToParent::read(&body[..cut]), None, "{frame:?} cut at {cut}");
        }
        for at in 0..body.len() {
            for flip in [1, 0x80, 0xff] {
                let mut other = body.to_vec();
                other[at] ^= flip;
                // Whatever it reads is something that can be said.
                drop(ToParent::read(&other));
            }
        }
        let mut longer = body.to_vec();
        longer.push(0);
        assert_eq!(ToParent::read(&longer), None, "{frame:?} and one byte more");
    }
}

#[test]
fn a_length_beyond_the_bound_is_not_waited_for() {
    for length in [0, FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut frames = Frames::new();
        frames.fill(&mut &length.to_le_bytes()[..]).expect("memory");
        assert_eq!(frames.next(ToChild::read), Err(Garbled), "{length}");
    }
}

#[test]
fn a_long_text_is_cut_between_letters() {
    let mut written = Vec::new();
    ToParent::Notice("\u{20ac}".repeat(TEXT_BYTES_MAX)).write(&mut written);
    let Some(ToParent::Notice(text)) = ToParent::read(&written[4..]) else { panic!("a notice") };
    assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with('\u{20ac}'));
}

#[test]
fn a_pin_does_not_stay_in_the_buffer() {
    const PIN: &str = "correct horse battery";
    let mut stream = Vec::new();
    ToChild::Pin(Ok(Some(given(PIN, false)))).write(&mut stream);
    let mut frames = Frames::new();
    frames.fill(&mut &stream[..]).expect("memory");
    let holds = |frames: &Frames| frames.buffer.windows(PIN.len()).any(|at| at == PIN.as_bytes());
    assert!(holds(&frames));
    drop(frames.next(ToChild::read).expect("a PIN"));
    frames.wipe();
    assert!(!holds(&frames));
}
