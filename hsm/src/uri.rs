//! PKCS#11 URIs (RFC 7512).

mod attribute;
mod percent;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::key::KeyClass;
use crate::module::ModuleInfo;
use crate::pin::PinSource;
use crate::token::TokenInfo;
use attribute::Text;

/// The longest URI in bytes.
const URI_BYTES_MAX: usize = 4096;
/// The longest value of an attribute in bytes, decoded.
const VALUE_BYTES_MAX: usize = 1024;

/// A `pkcs11:` URI: which module, token and object, and where the PIN comes from. It never holds a PIN.
///
/// Written out, it is canonical: attributes in a fixed order, everything escaped that may have to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uri {
    texts: [Option<String>; Text::COUNT],
    slot_id: Option<u64>,
    id: Option<Vec<u8>>,
    class: Option<KeyClass>,
    module_path: Option<PathBuf>,
    module_name: Option<String>,
    pin_source: Option<PinSource>,
}

/// What is wrong with a URI, and with which of its attributes. Holds no value of an attribute, which may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not begin with `pkcs11:`.
    #[error("a PKCS#11 URI begins with 'pkcs11:', such as pkcs11:token=edge;object=server")]
    Scheme,
    /// It is longer than any such URI has to be.
    #[error("a PKCS#11 URI may have {URI_BYTES_MAX} bytes, and this has {0}")]
    TooLong(usize),
    /// One attribute is wrong.
    #[error("in the PKCS#11 URI, attribute '{attribute}' {problem}")]
    Attribute {
        /// The name of the attribute, as it was written.
        attribute: String,
        /// What is wrong, to go on from the name.
        problem: String,
    },
}

impl UriError {
    fn attribute(name: &str, problem: impl Into<String>) -> Self {
        // A name that is none may be anything, of any length.
        let attribute = name.chars().take(40).flat_map(char::escape_default).collect();
        Self::Attribute { attribute, problem: problem.into() }
    }
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// When it is not well-formed, when an attribute is unknown (section 2.3 lets a consumer refuse it, and what is ignored
    /// would widen the match), stands twice or has a wrong value, when it holds the PIN itself (`pin-value`), or when its
    /// `pin-source` is a command.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong(text.len()));
        }
        // A scheme's case does not matter (RFC 3986, section 3.1).
        let scheme = text.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"));
        let rest = scheme.map(|_| &text[7..]).ok_or(UriError::Scheme)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        for part in path.split(';').filter(|_| !path.is_empty()) {
            let (name, value) = split(part)?;
            uri.set_path(name, percent::decode(name, value, percent::PATH)?)?;
        }
        for part in
            query.into_iter().flat_map(|query| query.split('&')).filter(|_| query != Some(""))
        {
            let (name, value) = split(part)?;
            uri.set_query(name, value)?;
        }
        Ok(uri)
    }

    /// The URI of a token, by what tells it from others: its label and its serial number.
    #[must_use]
    pub fn of_token(info: &TokenInfo) -> Self {
        let mut uri = Self::default();
        for (text, value) in [(Text::Token, &info.label), (Text::Serial, &info.serial)] {
            if !value.is_empty() {
                uri.texts[text as usize] = Some(value.clone());
            }
        }
        uri
    }

    /// `module-path`: where the module lies.
    #[must_use]
    pub fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// `module-name`: what the module is called, to be looked for by [`Module::find`](crate::Module::find).
    #[must_use]
    pub fn module_name(&self) -> Option<&str> {
        self.module_name.as_deref()
    }

    /// `pin-source`: where the PIN comes from.
    #[must_use]
    pub fn pin_source(&self) -> Option<&PinSource> {
        self.pin_source.as_ref()
    }

    /// `object`: the label of the key.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.text(Text::Object)
    }

    /// `id`: the `CKA_ID` of the key.
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// `type`: what kind of object is meant.
    #[must_use]
    pub fn class(&self) -> Option<KeyClass> {
        self.class
    }

    /// `token`: the label of the token.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.text(Text::Token)
    }

    /// `serial`: the serial number of the token.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.text(Text::Serial)
    }

    /// `slot-id`: the slot of the token.
    #[must_use]
    pub fn slot_id(&self) -> Option<u64> {
        self.slot_id
    }

    /// `manufacturer`: who made the token.
    #[must_use]
    pub fn manufacturer(&self) -> Option<&str> {
        self.text(Text::Manufacturer)
    }

    /// `model`: the model of the token.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.text(Text::Model)
    }

    /// The same token without object, module and PIN source.
    #[must_use]
    pub fn token_only(&self) -> Self {
        let mut uri = self.clone();
        uri.texts[Text::Object as usize] = None;
        Self {
            id: None,
            class: None,
            module_path: None,
            module_name: None,
            pin_source: None,
            ..uri
        }
    }

    /// The same with the object of this label and `CKA_ID`, of which either may be empty.
    #[must_use]
    pub fn with_object(&self, label: &str, id: &[u8]) -> Self {
        let mut uri = self.clone();
        uri.texts[Text::Object as usize] = (!label.is_empty()).then(|| label.to_owned());
        uri.id = (!id.is_empty()).then(|| id.to_vec());
        uri
    }

    /// The same for objects of this class.
    #[must_use]
    pub fn with_class(&self, class: KeyClass) -> Self {
        Self { class: Some(class), ..self.clone() }
    }

    /// The same with the module at this path, instead of whatever module it named.
    #[must_use]
    pub fn with_module_path(&self, path: &Path) -> Self {
        Self { module_path: Some(path.to_owned()), module_name: None, ..self.clone() }
    }

    /// The same with the PIN from there.
    #[must_use]
    pub fn with_pin_source(&self, source: &PinSource) -> Self {
        Self { pin_source: Some(source.clone()), ..self.clone() }
    }

    /// Whether the token is one that is meant.
    pub(crate) fn matches_token(&self, info: &TokenInfo) -> bool {
        self.slot_id.is_none_or(|slot| slot == info.slot_id)
            && [
                (Text::Token, &info.label),
                (Text::Manufacturer, &info.manufacturer),
                (Text::Serial, &info.serial),
                (Text::Model, &info.model),
                (Text::SlotDescription, &info.slot_description),
                (Text::SlotManufacturer, &info.slot_manufacturer),
            ]
            .into_iter()
            .all(|(text, value)| self.text(text).is_none_or(|wanted| wanted == value))
    }

    /// In what the module is not the one that is meant.
    pub(crate) fn contradicts_module(&self, info: &ModuleInfo) -> Option<String> {
        [
            (Text::LibraryManufacturer, &info.manufacturer),
            (Text::LibraryDescription, &info.description),
            (Text::LibraryVersion, &info.version),
        ]
        .into_iter()
        .find_map(|(text, value)| {
            let wanted = self.text(text).filter(|wanted| wanted != value)?;
            Some(format!("the URI has {}={wanted}, and the module has '{value}'", text.name()))
        })
    }

    fn text(&self, text: Text) -> Option<&str> {
        self.texts[text as usize].as_deref()
    }

    fn set_path(&mut self, name: &str, value: Vec<u8>) -> Result<(), UriError> {
        let wrong = |problem: &str| UriError::attribute(name, problem);
        match name {
            "id" => set(name, &mut self.id, value),
            "type" => {
                let class = str::from_utf8(&value).ok().and_then(KeyClass::from_uri);
                let class = class.ok_or_else(|| {
                    wrong("is none of private, public, cert, secret-key and data")
                })?;
                set(name, &mut self.class, class)
            }
            "slot-id" => {
                let digits = str::from_utf8(&value)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = digits.and_then(|text| text.parse().ok());
                set(
                    name,
                    &mut self.slot_id,
                    number.ok_or_else(|| wrong("is not a decimal number"))?,
                )
            }
            "pin-value" | "pin-source" | "module-path" | "module-name" => {
                Err(wrong("belongs after a '?', with others of its kind after '&'"))
            }
            _ => {
                let known = Text::from_name(name).ok_or_else(|| {
                    wrong("is unknown; known are token, serial, model, manufacturer, slot-id, slot-description, slot-manufacturer, library-manufacturer, library-description, library-version, object, id, type")
                })?;
                set(name, &mut self.texts[known as usize], utf8(name, value)?)
            }
        }
    }

    fn set_query(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        // Before anything is said about its value.
        if name == "pin-value" {
            let problem = "would keep the PIN in the configuration; use pin-source=file:/path, env:NAME or fd:N";
            return Err(UriError::attribute(name, problem));
        }
        let wrong = |problem: String| UriError::attribute(name, problem);
        let value = percent::decode(name, value, percent::QUERY)?;
        match name {
            "pin-source" => {
                let source = PinSource::parse(&utf8(name, value)?);
                set(name, &mut self.pin_source, source.map_err(|error| wrong(error.to_string()))?)
            }
            "module-path" => {
                let path = PathBuf::from(OsString::from_vec(value));
                if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
                    return Err(wrong("is not an absolute path".into()));
                }
                set(name, &mut self.module_path, path)
            }
            "module-name" => {
                let module = utf8(name, value)?;
                let is_name = module
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
                if !is_name || module.is_empty() || module.starts_with('.') {
                    return Err(wrong("is not a plain file name without its directory".into()));
                }
                set(name, &mut self.module_name, module)
            }
            _ => Err(wrong(
                "is unknown after '?'; known are module-path, module-name and pin-source".into(),
            )),
        }
    }
}

fn split(part: &str) -> Result<(&str, &str), UriError> {
    // What stands there instead of a name may be a secret: it is not repeated.
    part.split_once('=').ok_or_else(|| UriError::attribute("(without a name)", "has no '='"))
}

fn utf8(name: &str, value: Vec<u8>) -> Result<String, UriError> {
    let text = String::from_utf8(value).map_err(|_| UriError::attribute(name, "is not UTF-8"))?;
    if text.contains('\0') {
        return Err(UriError::attribute(name, "has a zero byte"));
    }
    Ok(text)
}

/// Section 2.3: an attribute MUST NOT stand more than once.
fn set<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::attribute(name, "stands twice")),
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        let texts = Text::ALL
            .iter()
            .filter_map(|text| Some((text.name(), self.text(*text)?.as_bytes().to_vec())));
        let slot = self.slot_id.map(|slot| ("slot-id", slot.to_string().into_bytes()));
        let class = self.class.map(|class| ("type", class.uri_name().as_bytes().to_vec()));
        let mut separator = "";
        for (name, value) in texts.chain(slot).chain(class) {
            write!(f, "{separator}{name}={}", percent::Encoded(&value, percent::PATH))?;
            separator = ";";
        }
        if let Some(id) = &self.id {
            // Section 2.3: the whole id SHOULD be percent-encoded.
            write!(f, "{separator}id={}", percent::Encoded(id, ""))?;
        }
        let path = self
            .module_path
            .as_ref()
            .map(|path| ("module-path", path.as_os_str().as_bytes().to_vec()));
        let name = self.module_name.as_ref().map(|name| ("module-name", name.as_bytes().to_vec()));
        let pin =
            self.pin_source.as_ref().map(|source| ("pin-source", source.to_string().into_bytes()));
        separator = "?";
        for (name, value) in path.into_iter().chain(name).chain(pin) {
            write!(f, "{separator}{name}={}", percent::Encoded(&value, percent::QUERY))?;
            separator = "&";
        }
        Ok(())
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
