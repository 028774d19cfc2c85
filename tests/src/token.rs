//! Throwaway PKCS#11 tokens in software: SoftHSM2, and NSS' softoken as an implementation that shares nothing with it.
//!
//! Each has a directory of its own and goes with it. A process sees it if it is started by [`SoftToken::command`]: SoftHSM
//! reads the environment, and NSS, which wants to be told its directory in `C_Initialize`, stands behind
//! p11-kit's proxy module, which tells it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aws_lc_rs::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

/// What the user logs in with.
pub const PIN: &str = "Pin-1234";
/// What the security officer logs in with.
pub const SO_PIN: &str = "So-Pin-1234";

/// Where Debian and others keep what p11-kit's proxy and p11-kit itself look for.
const P11_KIT_MODULES: &str = "/usr/share/p11-kit/modules";

/// A token with a PIN and no keys.
#[derive(Debug)]
pub struct SoftToken {
    directory: TempDir,
    module: PathBuf,
    label: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    SoftHsm,
    Nss,
}

impl SoftToken {
    /// A token of SoftHSM2.
    ///
    /// # Panics
    ///
    /// When SoftHSM2 is not installed or cannot be set up.
    #[must_use]
    #[track_caller]
    pub fn softhsm(label: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the token");
        let module = library("libsofthsm2.so", "softhsm2");
        let token = Self { directory, module, label: label.to_owned(), kind: Kind::SoftHsm };
        let objects = token.path("tokens");
        fs::create_dir(&objects).expect("a directory for its objects");
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            objects.display()
        );
        fs::write(token.path("softhsm2.conf"), configuration).expect("its configuration");
        token.write_pin();
        token.add_token(label);
        token
    }

    /// NSS' softoken: one token in two slots, its label is always the same.
    ///
    /// # Panics
    ///
    /// When NSS, its tools or p11-kit are not installed or cannot be set up.
    #[must_use]
    #[track_caller]
    pub fn nss() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the token");
        let module = library("p11-kit-proxy.so", "p11-kit");
        let token =
            Self { directory, module, label: "NSS Certificate DB".to_owned(), kind: Kind::Nss };
        let database = token.path("database");
        let modules = token.path("configuration/pkcs11/modules");
        fs::create_dir(&database).expect("a directory for its objects");
        fs::create_dir_all(&modules).expect("a directory for its configuration");
        token.write_pin();
        let pin = token.pin_file();
        run(
            Command::new("certutil")
                .envs(token.environment())
                .arg("-N")
                .arg("-d")
                .arg(sql(&database))
                .arg("-f")
                .arg(pin),
            "libnss3-tools",
        );
        let told = format!(
            "module: {}\nx-init-reserved: configdir='{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=\ncritical: yes\n",
            library("libsoftokn3.so", "libnss3").display(),
            sql(&database)
        );
        fs::write(modules.join("nss.module"), told).expect("its configuration");
        token
    }

    /// One more token in the same module. SoftHSM only.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[track_caller]
    pub fn add_token(&self, label: &str) {
        assert_eq!(self.kind, Kind::SoftHsm, "NSS has one token");
        let arguments =
            ["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN];
        run(self.command("softhsm2-util").args(arguments), "softhsm2");
    }

    /// A program that sees the token and its environment otherwise as it is. Its process is the one that is started: signals reach it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.kind {
            // p11-kit reads no user's configuration for root: there the modules of the system are covered, for
            // this process alone.
            Kind::Nss if rustix::process::getuid().is_root() => {
                let mut command = Command::new("unshare");
                let cover = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
                command.args(["--mount", "--propagation", "private", "sh", "-c", cover]);
                command.arg(self.path("configuration/pkcs11/modules")).arg(P11_KIT_MODULES);
                command.arg(program);
                command
            }
            Kind::Nss | Kind::SoftHsm => Command::new(program),
        };
        command.envs(self.environment());
        command
    }

    /// What a program must have in its environment to see the token.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        match self.kind {
            Kind::SoftHsm => vec![("SOFTHSM2_CONF", self.path("softhsm2.conf"))],
            // NSS stretches the PIN anew whenever it opens a key, thousands of times, which no test is about.
            Kind::Nss => vec![
                ("XDG_CONFIG_HOME", self.path("configuration")),
                ("NSS_MIN_MP_PBE_ITERATION_COUNT", "1".into()),
                ("NSS_MAX_MP_PBE_ITERATION_COUNT", "1".into()),
            ],
        }
    }

    /// Puts a private key and its public half into the token.
    ///
    /// # Panics
    ///
    /// When the token does not take it.
    #[track_caller]
    pub fn import(&self, pkcs8_pem: &str, label: &str, id: &[u8]) {
        let (der, file) = (self.path("import.der"), self.path("import.pem"));
        fs::write(&der, version_one(pkcs8_pem)).expect("the key in a file");
        run(
            Command::new("openssl")
                .args(["pkey", "-inform", "DER", "-in"])
                .arg(&der)
                .arg("-out")
                .arg(&file),
            "openssl",
        );
        fs::remove_file(der).expect("the key's file");
        let id = hex(id);
        match self.kind {
            Kind::SoftHsm => {
                let mut command = self.command("softhsm2-util");
                command.arg("--import").arg(&file);
                run(
                    command.args([
                        "--token",
                        &self.label,
                        "--label",
                        label,
                        "--id",
                        &id,
                        "--pin",
                        PIN,
                    ]),
                    "softhsm2",
                );
            }
            Kind::Nss => {
                let (private, public) = (self.path("private.der"), self.path("public.der"));
                for (to, what) in [
                    (&private, &["-outform", "DER"][..]),
                    (&public, &["-pubout", "-outform", "DER"]),
                ] {
                    run(
                        Command::new("openssl")
                            .args(["pkey", "-in"])
                            .arg(&file)
                            .args(what)
                            .arg("-out")
                            .arg(to),
                        "openssl",
                    );
                }
                for (file, class) in [(&private, "privkey"), (&public, "pubkey")] {
                    let arguments = ["--type", class, "--label", label, "--id", &id];
                    self.pkcs11_tool(
                        &[&["--write-object", &file.display().to_string()][..], &arguments]
                            .concat(),
                    );
                }
                fs::remove_file(private).expect("the key's file");
            }
        }
        fs::remove_file(file).expect("the key's file");
    }

    /// OpenSC's `pkcs11-tool`, logged in to the token; what it printed.
    ///
    /// # Panics
    ///
    /// When it is not installed or fails.
    #[track_caller]
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let mut command = self.command("pkcs11-tool");
        command.arg("--module").arg(&self.module);
        run(
            command.args(["--token-label", &self.label, "--login", "--pin", PIN]).args(arguments),
            "opensc",
        )
    }

    /// The PKCS#11 library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The label of the token.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A file with the PIN, which only its owner may read.
    #[must_use]
    pub fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    /// The URI of one of its keys, with module and PIN.
    #[must_use]
    pub fn key_uri(&self, label: &str) -> String {
        let escaped = |text: &str| text.replace(' ', "%20");
        format!(
            "pkcs11:token={};object={};type=private?module-path={}&pin-source=file:{}",
            escaped(&self.label),
            escaped(label),
            self.module.display(),
            self.pin_file().display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_pin(&self) {
        fs::write(self.pin_file(), format!("{PIN}\n")).expect("its PIN");
        fs::set_permissions(self.pin_file(), Permissions::from_mode(0o600))
            .expect("the mode of its PIN");
    }
}

/// Ed25519 keys are written with their public half behind (PKCS#8 version 2, RFC 5958), which OpenSSL 3.0 does not read.
fn version_one(pkcs8_pem: &str) -> Vec<u8> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pkcs8_pem.as_bytes()).expect("a key in PKCS#8");
    let der = key.secret_pkcs8_der();
    match Ed25519KeyPair::from_pkcs8(der).map(|key| key.to_pkcs8v1()) {
        Ok(document) => document.expect("the same key").as_ref().to_vec(),
        Err(_) => der.to_vec(),
    }
}

fn sql(database: &Path) -> String {
    format!("sql:{}", database.display())
}

/// A library where distributions keep it: for each architecture, or for one.
#[track_caller]
fn library(name: &str, package: &str) -> PathBuf {
    let below = |directory: &str| {
        let entries =
            fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let mut directories = below("/usr/lib");
    directories.extend(below("/usr/lib/x86_64-linux-gnu"));
    directories.extend(["/usr/lib", "/usr/lib64", "/usr/lib64/pkcs11"].map(PathBuf::from));
    let found =
        directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not below /usr/lib: install the Debian package {package}")
    })
}

/// Runs a program to its end; what it printed.
#[track_caller]
fn run(command: &mut Command, package: &str) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?} cannot be run ({error}): install the Debian package {package}")
    });
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
