//! A vendor's library.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countersign_hsm_sign::SignFunction;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as CryptokiError, RvError};

use crate::error::{Error, Remedy};
use crate::token::{self, Token};
use crate::uri::Uri;

/// Where distributions and vendors put modules that are named without a path.
const DIRECTORIES: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11",
    "/usr/lib/aarch64-linux-gnu/pkcs11",
    "/usr/lib64/pkcs11",
    "/usr/lib/pkcs11",
    "/usr/local/lib/pkcs11",
    "/usr/lib/softhsm",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// Modules of one process. They are never unloaded, so that this bounds them.
const MODULES_MAX: usize = 64;

/// A PKCS#11 module that is loaded and initialized. Cheap to clone; the clones are one module.
#[derive(Clone)]
pub struct Module {
    loaded: Arc<Loaded>,
}

struct Loaded {
    path: PathBuf,
    pkcs11: Pkcs11,
    /// Once a key wants it.
    sign: OnceLock<SignFunction>,
    /// Counts the initializations: handles and slots of one mean nothing in the next.
    generation: AtomicU64,
}

/// What a module says of itself (`C_GetInfo`, section 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub description: String,
    /// Its own version, `major.minor`.
    pub version: String,
    /// The version of PKCS#11 that it speaks, `major.minor`.
    pub cryptoki_version: String,
}

/// A place for each path, so that two modules do not wait for each other's `C_Initialize`.
type Places = BTreeMap<PathBuf, Arc<Mutex<Option<Arc<Loaded>>>>>;

static PLACES: Mutex<Places> = Mutex::new(BTreeMap::new());

impl Module {
    /// The library that `uri` names: its `module-path`, or its `module-name` in the directories where modules
    /// usually lie.
    ///
    /// # Errors
    /// When the URI names none, or there is none of that name; the error says where it was looked for.
    pub fn find(uri: &Uri) -> Result<PathBuf, Error> {
        if let Some(path) = uri.module_path() {
            return Ok(path.to_owned());
        }
        let Some(name) = uri.module_name() else {
            let problem =
                "the URI names no module; add ?module-path=/path/of/the/vendor's/library.so";
            return Err(Error::fatal("dlopen", problem.into()));
        };
        let files = [format!("{name}.so"), format!("lib{name}.so"), name.to_owned()];
        let places = DIRECTORIES
            .iter()
            .flat_map(|directory| files.iter().map(move |file| Path::new(directory).join(file)));
        places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            let problem = format!(
                "there is no module '{name}' (nor '{name}.so' or 'lib{name}.so') in {}; say where it lies with module-path",
                DIRECTORIES.join(", ")
            );
            Error::fatal("dlopen", problem)
        })
    }

    /// Loads the library at `path`, an absolute path, and initializes it; if this process has done so before, that is
    /// the module.
    ///
    /// # Errors
    /// When there is no such file, when it is not a PKCS#11 module, or when `C_Initialize` (section 5.4) fails.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let fails =
            |problem: String| Error::fatal("dlopen", format!("{}: {problem}", path.display()));
        // A bare name would be looked for along the linker's path, where others may put things.
        if !path.is_absolute() {
            return Err(fails("the path of a module must be absolute".into()));
        }
        let real = path.canonicalize().map_err(|error| fails(error.to_string()))?;
        let place = place(&real).ok_or_else(|| {
            fails(format!("this process has loaded {MODULES_MAX} modules, which is the limit"))
        })?;
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*place {
            return Ok(Self { loaded: Arc::clone(loaded) });
        }
        let pkcs11 = Pkcs11::new(path).map_err(|error| match error {
            CryptokiError::LibraryLoading(problem) => fails(format!("cannot be loaded: {problem}")),
            CryptokiError::MissingSymbol(name) => {
                fails(format!("is not a PKCS#11 module: it has no {name}"))
            }
            other => Error::of("C_GetFunctionList", other),
        })?;
        initialize(&pkcs11)?;
        let loaded = Arc::new(Loaded {
            path: path.to_owned(),
            pkcs11,
            sign: OnceLock::new(),
            generation: AtomicU64::new(0),
        });
        *place = Some(Arc::clone(&loaded));
        Ok(Self { loaded })
    }

    /// The path that it was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.loaded.path
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When `C_GetInfo` fails.
    pub fn info(&self) -> Result<ModuleInfo, Error> {
        let info =
            self.pkcs11().get_library_info().map_err(|error| Error::of("C_GetInfo", error))?;
        Ok(ModuleInfo {
            manufacturer: token::trimmed(info.manufacturer_id()),
            description: token::trimmed(info.library_description()),
            version: info.library_version().to_string(),
            cryptoki_version: info.cryptoki_version().to_string(),
        })
    }

    /// Its tokens that are present and initialized, at most [`Token::MAX`].
    ///
    /// # Errors
    /// When `C_GetSlotList` fails, or when there is a slot and none tells about its token.
    pub fn tokens(&self) -> Result<Vec<Token>, Error> {
        token::all(self)
    }

    /// The one token that `uri` names, by label, serial number, slot or whatever else of its parts it has.
    ///
    /// # Errors
    /// When none or several match: the error lists what is there.
    pub fn token(&self, uri: &Uri) -> Result<Token, Error> {
        token::one(self, uri)
    }

    /// Finalizes and initializes it again, which some modules need to see a token that was away. The caller
    /// guarantees that no session of it lives, in any thread; tokens, sessions and keys of before are refused from then on.
    ///
    /// # Errors
    /// When `C_Finalize` or `C_Initialize` fails.
    pub fn reinitialize(&self) -> Result<(), Error> {
        let result = self.pkcs11().clone().finalize();
        if !matches!(result, Err(CryptokiError::Pkcs11(RvError::CryptokiNotInitialized, _))) {
            result.map_err(|error| Error::of("C_Finalize", error))?;
        }
        self.loaded.generation.fetch_add(1, Ordering::Relaxed);
        initialize(self.pkcs11())
    }

    pub(crate) fn pkcs11(&self) -> &Pkcs11 {
        &self.loaded.pkcs11
    }

    /// Its `C_Sign`, for signatures that are begun apart.
    pub(crate) fn sign_function(&self) -> Result<SignFunction, Error> {
        if let Some(sign) = self.loaded.sign.get() {
            return Ok(*sign);
        }
        let sign = SignFunction::of(self.loaded.path.as_os_str())
            .map_err(|error| Error::of("C_GetFunctionList", error))?;
        Ok(*self.loaded.sign.get_or_init(|| sign))
    }

    pub(crate) fn generation(&self) -> u64 {
        self.loaded.generation.load(Ordering::Relaxed)
    }

    /// Refuses what was found before [`Self::reinitialize`], or in another module.
    pub(crate) fn expect_current(
        &self,
        generation: u64,
        function: &'static str,
    ) -> Result<(), Error> {
        if generation == self.generation() {
            return Ok(());
        }
        let problem =
            "the module was initialized again since; tokens and keys have to be found again";
        Err(Error::found(function, Remedy::Reopen, problem.into()))
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("path", &self.loaded.path).finish_non_exhaustive()
    }
}

fn place(path: &Path) -> Option<Arc<Mutex<Option<Arc<Loaded>>>>> {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    if !places.contains_key(path) && places.len() == MODULES_MAX {
        return None;
    }
    Some(Arc::clone(places.entry(path.to_owned()).or_default()))
}

fn initialize(pkcs11: &Pkcs11) -> Result<(), Error> {
    let several_threads = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match pkcs11.initialize(several_threads) {
        // Another library of this process (an OpenSSL engine, say) was first: its sessions and ours can live together.
        Err(CryptokiError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        result => result.map_err(|error| Error::of("C_Initialize", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused_with_its_path() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Module::load(file.path()).expect_err("not a library");
        assert_eq!((error.function(), error.remedy()), ("dlopen", Remedy::Fatal));
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");

        let error = Module::load(Path::new("/nowhere/module.so")).expect_err("not there");
        assert!(error.to_string().starts_with("dlopen: /nowhere/module.so: "), "{error}");
        let error = Module::load(Path::new("libc.so.6")).expect_err("not absolute");
        assert!(error.to_string().contains("absolute"), "{error}");
    }

    #[test]
    fn a_module_is_found_by_path_or_not_at_all() {
        let uri = |text| Uri::parse(text).expect("a URI");
        let path =
            Module::find(&uri("pkcs11:token=a?module-path=/opt/vendor/lib.so")).expect("named");
        assert_eq!(path, Path::new("/opt/vendor/lib.so"));
        let error =
            Module::find(&uri("pkcs11:token=a?module-name=no-such-module")).expect_err("none");
        assert!(error.to_string().contains("'no-such-module'"), "{error}");
        let error = Module::find(&uri("pkcs11:token=a")).expect_err("none named");
        assert!(error.to_string().contains("module-path="), "{error}");
    }
}
