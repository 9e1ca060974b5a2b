//! The suite of the shells under madsim. It is a workspace of its own, because its `--cfg` has to
//! reach every dependency; this brings it into the one `cargo test`.

#![forbid(unsafe_code)]

use orbit_tests::repository;
use std::process::Command;

#[test]
fn the_shells_pass_under_madsim() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // As `make sim` builds it, so that everything is built once.
    command.current_dir(repository().join("sim/daemons")).args(["test", "--release", "--locked"]);
    // They would replace the flags in that folder's own configuration.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    // A folder of its own inside of the caller's, so that no other build waits for this one.
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        command.env("CARGO_TARGET_DIR", std::path::absolute(target).expect("a path").join("madsim"));
    }
    if std::env::var_os("MADSIM_TEST_NUM").is_none() {
        command.env("MADSIM_TEST_NUM", "20");
    }
    let output = command.output().expect("cargo can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("test result: ok"), "nothing was tested:\n{said}\n{errors}");
}
