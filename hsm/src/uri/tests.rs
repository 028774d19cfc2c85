use super::*;

fn parsed(text: &str) -> Uri {
    Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn problem(text: &str) -> String {
    match Uri::parse(text) {
        Ok(uri) => panic!("{text} was read as {uri}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_parts_of_a_uri_are_read() {
    let uri = parsed(
        "pkcs11:token=edge;object=server%20key;type=private;id=%01%AB;slot-id=7?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin",
    );
    assert_eq!(uri.token(), Some("edge"));
    assert_eq!(uri.object(), Some("server key"));
    assert_eq!(uri.class(), Some(KeyClass::Private));
    assert_eq!(uri.id(), Some(&[1, 0xab][..]));
    assert_eq!(uri.slot_id(), Some(7));
    assert_eq!(uri.module_path(), Some(Path::new("/usr/lib/softhsm/libsofthsm2.so")));
    assert_eq!(uri.pin_source(), Some(&PinSource::File("/run/secrets/pin".into())));
    assert_eq!(uri.serial(), None);
}

#[test]
fn the_examples_of_rfc_7512_are_read_or_refused_for_a_reason() {
    // Section 3; those with pin-value and with a command hold what is refused here.
    for text in [
        "pkcs11:",
        "pkcs11:object=my-pubkey;type=public",
        "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
        "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-source=file:/etc/pin",
        "pkcs11:slot-description=Sun%20Metaslot",
        "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
    ] {
        parsed(text);
    }
    assert!(problem("pkcs11:object=my-key?pin-source=|/usr/lib/pinomatic").contains("command"));
    assert!(
        problem("pkcs11:token=a?module-name=mypkcs11&pin-value=the-pin").contains("'pin-value'")
    );
    // Vendors' attributes widen nothing: what is not understood is not ignored.
    assert!(problem("pkcs11:token=a;vendor-aaa=value").contains("'vendor-aaa' is unknown"));
}

#[test]
fn a_pin_is_refused_and_not_repeated() {
    for text in [
        "pkcs11:token=a?pin-value=s3cret",
        "pkcs11:token=a;pin-value=s3cret",
        "pkcs11:token=a?pin-source=s3cret",
        "pkcs11:token=a?s3cret",
        "pkcs11:token=a;s3cret",
        "pkcs11:token=s3cret%zz",
    ] {
        let text = problem(text);
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn an_error_names_the_attribute_and_what_is_wrong() {
    for (text, named, said) in [
        ("pkcs11:token=a;token=b", "'token'", "twice"),
        ("pkcs11:id=%0", "'id'", "hexadecimal"),
        ("pkcs11:object=a b", "'object'", "%20"),
        ("pkcs11:object=a#b", "'object'", "percent-encoded"),
        ("pkcs11:object=%ff", "'object'", "UTF-8"),
        ("pkcs11:object=%00", "'object'", "zero"),
        ("pkcs11:type=key", "'type'", "private"),
        ("pkcs11:slot-id=-1", "'slot-id'", "decimal"),
        ("pkcs11:slot-id=99999999999999999999", "'slot-id'", "decimal"),
        ("pkcs11:module-path=a", "'module-path'", "'?'"),
        ("pkcs11:?module-path=a.so", "'module-path'", "absolute"),
        ("pkcs11:?module-name=../a", "'module-name'", "plain"),
        ("pkcs11:?token=a", "'token'", "unknown after '?'"),
        ("pkcs11:token=a;", "'(without a name)'", "'='"),
    ] {
        let text = problem(text);
        assert!(text.contains(named) && text.contains(said), "{text}");
    }
    assert!(problem("token=a").contains("pkcs11:"));
    assert!(problem(&format!("pkcs11:object={}", "a".repeat(1025))).contains("1024 bytes"));
    assert!(problem(&format!("pkcs11:{}", "a".repeat(5000))).contains("4096 bytes"));
}

#[test]
fn the_token_alone_has_no_object_no_module_and_no_pin() {
    let uri = parsed(
        "PKCS11:object=k;id=%01;type=private;serial=1;token=a?module-name=x&pin-source=env:P",
    );
    assert_eq!(uri.token_only().to_string(), "pkcs11:token=a;serial=1");
    assert_eq!(
        uri.token_only().with_object("k;", &[1, 0xff]).to_string(),
        "pkcs11:token=a;serial=1;object=k%3B;id=%01%FF"
    );
    assert_eq!(uri.with_object("", &[]).object(), None);
}

#[test]
fn a_token_matches_by_every_part_that_is_named() {
    let info = TokenInfo {
        label: "edge".into(),
        manufacturer: "m".into(),
        model: "x".into(),
        serial: "12".into(),
        slot_id: 3,
        slot_description: "slot".into(),
        slot_manufacturer: "s".into(),
        max_sessions: None,
        sessions: None,
        login_required: true,
        pin_initialized: true,
        pin_typed_at_token: false,
        write_protected: false,
        pin_count_low: false,
        pin_final_try: false,
        pin_locked: false,
        pin_to_be_changed: false,
        error_state: false,
    };
    for text in [
        "pkcs11:",
        "pkcs11:token=edge",
        "pkcs11:slot-id=3;serial=12",
        &Uri::of_token(&info).to_string(),
    ] {
        assert!(parsed(text).matches_token(&info), "{text}");
    }
    for text in [
        "pkcs11:token=",
        "pkcs11:token=Edge",
        "pkcs11:token=edge;serial=13",
        "pkcs11:slot-id=4",
        "pkcs11:slot-description=x",
    ] {
        assert!(!parsed(text).matches_token(&info), "{text}");
    }
}

/// SplitMix64: the same texts in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }
}

const PIECES: [&str; 40] = [
    "pkcs11:",
    "token=",
    "object=",
    "id=",
    "type=",
    "slot-id=",
    "serial=",
    "model=",
    "manufacturer=",
    "library-version=",
    "module-path=",
    "module-name=",
    "pin-source=",
    "pin-value=",
    "file:",
    "env:",
    "fd:",
    "/",
    "//",
    "?",
    "&",
    ";",
    "=",
    "%",
    "%41",
    "%00",
    "%ff",
    "%C3%A9",
    "private",
    "secret-key",
    "1",
    "18446744073709551615",
    "a",
    "Z",
    "~",
    "|",
    " ",
    "é",
    "\0",
    "\u{10ffff}",
];

#[test]
fn no_text_makes_it_panic_and_what_is_read_is_canonical() {
    let mut seeded = Seeded(7512);
    let mut read = 0;
    for _ in 0..200_000 {
        let mut text = if seeded.below(8) > 0 { "pkcs11:".to_owned() } else { String::new() };
        for _ in 0..seeded.below(12) {
            text.push_str(PIECES[seeded.below(PIECES.len())]);
        }
        check(&text, &mut read);
    }
    assert!(read > 5_000, "only {read} of the texts were URIs");
}

#[test]
fn a_uri_that_was_damaged_is_read_or_refused() {
    let whole = parsed(
        "pkcs11:token=a%20b;manufacturer=m;model=x;serial=0;slot-id=1;object=k;type=private;id=%00%01?module-path=/a/b%26c&pin-source=fd:3",
    )
    .to_string();
    let mut seeded = Seeded(1);
    let mut read = 0;
    for _ in 0..100_000 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=seeded.below(3) {
            let at = seeded.below(bytes.len());
            match seeded.below(3) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] = u8::try_from(seeded.below(128)).expect("ASCII"),
                _ => bytes.insert(at, whole.as_bytes()[seeded.below(whole.len())]),
            }
        }
        check(&String::from_utf8(bytes).expect("ASCII"), &mut read);
    }
    assert!(read > 5_000, "only {read} of the texts were URIs");
}

fn check(text: &str, read: &mut usize) {
    let Ok(uri) = Uri::parse(text) else { return };
    *read += 1;
    let canonical = uri.to_string();
    assert_eq!(Uri::parse(&canonical).as_ref(), Ok(&uri), "{text:?} became {canonical:?}");
    assert_eq!(parsed(&canonical).to_string(), canonical, "{text:?}");
    let _ = parsed(&uri.token_only().to_string());
}
