//! Where a kernel's files live, and what a kernel may be called.
//!
//! A kernel's id becomes a file name, so it is checked before it becomes one.
//! What only its user may see is in directories that only its user may enter.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::kernel::process;

/// Moves `~/.llmspell`, and the directory for PID files into it.
pub const HOME_VARIABLE: &str = "LLMSPELL_HOME";

/// The longest id.
const MOST_ID_BYTES: usize = 64;
/// Letters of a generated id: none that look alike.
const ID_LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// Whose kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the user that runs this process.
    User,
    /// Those that the system runs as services.
    System,
}

/// The directories for one scope. Nothing is created before it is asked for.
#[derive(Clone, Debug)]
pub struct Places {
    scope: Scope,
    /// `~/.llmspell`.
    home: PathBuf,
    /// For PID files; those that are tried come first.
    runtime: Vec<PathBuf>,
    /// Where the connection files of services are; `None` if the user has said
    /// that everything is elsewhere.
    services: Option<PathBuf>,
}

impl Places {
    /// Finds them, by the environment.
    pub fn find(scope: Scope) -> anyhow::Result<Self> {
        let user = process::user();
        Self::by(scope, user, env::home_dir(), &|name| env::var_os(name))
    }

    fn by(
        scope: Scope,
        user: u32,
        home: Option<PathBuf>,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Self> {
        let directory = |name| variable(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        if let Some(home) = directory(HOME_VARIABLE) {
            let home = std::path::absolute(home).context("cannot tell where LLMSPELL_HOME is")?;
            return Ok(Self::in_home(&home));
        }
        let home = home.filter(|it| it.is_absolute()).with_context(|| {
            format!("the home directory is not known: set HOME, or {HOME_VARIABLE}")
        })?;
        let home = home.join(".llmspell");
        let mut runtime = Vec::new();
        // Of somebody else's, which `su` may have left behind, nothing is used.
        let is_ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.uid() == user);
        let of_user = directory("XDG_RUNTIME_DIR").filter(|it| it.is_absolute()).filter(is_ours);
        if scope == Scope::User {
            runtime.extend(of_user.map(|it| it.join("llmspell")));
        }
        if user == 0 {
            runtime.push("/var/run/llmspell".into());
        }
        runtime.push(home.join("run"));
        Ok(Self { scope, home, runtime, services: Some("/var/lib/llmspell".into()) })
    }

    /// Everything in one directory.
    pub fn in_home(home: &Path) -> Self {
        Self {
            scope: Scope::User,
            home: home.to_owned(),
            runtime: vec![home.join("run")],
            services: None,
        }
    }

    /// `~/.llmspell`, made if it is not there.
    pub fn home(&self) -> anyhow::Result<&Path> {
        make_private(&self.home)?;
        Ok(&self.home)
    }

    /// The directory for PID files, made if it is not there.
    pub fn runtime(&self) -> anyhow::Result<&Path> {
        let (last, others) = self.runtime.split_last().context("there is no runtime directory")?;
        if let Some(made) = others.iter().find(|path| make_private(path).is_ok()) {
            return Ok(made);
        }
        make_private(last)?;
        Ok(last)
    }

    /// The PID file of a kernel; its directory exists.
    pub fn pid_file(&self, id: &str) -> anyhow::Result<PathBuf> {
        check_id(id)?;
        Ok(self.runtime()?.join(format!("{id}.pid")))
    }

    /// The connection file of a kernel; its directory exists.
    pub fn connection_file(&self, id: &str) -> anyhow::Result<PathBuf> {
        check_id(id)?;
        let directory = match (&self.services, self.scope) {
            (Some(services), Scope::System) => services.clone(),
            _ => self.kernels(),
        };
        make_private(&directory)?;
        Ok(directory.join(self.connection_file_name(id)))
    }

    fn connection_file_name(&self, id: &str) -> String {
        match (&self.services, self.scope) {
            (Some(_), Scope::System) => format!("kernel-{id}.json"),
            _ => format!("{id}.json"),
        }
    }

    /// The directories in which connection files are looked for. They need not
    /// exist, or be open to this user.
    pub fn connection_directories(&self) -> Vec<PathBuf> {
        [Some(self.kernels()), self.services.clone()].into_iter().flatten().collect()
    }

    fn kernels(&self) -> PathBuf {
        self.home.join("kernels")
    }
}

/// Whether an id may be one, and if not, why.
pub fn check_id(id: &str) -> anyhow::Result<()> {
    let is_fine = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    if id.is_empty() || id.len() > MOST_ID_BYTES {
        bail!("a kernel's id has 1 to {MOST_ID_BYTES} letters, not {}", id.len());
    }
    if id.starts_with('.') || !id.chars().all(is_fine) {
        bail!(
            "'{}' cannot be a kernel's id: letters, digits, '-', '_' and '.' can be in it, \
             and it does not begin with '.'",
            id.escape_debug()
        );
    }
    Ok(())
}

/// A new id. Nobody has it, as far as chance goes; the PID file decides.
pub fn generate_id() -> String {
    // The standard library's source of random numbers: keys of hash maps.
    let number = RandomState::new().build_hasher().finish();
    let letters = number.to_le_bytes().map(|byte| ID_LETTERS[usize::from(byte) % ID_LETTERS.len()]);
    letters.map(char::from).iter().collect()
}

/// Makes a directory that only this user may enter. One that exists is left as
/// it is.
fn make_private(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let checked = made.and_then(|()| {
        if fs::metadata(path)?.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
    });
    checked.with_context(|| format!("cannot make the directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn places(scope: Scope, user: u32, variables: &[(&str, &Path)]) -> Places {
        let variable = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        };
        Places::by(scope, user, Some("/home/ada".into()), &variable).unwrap()
    }

    #[test]
    fn a_home_of_its_own_has_everything_in_it() {
        let home = tempfile::tempdir().unwrap();
        let runtime = tempfile::tempdir().unwrap();
        let user = process::user();
        let variables = [(HOME_VARIABLE, home.path()), ("XDG_RUNTIME_DIR", runtime.path())];
        for scope in [Scope::User, Scope::System] {
            let places = places(scope, user, &variables);
            assert_eq!(places.pid_file("a").unwrap(), home.path().join("run/a.pid"));
            let connection_file = places.connection_file("a").unwrap();
            assert_eq!(connection_file, home.path().join("kernels/a.json"));
            assert_eq!(places.connection_directories(), [home.path().join("kernels")]);
        }
        for made in ["run", "kernels"] {
            let mode = fs::metadata(home.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
    }

    #[test]
    fn the_runtime_directory_of_the_user_is_used_if_it_is_theirs() {
        let runtime = tempfile::tempdir().unwrap();
        let variables = [("XDG_RUNTIME_DIR", runtime.path())];
        let user = process::user();
        let mine = places(Scope::User, user, &variables);
        assert_eq!(mine.pid_file("a").unwrap(), runtime.path().join("llmspell/a.pid"));
        let of_another = places(Scope::User, user + 1, &variables);
        assert_eq!(of_another.runtime, [Path::new("/home/ada/.llmspell/run")]);
        let of_nobody = places(Scope::User, user + 1, &[("XDG_RUNTIME_DIR", Path::new("run"))]);
        assert_eq!(of_nobody.runtime, [Path::new("/home/ada/.llmspell/run")]);
        let of_root = places(Scope::System, 0, &variables);
        assert_eq!(of_root.runtime[0], Path::new("/var/run/llmspell"));
        assert_eq!(of_root.connection_file_name("a"), "kernel-a.json");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("kernels"), "a file").unwrap();
        let places = places(Scope::User, process::user(), &[(HOME_VARIABLE, home.path())]);
        let error = places.connection_file("a").unwrap_err();
        assert!(format!("{error:#}").contains("kernels"), "{error:#}");
    }

    #[test]
    fn ids_are_file_names() {
        for id in ["a", "main", "a.b-c_D9", &"x".repeat(64)] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", ".hidden", "a/b", "a b", "a\0", "ä", "a\n", &"x".repeat(65)] {
            check_id(id).unwrap_err();
        }
    }

    #[test]
    fn generated_ids_differ_and_are_valid() {
        let ids: HashSet<String> = (0..100).map(|_| generate_id()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            check_id(&id).unwrap();
        }
    }
}
