//! Where the shipped programs are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The shipped programs, as built from this source.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub manager: PathBuf,
    pub worker: PathBuf,
    pub orbit: PathBuf,
}

/// The top of the source tree.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The programs, next to this test's own and in the same profile. Cargo builds only its own
/// package's programs for a test, so it is asked for these here: once in a process, and without
/// effect where they are fresh.
///
/// # Panics
/// If they cannot be built.
pub fn binaries() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> Binaries {
    // <target>/<profile>/deps/<test>
    let this = std::env::current_exe().expect("a process has a program");
    let profile = this.ancestors().find(|dir| !dir.ends_with("deps") && dir.is_dir()).expect("a program has a folder");
    let profile_name = match profile.file_name().and_then(|name| name.to_str()).expect("cargo names profiles") {
        "debug" => "dev",
        name => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(repository())
        .args(["build", "--locked", "--quiet", "-p", "orbit-manager", "-p", "orbit-worker", "-p", "orbit"])
        .args(["--profile", profile_name, "--target-dir"])
        .arg(profile.parent().expect("a profile's folder lies in the target folder"))
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "the programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let program = |name: &str| {
        let path = profile.join(name);
        assert!(path.is_file(), "cargo built no {}", path.display());
        path
    };
    Binaries { manager: program("orbit-manager"), worker: program("orbit-worker"), orbit: program("orbit") }
}
