//! Where the paths lead that a container is given of its machine.
//!
//! A path is a name, and a link on its way may lead out of what the operator of the machine allows. So each is followed to its
//! end here, and the engine is told the end. Whoever may write on the way could put a link there after that: a folder in which
//! somebody writes who is not trusted is not to be allowed.

use super::op_error;
use orbit_core::{
    model::{Grant, HostMount},
    worker::{OpError, OpErrorKind},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The same mounts with the place on the machine to which each leads. `socket` is that of the engine, where it is this machine's.
///
/// # Errors
/// What is not there, or leads to where nobody allowed it.
pub async fn followed(
    mounts: &[HostMount],
    allowed: &Arc<[Grant]>,
    socket: Option<PathBuf>,
) -> Result<Vec<HostMount>, OpError> {
    if mounts.is_empty() {
        return Ok(Vec::new());
    }
    let Some(socket) = socket else {
        return Err(refused("the engine is another machine's, whose paths nobody here can follow".to_owned()));
    };
    let (mounts, allowed) = (mounts.to_vec(), allowed.clone());
    let all = move || mounts.into_iter().map(|mount| follow(mount, &allowed, &socket)).collect();
    // A file system that does not answer holds up this and nothing else.
    tokio::task::spawn_blocking(all).await.unwrap_or_else(|error| Err(refused(error.to_string())))
}

fn follow(mount: HostMount, allowed: &[Grant], socket: &Path) -> Result<HostMount, OpError> {
    let name = &mount.host;
    let place = std::fs::canonicalize(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            refused(format!("there is no `{name}` on this node, and nothing is made in its place"))
        }
        _ => refused(format!("`{name}` on this node: {error}")),
    })?;
    let Some(text) = place.to_str() else { return Err(refused(format!("`{name}` leads to what is no text"))) };
    // The socket itself, or a folder in which it is.
    let asks = match std::fs::canonicalize(socket) {
        Ok(socket) if socket == place => vec![Grant::DockerSocket],
        Ok(socket) if socket.starts_with(&place) => vec![Grant::DockerSocket, Grant::HostPath(text.to_owned())],
        _ => Grant::of_path(text),
    };
    if let Some(asked) = asks.iter().find(|asked| !allowed.iter().any(|grant| gives(grant, asked, &place))) {
        let message =
            format!("`{name}` leads to `{text}`, and `{asked}` is not among what the operator of this node allows");
        return Err(refused(message));
    }
    Ok(HostMount { host: text.to_owned(), ..mount })
}

fn gives(grant: &Grant, asked: &Grant, place: &Path) -> bool {
    match (grant, asked) {
        (Grant::HostPath(root), Grant::HostPath(_)) => {
            std::fs::canonicalize(root).is_ok_and(|root| place.starts_with(root))
        }
        (grant, asked) => grant.covers(asked),
    }
}

fn refused(message: String) -> OpError {
    op_error(OpErrorKind::Refused, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of its own. In texts `$` is its path, with a slash.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            let dir = tempfile::tempdir().expect("a folder can be made");
            for path in ["allowed/media", "allowed-not"] {
                std::fs::create_dir_all(dir.path().join(path)).expect("a folder can be made");
            }
            std::fs::write(dir.path().join("engine.sock"), "").expect("a file can be made");
            Folder(dir)
        }
        fn at(&self, path: &str) -> String {
            let root = self.0.path().canonicalize().expect("it is there");
            format!("{}/{path}", root.display())
        }
        fn link(&self, to: &str, from: &str) {
            symlink(self.at(to), self.at(from)).expect("a link can be made");
        }
        fn follow(&self, allowed: &[&str], path: &str) -> Result<String, String> {
            let grant = |word: &&str| word.replace('$', &self.at("")).parse().expect("a grant");
            let allowed: Vec<Grant> = allowed.iter().map(grant).collect();
            let mount = HostMount { host: self.at(path), path: "/data".to_owned(), read_only: true };
            let found = follow(mount, &allowed, Path::new(&self.at("engine.sock")));
            let short = |text: String| text.replace(&self.at(""), "$");
            found.map(|mount| short(mount.host)).map_err(|error| short(error.message))
        }
    }

    #[test]
    fn a_path_is_given_where_it_leads_and_only_within_what_is_allowed() {
        let it = Folder::new();
        let allowed = ["host:$allowed"];
        assert_eq!(it.follow(&allowed, "allowed"), Ok("$allowed".to_owned()));
        assert_eq!(it.follow(&allowed, "allowed/media"), Ok("$allowed/media".to_owned()));
        assert!(it.follow(&allowed, "allowed-not").unwrap_err().contains("host:$allowed-not"));
        assert!(it.follow(&[], "allowed").unwrap_err().contains("is not among"));
        assert!(it.follow(&allowed, "allowed/none").unwrap_err().contains("there is no `$allowed/none`"));
    }

    #[test]
    fn a_link_leads_to_its_end() {
        let it = Folder::new();
        it.link("allowed-not", "allowed/out");
        it.link("allowed/media", "in");
        it.link("loop", "loop");
        let allowed = ["host:$allowed"];
        assert!(it.follow(&allowed, "allowed/out").unwrap_err().contains("leads to `$allowed-not`"));
        assert_eq!(it.follow(&allowed, "in"), Ok("$allowed/media".to_owned()));
        // What is allowed may be a link itself.
        assert_eq!(it.follow(&["host:$in"], "allowed/media"), Ok("$allowed/media".to_owned()));
        assert!(it.follow(&["host:/"], "loop").unwrap_err().contains("$loop"));
    }

    #[test]
    fn the_engines_socket_needs_its_own_word_under_whatever_name() {
        let it = Folder::new();
        it.link("engine.sock", "allowed/other");
        for path in ["engine.sock", "allowed/other"] {
            assert!(it.follow(&["host:/"], path).unwrap_err().contains("`docker-socket` is not among"), "{path}");
            assert_eq!(it.follow(&["docker-socket"], path), Ok("$engine.sock".to_owned()));
        }
        // And a folder in which it is, both.
        assert!(it.follow(&["host:$"], "").unwrap_err().contains("`docker-socket` is not among"));
        assert!(it.follow(&["docker-socket"], "").unwrap_err().contains("is not among"));
        assert!(it.follow(&["host:$", "docker-socket"], "").is_ok());
    }

    #[tokio::test]
    async fn where_the_paths_of_another_machine_lead_nobody_knows() {
        let mount = HostMount { host: "/".to_owned(), path: "/data".to_owned(), read_only: true };
        let allowed: Arc<[Grant]> = ["host:/".parse().expect("a grant")].into();
        let refusal = followed(&[mount], &allowed, None).await.unwrap_err();
        assert_eq!(refusal.kind, OpErrorKind::Refused);
        assert_eq!(followed(&[], &allowed, None).await, Ok(Vec::new()));
    }
}
