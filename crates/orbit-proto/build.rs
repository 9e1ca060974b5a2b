//! Generates the code for `proto/orbit/v1` without protoc: protox writes the descriptors, and the
//! generator emits both the real and the simulated transport; `--cfg madsim` picks one.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 5] = ["model", "worker", "log", "snapshot", "ledger"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files: Vec<PathBuf> = FILES.iter().map(|f| root.join(format!("orbit/v1/{f}.proto"))).collect();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(&descriptors, protox::compile(&files, [&root])?.encode_to_vec())?;
    madsim_tonic_build::configure()
        .file_descriptor_set_path(&descriptors)
        .skip_protoc_run()
        .emit_rerun_if_changed(false)
        // What a log or a terminal carries is handed on, not copied.
        .bytes(["LogChunk.data", "ExecOutput.stdout", "ExecOutput.stderr", "ExecInput.stdin"])
        .compile_protos(&files, &[root])?;
    Ok(())
}
