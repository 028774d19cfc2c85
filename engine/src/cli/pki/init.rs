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
use super::key::{self, KeyKind};
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
    /// Have the intermediate sign with this key, a PEM file, instead of a new one; it stays where it is.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
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
    let given = arguments.key.as_deref().map(given_key).transpose()?;
    let directory = Directory::new(path);
    let lock = directory.make()?;

    let root_content = Content::of_authority(Kind::Root, &name, now, arguments.root_lifetime)?;
    let mut content =
        Content::of_authority(Kind::Intermediate, &name, now, arguments.intermediate_lifetime)?;
    content.not_after = content.not_after.min(root_content.not_after);
    let root_key = arguments.key_type.generate()?;
    write_key(&directory, ROOT_KEY, &root_key)?;
    let root = Authority::root(&root_content, Box::new(root_key))?;
    let (key, place) = match given {
        Some(given) => given,
        None => {
            let key = arguments.key_type.generate()?;
            write_key(&directory, INTERMEDIATE_KEY, &key)?;
            (key, INTERMEDIATE_KEY.to_owned())
        }
    };
    let intermediate = root.intermediate(&content, Box::new(key))?;
    for (name, authority) in [(ROOT, &root), (CLIENTS_CA, &root), (INTERMEDIATE, &intermediate)] {
        let pem = issue::pem(authority.certificate());
        directory.write(name, pem.as_bytes(), Readers::Everybody)?;
    }

    // Last: a directory without an index is no PKI yet.
    let founded = Founded::new(now, name, ROOT_KEY.to_owned(), place);
    let index = Index::new(&directory, founded)?;
    let mut estate = Estate::new(directory, index, lock);
    estate.index.add(vec![
        Record::Issued(record(&root_content, now, "root")),
        Record::Issued(record(&content, now, "intermediate")),
    ])?;
    let published = estate.publish(Vec::new(), now, None, false)?;

    Ok(Report::new(tell(path, &estate.index, &published)))
}

fn tell(path: &Path, index: &Index, published: &Published) -> String {
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
        (&index.founded.root_key, SECRET.to_owned()),
        (&index.founded.intermediate_key, SECRET.to_owned()),
    ] {
        add(&mut text, format_args!("  {:<24} {what}", path.join(file).display()));
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

/// A key that is there already, and where: by a path that holds from any directory.
fn given_key(place: &str) -> Result<(KeyPair, String)> {
    key::refuse_token(place)?;
    let path = Path::new(place);
    let key = key::read(path)?;
    let absolute = std::path::absolute(path).map_err(PkiError::file("find", path))?;
    let text = absolute.into_os_string().into_string().map_err(|_| {
        PkiError::content(
            path,
            "the path is not UTF-8, and the index could not name it; move the key",
        )
    })?;
    Ok((key, text))
}

fn write_key(directory: &Directory, name: &str, key: &KeyPair) -> Result<()> {
    directory.write(name, key.serialize_pem().as_bytes(), Readers::Owner)
}

fn record(content: &Content, now: Moment, file: &str) -> Issued {
    issue::record(content, now, file.to_owned(), None)
}
