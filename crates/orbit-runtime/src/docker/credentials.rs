//! With which credentials a registry is asked: those of a file as `docker login` writes it
//! (<https://docs.docker.com/reference/cli/docker/login/>).
//!
//! It is read anew for every pull, so that a rotated password counts at once. Nothing of its content is ever part of an
//! error or a log, not even where it cannot be understood.

use base64::{Engine, prelude::BASE64_STANDARD};
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Display, io::ErrorKind, path::PathBuf};

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
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

impl Credentials {
    /// Those of a file, or, where none is named, of the one that Docker's own command line uses.
    pub fn new(named: Option<PathBuf>) -> Credentials {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
        let (is_named, file) = (named.is_some(), named.or_else(|| Some(usual()?.join("config.json"))));
        Credentials { file, named: is_named }
    }

    /// Those for the registry of an image; none where the file has none.
    ///
    /// # Errors
    /// What is wrong with the file, without a word of its content.
    pub fn of(&self, image: &str) -> Result<Option<DockerCredentials>, String> {
        let Some(path) = &self.file else { return Ok(None) };
        let fault = |what: &dyn Display| format!("the registry credentials in {}: {what}", path.display());
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !self.named => return Ok(None),
            read => read.map_err(|error| fault(&error))?,
        };
        let file: File = serde_json::from_slice(&text)
            .map_err(|error| fault(&format_args!("line {} is not as `docker login` writes it", error.line())))?;
        let registry = registry_of(image);
        let Some((_, auth)) = file.auths.into_iter().find(|(key, _)| host_of(key) == registry) else { return Ok(None) };
        let pair = auth.auth.filter(|auth| !auth.is_empty()).map(|auth| pair(&auth)).transpose();
        let pair = pair.map_err(|()| fault(&format_args!("the entry of {registry} is not USER:PASSWORD in base64")))?;
        let (username, password) = pair.map_or((auth.username, auth.password), |(user, pass)| (Some(user), Some(pass)));
        Ok(Some(DockerCredentials {
            username,
            password,
            identitytoken: auth.identity_token,
            serveraddress: Some(registry),
            ..DockerCredentials::default()
        }))
    }
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

    fn of(content: &str, image: &str) -> Result<Option<(String, String)>, String> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("orbit-credentials-{}-{number}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let found = Credentials::new(Some(path.clone())).of(image);
        std::fs::remove_file(path).unwrap();
        Ok(found?.map(|it| (it.username.unwrap_or_default(), it.password.unwrap_or_default())))
    }

    #[test]
    fn the_registry_of_an_image_finds_its_entry() {
        let auth = |text: &str| BASE64_STANDARD.encode(text);
        let file = format!(
            r#"{{"auths": {{"registry.example:5000": {{"auth": "{}"}}, "https://index.docker.io/v1/": {{"auth": "{}"}},
                "other.example": {{"username": "c", "password": "d"}}}}, "credsStore": "none"}}"#,
            auth("a:b:c"),
            auth("hub:secret")
        );
        let found = |image: &str| of(&file, image).unwrap().map(|(user, password)| format!("{user} {password}"));
        assert_eq!(found("registry.example:5000/shop/web:1").as_deref(), Some("a b:c"));
        assert_eq!(found("other.example/web").as_deref(), Some("c d"));
        for image in ["nginx", "nginx:1.27", "library/nginx", "docker.io/library/nginx"] {
            assert_eq!(found(image).as_deref(), Some("hub secret"), "{image}");
        }
        for image in ["registry.example/web", "localhost/web", "registry.example:5001/web"] {
            assert_eq!(found(image), None, "{image}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said_without_its_content() {
        for content in
            [r#"{"auths": {"docker.io": "hunter2"}}"#, r#"{"auths": {"docker.io": {"auth": "hunter2!"}}}"#, "hunter2"]
        {
            let said = of(content, "nginx").unwrap_err();
            assert!(!said.contains("hunter2") && said.starts_with("the registry credentials in "), "{said}");
        }
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let nowhere = || Some(PathBuf::from("/nowhere/config.json"));
        assert!(Credentials::new(nowhere()).of("nginx").is_err());
        assert!(Credentials { named: false, file: nowhere() }.of("nginx").unwrap().is_none());
    }
}
