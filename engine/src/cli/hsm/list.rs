//! `countersign hsm list`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use countersign_hsm::{
    KeyClass, KeyInfo, KeyKind, MechanismInfo, Module, ModuleInfo, PinSource, Token, TokenInfo, Uri,
};
use serde_json::{Value, json};

use super::{Ended, Typed, modules, parse_pin_source, parse_uri, with_pin};
use crate::cli::login;

#[derive(Debug, Args)]
#[command(after_help = "\
Without a PIN only public objects are seen; tokens hide private keys until
somebody logs in. The PIN comes from the URI's pin-source or from --pin-source,
and is given to one token only: say which, where there are several.
Examples:
  countersign hsm list
  countersign hsm list --pin-source file:/run/secrets/pin \\
      'pkcs11:token=edge?module-path=/usr/lib/softhsm/libsofthsm2.so'")]
pub(super) struct ListArguments {
    /// A PKCS#11 module; may be given several times [default: those that lie where their vendors put them].
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,
    /// Where the PIN is: file:/PATH, env:NAME or fd:N.
    #[arg(long, value_name = "SOURCE", value_parser = parse_pin_source)]
    pin_source: Option<Typed<PinSource>>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// The token, or the key, that is meant.
    #[arg(value_name = "URI", value_parser = parse_uri)]
    uri: Option<Typed<Uri>>,
}

/// Mechanisms that the engine uses, or makes keys with.
const NEEDED: [&str; 20] = [
    "CKM_ECDSA",
    "CKM_ECDSA_SHA256",
    "CKM_ECDSA_SHA384",
    "CKM_ECDSA_SHA512",
    "CKM_RSA_PKCS",
    "CKM_SHA256_RSA_PKCS",
    "CKM_SHA384_RSA_PKCS",
    "CKM_SHA512_RSA_PKCS",
    "CKM_RSA_PKCS_PSS",
    "CKM_SHA256_RSA_PKCS_PSS",
    "CKM_SHA384_RSA_PKCS_PSS",
    "CKM_SHA512_RSA_PKCS_PSS",
    "CKM_EDDSA",
    "CKM_SHA256_HMAC",
    "CKM_AES_CMAC",
    "CKM_EC_KEY_PAIR_GEN",
    "CKM_EC_EDWARDS_KEY_PAIR_GEN",
    "CKM_RSA_PKCS_KEY_PAIR_GEN",
    "CKM_GENERIC_SECRET_KEY_GEN",
    "CKM_AES_KEY_GEN",
];

struct SeenModule {
    path: PathBuf,
    seen: Result<(ModuleInfo, Vec<SeenToken>), String>,
}

struct SeenToken {
    info: TokenInfo,
    mechanisms: Result<Vec<MechanismInfo>, String>,
    keys: Result<Vec<KeyInfo>, String>,
    logged_in: bool,
    /// Without a key.
    uri: Uri,
}

pub(super) fn list(arguments: &ListArguments, output: &mut dyn Write) -> Result<ExitCode, Ended> {
    let given = arguments.uri.as_ref().map(Typed::get).transpose()?.cloned();
    let source = arguments.pin_source.as_ref().map(Typed::get).transpose()?;
    let uri = with_pin(&given.unwrap_or_default(), source);
    let mut paths = arguments.module.clone();
    if paths.is_empty() {
        paths = match uri.module_path().is_some() || uri.module_name().is_some() {
            true => vec![Module::find(&uri).map_err(|error| error.to_string())?],
            false => modules::installed(),
        };
    }
    if paths.is_empty() {
        return Err(Ended::Problem(format!(
            "no PKCS#11 module is where modules usually are; name yours with --module. Looked for:\n  {}",
            modules::usual()
        )));
    }
    let mut seen = Vec::with_capacity(paths.len());
    let is_only = paths.len() == 1;
    for path in paths {
        let module = SeenModule { seen: look(&path, &uri, is_only), path };
        if !arguments.json {
            // At once: the next module may take its time.
            write_module(output, &module)?;
            output.flush()?;
        }
        seen.push(module);
    }
    if arguments.json {
        let modules: Vec<Value> = seen.iter().map(module_json).collect();
        writeln!(output, "{:#}", json!({ "modules": modules }))?;
    }
    let is_found = seen.iter().any(|module| module.seen.is_ok());
    Ok(if is_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(
    path: &std::path::Path,
    uri: &Uri,
    is_only: bool,
) -> Result<(ModuleInfo, Vec<SeenToken>), String> {
    // A relative path is the shell's, and no name for the linker to look for.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let module = Module::load(&path).map_err(|error| error.to_string())?;
    let info = module.info().map_err(|error| error.to_string())?;
    let any = uri.token_only() == Uri::default();
    let tokens = if any { module.tokens() } else { module.token(uri).map(|token| vec![token]) };
    let tokens = tokens.map_err(|error| error.to_string())?;
    // A PIN that is not a token's own is one wrong try there.
    let may_log_in = !any || is_only && tokens.len() == 1;
    let seen = tokens.iter().map(|token| look_into(token, uri, may_log_in)).collect();
    Ok((info, seen))
}

fn look_into(token: &Token, uri: &Uri, may_log_in: bool) -> SeenToken {
    let mut named = token.uri().with_module_path(token.module().path());
    if let Some(source) = uri.pin_source() {
        named = named.with_pin_source(source);
    }
    let mut logged_in = false;
    let keys = token.open().map_err(|error| error.to_string()).and_then(|session| {
        if let Some(source) = uri.pin_source() {
            if !may_log_in {
                return Err(format!(
                    "not logged in: a PIN is given to one token only, and there are others; say which: countersign hsm list '{named}'"
                ));
            }
            let pin = login::read_pin(source)?;
            session.login(&pin).map_err(|error| error.to_string())?;
            logged_in = true;
        }
        let mut keys = session.keys().map_err(|error| error.to_string())?;
        keys.retain(|key| key.class != KeyClass::Data && is_meant(key, uri));
        Ok(keys)
    });
    SeenToken {
        info: token.current_info().unwrap_or_else(|_| token.info().clone()),
        mechanisms: token.mechanisms().map_err(|error| error.to_string()),
        keys,
        logged_in,
        uri: named,
    }
}

fn is_meant(key: &KeyInfo, uri: &Uri) -> bool {
    uri.object().is_none_or(|label| label == key.label)
        && uri.id().is_none_or(|id| id == key.id)
        && uri.class().is_none_or(|class| class == key.class)
}

fn write_module(output: &mut dyn Write, module: &SeenModule) -> Result<(), Ended> {
    writeln!(output, "module {}", module.path.display())?;
    let (info, tokens) = match &module.seen {
        Ok(seen) => seen,
        Err(problem) => {
            writeln!(output, "  {problem}\n")?;
            return Ok(());
        }
    };
    writeln!(
        output,
        "  {}, {}, version {}, PKCS#11 {}",
        named(&info.manufacturer),
        named(&info.description),
        info.version,
        info.cryptoki_version
    )?;
    if tokens.is_empty() {
        writeln!(output, "  no token that is initialized")?;
    }
    for token in tokens {
        write_token(output, token)?;
    }
    writeln!(output)?;
    Ok(())
}

fn write_token(output: &mut dyn Write, token: &SeenToken) -> Result<(), Ended> {
    let SeenToken { info, mechanisms, keys, logged_in, uri } = token;
    writeln!(output, "\n  token {}", named(&info.label))?;
    writeln!(output, "    serial        {}", named(&info.serial))?;
    writeln!(output, "    made by       {}, {}", named(&info.manufacturer), named(&info.model))?;
    writeln!(output, "    slot          {}, {}", info.slot_id, named(&info.slot_description))?;
    writeln!(output, "    sessions      {}", sessions(info))?;
    for flag in flags(info) {
        writeln!(output, "    note          {flag}")?;
    }
    match mechanisms {
        Ok(mechanisms) => {
            for (what, ways) in abilities(mechanisms) {
                writeln!(output, "    {what:<13} {ways}")?;
            }
        }
        Err(problem) => writeln!(output, "    mechanisms    {problem}")?,
    }
    match keys {
        Err(problem) => writeln!(output, "    keys          {problem}")?,
        Ok(keys) => {
            if keys.is_empty() {
                writeln!(output, "    keys          none are seen")?;
            }
            for key in keys {
                writeln!(output, "    {}, {}", key.class, in_words(key))?;
                writeln!(output, "      {}", to_paste(key, uri))?;
            }
        }
    }
    if !logged_in && info.login_required {
        writeln!(
            output,
            "    Private keys are shown to those who log in: name the token by its URI, and --pin-source."
        )?;
    }
    Ok(())
}

/// What a token calls something: foreign text, which may be empty.
fn named(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).collect();
    if shown.is_empty() { "(not told)".into() } else { format!("'{shown}'") }
}

fn sessions(info: &TokenInfo) -> String {
    let most = info
        .max_sessions
        .map_or_else(|| "no limit that it tells".to_owned(), |most| format!("{most} at most"));
    match info.sessions {
        Some(open) => format!("{open} open, {most}"),
        None => most,
    }
}

/// What an operator should know of its PIN and its state, in words.
fn flags(info: &TokenInfo) -> Vec<&'static str> {
    [
        (info.pin_locked, "its PIN is locked; the security officer has to unlock it"),
        (info.pin_final_try, "one more wrong PIN locks it"),
        (info.pin_count_low, "a wrong PIN was tried since the last login"),
        (info.pin_to_be_changed, "its PIN has to be changed before anything else"),
        (!info.pin_initialized && info.login_required, "it has no user PIN yet"),
        (info.pin_typed_at_token, "its PIN is typed at the token itself"),
        (info.write_protected, "it cannot be written to"),
        (info.error_state, "its self-test failed; it does nothing until it is reset"),
    ]
    .into_iter()
    .filter_map(|(is_so, words)| is_so.then_some(words))
    .collect()
}

/// What a token's mechanisms are good for, in TLS' words.
fn abilities(mechanisms: &[MechanismInfo]) -> Vec<(&'static str, String)> {
    let signs = |name: &str| mechanisms.iter().any(|one| one.name == name && one.signs);
    let any = |names: &[&str]| names.iter().any(|name| signs(name));
    let kinds = [
        ("ECDSA (TLS 1.3, 1.2)", any(&NEEDED[..4])),
        ("RSA-PSS (TLS 1.3, 1.2)", any(&NEEDED[8..12])),
        ("RSA PKCS#1 v1.5 (TLS 1.2)", any(&NEEDED[4..8])),
        ("EdDSA (TLS 1.3, 1.2)", signs("CKM_EDDSA")),
    ];
    let derives = [("HMAC-SHA-256", signs("CKM_SHA256_HMAC")), ("AES-CMAC", signs("CKM_AES_CMAC"))];
    let joined = |all: &[(&str, bool)]| {
        let words: Vec<&str> =
            all.iter().filter(|(_, has)| *has).map(|(words, _)| *words).collect();
        if words.is_empty() { "nothing that TLS could use".to_owned() } else { words.join(", ") }
    };
    let there: Vec<&str> = mechanisms
        .iter()
        .map(|one| one.name.as_str())
        .filter(|name| NEEDED.contains(name))
        .collect();
    vec![
        ("signs", joined(&kinds)),
        (
            "ticket keys",
            joined(&derives).replace("nothing that TLS could use", "cannot be derived"),
        ),
        ("mechanisms", format!("{} (of {} in all)", there.join(" "), mechanisms.len())),
    ]
}

fn in_words(key: &KeyInfo) -> String {
    let mut words = vec![key.description.clone()];
    if matches!(key.class, KeyClass::Private | KeyClass::Secret) {
        let stays = match (key.sensitive, key.extractable) {
            (Some(true), Some(false)) => "stays in the token",
            (_, Some(true)) => "can be taken out of the token",
            (Some(false), _) => "can be read",
            _ => "the token does not tell whether it stays",
        };
        words.push(stays.into());
        if key.sign == Some(false) {
            words.push("may not sign".into());
        }
        if key.always_authenticate == Some(true) {
            words.push("wants the PIN for each signature".into());
        }
    }
    words.join(", ")
}

/// The URI to configure, with the module and where the PIN comes from.
fn to_paste(key: &KeyInfo, token: &Uri) -> Uri {
    token.with_object(&key.label, &key.id).with_class(key.class)
}

fn module_json(module: &SeenModule) -> Value {
    let path = module.path.display().to_string();
    match &module.seen {
        Err(problem) => json!({ "path": path, "error": problem }),
        Ok((info, tokens)) => json!({
            "path": path,
            "manufacturer": info.manufacturer,
            "description": info.description,
            "version": info.version,
            "pkcs11": info.cryptoki_version,
            "tokens": tokens.iter().map(token_json).collect::<Vec<_>>(),
        }),
    }
}

fn token_json(token: &SeenToken) -> Value {
    let SeenToken { info, mechanisms, keys, logged_in, uri } = token;
    let names = mechanisms.as_ref().map(|all| {
        all.iter().filter(|one| NEEDED.contains(&one.name.as_str())).map(mechanism_json)
    });
    json!({
        "uri": uri.to_string(),
        "label": info.label,
        "serial": info.serial,
        "manufacturer": info.manufacturer,
        "model": info.model,
        "slot": info.slot_id,
        "slot_description": info.slot_description,
        "sessions": info.sessions,
        "max_sessions": info.max_sessions,
        "login_required": info.login_required,
        "logged_in": logged_in,
        "pin_count_low": info.pin_count_low,
        "pin_final_try": info.pin_final_try,
        "pin_locked": info.pin_locked,
        "notes": flags(info),
        "mechanisms": names.as_ref().ok().map(|all| all.clone().collect::<Vec<_>>()),
        "keys": keys.as_ref().ok().map(|keys| {
            keys.iter().map(|key| key_json(key, uri)).collect::<Vec<_>>()
        }),
        "error": names.err().or(keys.as_ref().err()),
    })
}

fn mechanism_json(mechanism: &MechanismInfo) -> Value {
    let MechanismInfo { name, key_min, key_max, signs, generates, hardware, .. } = mechanism;
    json!({
        "name": name,
        "key_min": key_min,
        "key_max": key_max,
        "signs": signs,
        "generates": generates,
        "hardware": hardware,
    })
}

fn key_json(key: &KeyInfo, token: &Uri) -> Value {
    let id: String = key.id.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "uri": to_paste(key, token).to_string(),
        "class": key.class.uri_name(),
        "label": key.label,
        "id": id,
        "type": key.description,
        "schemes": key.kind.map(KeyKind::schemes).unwrap_or_default().iter().map(|scheme| scheme.name()).collect::<Vec<_>>(),
        "sensitive": key.sensitive,
        "extractable": key.extractable,
        "sign": key.sign,
        "always_authenticate": key.always_authenticate,
    })
}
