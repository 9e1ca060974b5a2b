//! With which credentials a registry is asked: those of a file as `docker login` writes it, or of the credential helpers
//! that the file names (<https://docs.docker.com/reference/cli/docker/login/>).
//!
//! It is read anew for every pull, so that a rotated password counts at once. Nothing of its content, or of what a helper
//! answers, is ever part of an error or a log, not even where it cannot be understood.

use base64::{Engine, prelude::BASE64_STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Display, io::ErrorKind, path::PathBuf, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// Where the file is.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    file: Option<PathBuf>,
    /// It was named: that it is not there is a mistake.
    named: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    /// By registry: the `NAME` of the `docker-credential-NAME` that knows its credentials.
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    /// Likewise, of every other registry that has no entry of its own.
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

impl Auth {
    /// A file whose credentials are in a store has empty entries.
    fn is_there(&self) -> bool {
        self.auth.as_ref().is_some_and(|auth| !auth.is_empty())
            || self.username.is_some()
            || self.identity_token.is_some()
    }
}

impl Credentials {
    /// Those of a file, or, where none is named, of the one that Docker's own command line uses.
    pub fn new(named: Option<PathBuf>) -> Credentials {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
        let (is_named, file) = (named.is_some(), named.or_else(|| Some(usual()?.join("config.json"))));
        Credentials { file, named: is_named }
    }

    /// Those for the registry of an image; none where the file and its helpers have none.
    ///
    /// # Errors
    /// What is wrong with the file or the registry's own helper, without a word of their content.
    pub async fn of(&self, image: &str) -> Result<Option<DockerCredentials>, String> {
        let Some(path) = &self.file else { return Ok(None) };
        let fault = |what: &dyn Display| format!("the registry credentials in {}: {what}", path.display());
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.named => return Ok(None),
            read => read.map_err(|error| fault(&error))?,
        };
        let file: File = serde_json::from_slice(&text)
            .map_err(|error| fault(&format_args!("line {} is not as `docker login` writes it", error.line())))?;
        let registry = registry_of(image);
        if let Some((_, helper)) = file.helpers.iter().find(|(key, _)| host_of(key) == registry) {
            return ask(&program_of(helper), &registry).await.map_err(|why| fault(&why));
        }
        let mut entries = file.auths.into_iter().filter(|(_, auth)| auth.is_there());
        let Some((_, auth)) = entries.find(|(key, _)| host_of(key) == registry) else {
            let Some(store) = file.store.filter(|store| !store.is_empty()) else { return Ok(None) };
            // Most of what is pulled needs none, and is not to fail where a store was left behind.
            return Ok(ask(&program_of(&store), &registry).await.unwrap_or_else(|why| {
                tracing::warn!(%registry, "asked without credentials: {}", fault(&why));
                None
            }));
        };
        let pair = auth.auth.filter(|auth| !auth.is_empty()).map(|auth| pair(&auth)).transpose();
        let pair = pair.map_err(|()| fault(&format_args!("the entry of {registry} is not USER:PASSWORD in base64")))?;
        let (username, password) = pair.map_or((auth.username, auth.password), |(user, pass)| (Some(user), Some(pass)));
        Ok(Some(credentials(registry, username, password, auth.identity_token)))
    }
}

fn credentials(
    registry: String,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
) -> DockerCredentials {
    let serveraddress = Some(registry);
    DockerCredentials { username, password, identitytoken, serveraddress, ..DockerCredentials::default() }
}

fn program_of(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// What a credential helper knows of a registry
/// (<https://github.com/docker/docker-credential-helpers#development>).
async fn ask(program: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    const NOT_FOUND: &[u8] = b"credentials not found in native keychain";
    let cannot = |error: std::io::Error| format!("{program} cannot be asked: {error}");
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(cannot)?;
    let address = if registry == DOCKER_HUB { "https://index.docker.io/v1/" } else { registry };
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that ends without reading says why by how it ends.
    let _ = stdin.write_all(address.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.map_err(cannot)?;
    if !output.status.success() {
        let found_none = output.stdout.trim_ascii() == NOT_FOUND;
        return if found_none { Ok(None) } else { Err(format!("{program} failed ({})", output.status)) };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| format!("{program} does not answer as a helper does"))?;
    let (registry, secret) = (registry.to_string(), Some(answer.secret));
    Ok(Some(match answer.username.as_str() {
        "<token>" => credentials(registry, None, None, secret),
        _ => credentials(registry, Some(answer.username), secret, None),
    }))
}

fn pair(auth: &str) -> Result<(String, String), ()> {
    let bytes = BASE64_STANDARD.decode(auth.trim()).map_err(|_| ())?;
    let text = String::from_utf8(bytes).map_err(|_| ())?;
    let (user, password) = text.split_once(':').ok_or(())?;
    Ok((user.to_string(), password.trim_end_matches('\0').to_string()))
}

/// The host that an image's reference names, with its port; Docker's own where it names none.
fn registry_of(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    let is_host = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    if is_host { first.to_string() } else { DOCKER_HUB.to_string() }
}

/// As its entry in the file is keyed: with or without a scheme and a path.
fn host_of(key: &str) -> String {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or_default();
    if host == "index.docker.io" { DOCKER_HUB.to_string() } else { host.to_string() }
}

const DOCKER_HUB: &str = "docker.io";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A file of this content, removed with its guard.
    struct Written(PathBuf);

    impl Written {
        fn new(content: &str) -> Written {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("orbit-credentials-{}-{number}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Written(path)
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    fn pair_of(found: DockerCredentials) -> (String, String) {
        (found.username.unwrap_or_default(), found.password.unwrap_or_default())
    }

    async fn of(content: &str, image: &str) -> Result<Option<(String, String)>, String> {
        let file = Written::new(content);
        Ok(Credentials::new(Some(file.0.clone())).of(image).await?.map(pair_of))
    }

    #[tokio::test]
    async fn the_registry_of_an_image_finds_its_entry() {
        let auth = |text: &str| BASE64_STANDARD.encode(text);
        let file = format!(
            r#"{{"auths": {{"registry.example:5000": {{"auth": "{}"}}, "https://index.docker.io/v1/": {{"auth": "{}"}},
                "other.example": {{"username": "c", "password": "d"}}}}, "credsStore": "no-such-helper"}}"#,
            auth("a:b:c"),
            auth("hub:secret")
        );
        let found =
            async |image: &str| of(&file, image).await.unwrap().map(|(user, password)| format!("{user} {password}"));
        assert_eq!(found("registry.example:5000/shop/web:1").await.as_deref(), Some("a b:c"));
        assert_eq!(found("other.example/web").await.as_deref(), Some("c d"));
        for image in ["nginx", "nginx:1.27", "library/nginx", "docker.io/library/nginx"] {
            assert_eq!(found(image).await.as_deref(), Some("hub secret"), "{image}");
        }
        // Nor does it matter that there is no such store.
        for image in ["registry.example/web", "localhost/web", "registry.example:5001/web"] {
            assert_eq!(found(image).await, None, "{image}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_file_is_said_without_its_content() {
        for content in
            [r#"{"auths": {"docker.io": "hunter2"}}"#, r#"{"auths": {"docker.io": {"auth": "hunter2!"}}}"#, "hunter2"]
        {
            let said = of(content, "nginx").await.unwrap_err();
            assert!(!said.contains("hunter2") && said.starts_with("the registry credentials in "), "{said}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_named_has_to_be_there() {
        let nowhere = || Some(PathBuf::from("/nowhere/config.json"));
        assert!(Credentials::new(nowhere()).of("nginx").await.is_err());
        assert!(Credentials { named: false, file: nowhere() }.of("nginx").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_registry_s_own_helper_has_to_be_there() {
        let file = r#"{"auths": {"registry.example": {}}, "credHelpers": {"registry.example": "no-such-helper"}}"#;
        assert_eq!(of(file, "nginx").await, Ok(None));
        let said = of(file, "registry.example/web").await.unwrap_err();
        assert!(said.contains(": docker-credential-no-such-helper cannot be asked: "), "{said}");
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_a_registry() {
        const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/docker-credential-fixture");
        let answer = async |registry: &str| ask(HELPER, registry).await.map_err(|error| error.replace(HELPER, "it"));
        let found = answer("registry.example:5000").await.unwrap().map(pair_of);
        assert_eq!(found, Some(("shop".into(), "tell-nobody-4711".into())));
        let token = answer("token.example").await.unwrap().expect("it has one");
        assert_eq!((token.identitytoken.as_deref(), token.username, token.password), (Some("hunter2"), None, None));
        assert_eq!(answer("none.example").await, Ok(None));
        assert_eq!(answer("failed.example").await, Err("it failed (exit status: 3)".into()));
        assert_eq!(answer("odd.example").await, Err("it does not answer as a helper does".into()));
    }
}
