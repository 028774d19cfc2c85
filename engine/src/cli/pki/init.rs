//! `countersign pki init`.

use std::path::Path;

use aws_lc_rs::rand;
use clap::Args;
use rcgen::KeyPair;

use super::authority::{Authority, Content, Kind};
use super::directory::{
    CLIENTS_CA, CRLS, Directory, INTERMEDIATE, INTERMEDIATE_KEY, ROOT, ROOT_KEY, Readers,
};
use super::error::{PkiError, Result};
use super::estate::Estate;
use super::index::{Founded, Index, Issued, Published, Record};
use super::key::{self, CaKey, KeyKind, Place};
use super::moment::{Lifetime, Moment};
use super::names;
use super::{Report, add, command, issue};

const SECRET: &str = "secret: whoever has it can let anybody in";

/// Room for ` intermediate` behind it in a common name.
const NAME_CHARACTERS_MAX: usize = 48;

#[derive(Debug, Args)]
#[command(after_help = "\
Writes into DIR, which must be empty or not there:
  root.pem          what clients and servers trust
  clients-ca.pem    the same; what the engine's client_ca names
  intermediate.pem  the CA that issues; each chain carries it
  crl.pem           the CRLs of both CAs
  index.jsonl       all that was ever issued and revoked: back it up
  root.key, intermediate.key
                    whoever has one of them can let anybody in")]
pub(super) struct InitArguments {
    /// What the CAs are called: NAME root and NAME intermediate [default: Countersign PKI and six
    /// random hex digits, so that no two PKIs have one name].
    #[arg(long)]
    name: Option<String>,
    /// Keys of both CAs.
    #[arg(long, value_name = "KIND", value_enum, default_value = "p256")]
    key_type: KeyKind,
    /// Have the intermediate sign with this key instead of a new file: a PEM file, which stays where it is, or a
    /// pkcs11: URI. A token's key that is not there is made in it; a URI without object and id means both CAs' keys.
    #[arg(long, value_name = "FILE|URI")]
    key: Option<String>,
    /// The same for the root.
    #[arg(long, value_name = "FILE|URI")]
    root_key: Option<String>,
    /// How long the root lives.
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse, default_value = "10y")]
    root_lifetime: Lifetime,
    /// How long the intermediate lives.
    #[arg(long, value_name = "TIME", value_parser = Lifetime::parse, default_value = "5y")]
    intermediate_lifetime: Lifetime,
}

pub(super) fn init(path: &Path, arguments: &InitArguments, now: Moment) -> Result<Report> {
    let name = match &arguments.name {
        Some(name) => check_name(name)?,
        None => format!("Countersign PKI {}", random_digits()?),
    };
    let given = Given::read(arguments)?;
    let directory = Directory::new(path);
    let lock = directory.make()?;

    let root_content = Content::of_authority(Kind::Root, &name, now, arguments.root_lifetime)?;
    let mut content =
        Content::of_authority(Kind::Intermediate, &name, now, arguments.intermediate_lifetime)?;
    content.not_after = content.not_after.min(root_content.not_after);
    let mut keys = Keys { directory: &directory, kind: arguments.key_type, made: Vec::new() };
    let (root_key, root_place) = keys.take(given.root, &root_content, ROOT_KEY)?;
    let root = Authority::root(&root_content, root_key)?;
    let (key, place) = keys.take(given.intermediate, &content, INTERMEDIATE_KEY)?;
    let intermediate = root.intermediate(&content, key)?;
    let made = keys.made;
    for (name, authority) in [(ROOT, &root), (CLIENTS_CA, &root), (INTERMEDIATE, &intermediate)] {
        let pem = issue::pem(authority.certificate());
        directory.write(name, pem.as_bytes(), Readers::Everybody)?;
    }

    // Last: a directory without an index is no PKI yet.
    let founded = Founded::new(now, name, root_place, place);
    let index = Index::new(&directory, founded)?;
    let mut estate = Estate::new(directory, index, lock);
    estate.index.add(vec![
        Record::Issued(record(&root_content, now, "root")),
        Record::Issued(record(&content, now, "intermediate")),
    ])?;
    let published = estate.publish(Vec::new(), now, None, false)?;

    Ok(Report::new(tell(path, &estate.index, &published, &made)))
}

/// The keys that were given on the command line.
struct Given {
    root: Option<GivenKey>,
    intermediate: Option<GivenKey>,
}

/// A key that is there already, or that a token shall make.
enum GivenKey {
    /// With its path, which holds from any directory.
    File(KeyPair, String),
    Token(Box<Place>),
}

impl Given {
    fn read(arguments: &InitArguments) -> Result<Self> {
        let read = |place: &Option<String>| place.as_deref().map(GivenKey::read).transpose();
        let (mut root, intermediate) = (read(&arguments.root_key)?, read(&arguments.key)?);
        // A token alone: it has both.
        if let (None, Some(GivenKey::Token(place))) = (&root, &intermediate)
            && !place.names_key()
        {
            root = Some(GivenKey::Token(place.clone()));
        }
        Ok(Self { root, intermediate })
    }
}

impl GivenKey {
    fn read(place: &str) -> Result<Self> {
        if key::is_token(place) {
            let place = Place::parse(place)?;
            place.reach()?;
            return Ok(Self::Token(Box::new(place)));
        }
        let path = Path::new(place);
        let key = key::read(path)?;
        let absolute = std::path::absolute(path).map_err(PkiError::file("find", path))?;
        let text = absolute.into_os_string().into_string().map_err(|_| {
            PkiError::content(
                path,
                "the path is not UTF-8, and the index could not name it; move the key",
            )
        })?;
        Ok(Self::File(key, text))
    }
}

/// Where the CAs' keys come from.
struct Keys<'a> {
    directory: &'a Directory,
    kind: KeyKind,
    /// What tokens have made.
    made: Vec<String>,
}

impl Keys<'_> {
    /// The key of the CA that `content` is about, and what the index says of where it is.
    fn take(
        &mut self,
        given: Option<GivenKey>,
        content: &Content,
        file: &str,
    ) -> Result<(CaKey, String)> {
        match given {
            Some(GivenKey::File(key, place)) => Ok((Box::new(key), place)),
            Some(GivenKey::Token(place)) => {
                let label = content.names.cn.as_deref().unwrap_or_default();
                let id = content.serial.bytes();
                let (key, place, is_new) = place.open_or_make(self.kind, label, &id)?;
                if is_new {
                    self.made.push(place.text());
                }
                Ok((Box::new(key), place.text()))
            }
            None => {
                let key = self.kind.generate()?;
                self.directory.write(file, key.serialize_pem().as_bytes(), Readers::Owner)?;
                Ok((Box::new(key), file.to_owned()))
            }
        }
    }
}

fn tell(path: &Path, index: &Index, published: &Published, made: &[String]) -> String {
    let until = |kind| {
        let ca = index.issued.iter().find(|issued| issued.kind == kind);
        ca.map_or_else(String::new, |ca| ca.not_after.to_string())
    };
    let mut text = String::new();
    add(&mut text, format_args!("Made the PKI '{}' in {}:", index.founded.name, path.display()));
    for (file, what) in [
        (ROOT, format!("the root, until {}", until(Kind::Root))),
        (INTERMEDIATE, format!("the CA that issues, until {}", until(Kind::Intermediate))),
        (CLIENTS_CA, "what client_ca names".to_owned()),
        (CRLS, format!("what is revoked: nothing; good until {}", published.next_update)),
    ] {
        add(&mut text, format_args!("  {:<24} {what}", path.join(file).display()));
    }
    for place in [&index.founded.root_key, &index.founded.intermediate_key] {
        if !key::is_token(place) {
            add(&mut text, format_args!("  {:<24} {SECRET}", path.join(place).display()));
            continue;
        }
        let how = if made.contains(place) { "made in its token" } else { "found in its token" };
        add(&mut text, format_args!("  {place}\n  {:<24} {how}, which it does not leave", ""));
    }
    add(&mut text, format_args!("Next:"));
    for words in ["issue server localhost", "issue client alice"] {
        add(&mut text, format_args!("  {}", command(path, words)));
    }
    text
}

fn check_name(name: &str) -> Result<String> {
    let name = names::attribute(name)
        .map_err(|problem| PkiError::Refused(format!("--name: {problem}")))?;
    let characters = name.chars().count();
    if characters > NAME_CHARACTERS_MAX {
        return Err(PkiError::Refused(format!(
            "--name: '{name}' has {characters} characters; give {NAME_CHARACTERS_MAX} at most"
        )));
    }
    Ok(name)
}

fn random_digits() -> Result<String> {
    let mut bytes = [0; 3];
    rand::fill(&mut bytes).map_err(|_| PkiError::Crypto {
        doing: "choose a name",
        problem: "the random number generator failed".into(),
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn record(content: &Content, now: Moment, file: &str) -> Issued {
    issue::record(content, now, file.to_owned(), None)
}
