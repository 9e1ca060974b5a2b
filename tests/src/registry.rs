//! A registry on the loopback that misbehaves when told to: just enough of the distribution interface
//! (<https://distribution.github.io/distribution/spec/api/>) for an engine to pull an image from it.
//!
//! Each of its images is [`IMAGE`] with one more layer that no engine has, so that a pull always has
//! something to carry.

use crate::IMAGE;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Bytes of the layer that no engine has.
const LAYER_BYTES: usize = 1 << 20;

/// What it does with a layer that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Hands it out.
    Well,
    /// Hands out the first half, and the rest once it is well again.
    Slow,
    /// Hands out the first half and hangs up, and answers nobody from then on.
    Dead,
}

/// It ends with this value; connections to it end with the engine's interest in them.
pub struct Registry {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mood: Mutex<Mood>,
    changed: Condvar,
    /// How many layers were handed out by half so far.
    halves: AtomicU64,
    /// Whoever asks has to be this one: `USER:PASSWORD` in base64.
    only: Mutex<Option<String>>,
    /// By path.
    answers: Mutex<BTreeMap<String, (&'static str, Vec<u8>)>>,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// Without images, and well.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn new() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Shared {
            mood: Mutex::new(Mood::Well),
            changed: Condvar::new(),
            halves: AtomicU64::new(0),
            only: Mutex::new(None),
            answers: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        Registry { port, shared }
    }

    /// The reference of an image that is not there.
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}:1", self.port)
    }

    /// Puts an image there, and gives its reference.
    ///
    /// # Panics
    /// If the engine cannot save [`IMAGE`].
    pub fn add_image(&self, name: &str) -> String {
        let saved = Command::new("docker").args(["save", IMAGE]).output().expect("the command line is there");
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&saved.stdout[..]).entries().expect("the engine writes an archive") {
            let mut entry = entry.expect("the engine writes an archive");
            let path = entry.path().expect("it has a path").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("it is in memory");
            files.insert(path, bytes);
        }
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("an archive has a manifest");
        let text = |value: &Value| value.as_str().expect("a path").to_string();
        let mut config: Value =
            serde_json::from_slice(&files[&text(&manifest[0]["Config"])]).expect("an image has a configuration");
        let layers = manifest[0]["Layers"].as_array().expect("an image has layers");
        let mut layers: Vec<Vec<u8>> = layers.iter().map(|path| files[&text(path)].clone()).collect();
        layers.push(layer(&format!("{name} {}", self.port)));
        let diffs = config["rootfs"]["diff_ids"].as_array_mut().expect("a configuration names its layers");
        diffs.push(json!(digest(layers.last().expect("pushed just now"))));
        config["history"].as_array_mut().expect("a configuration has a history").push(json!({ "created_by": "test" }));
        let config = config.to_string().into_bytes();
        let described =
            |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
        let layer_kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described("application/vnd.docker.container.image.v1+json", &config),
            "layers": layers.iter().map(|bytes| described(layer_kind, bytes)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut answers = self.shared.answers.lock().expect("nobody panics with it");
        answers.insert(format!("/v2/{name}/manifests/{}", digest(&manifest)), (MANIFEST, manifest.clone()));
        answers.insert(format!("/v2/{name}/manifests/1"), (MANIFEST, manifest));
        for blob in layers.into_iter().chain([config]) {
            answers.insert(format!("/v2/{name}/blobs/{}", digest(&blob)), ("application/octet-stream", blob));
        }
        self.reference(name)
    }

    /// Puts the same image there under the tag `2`, by another manifest, and gives that reference: one image, two digests.
    ///
    /// # Panics
    /// If there is no image of that name.
    pub fn tag_again(&self, name: &str) -> String {
        let mut answers = self.shared.answers.lock().expect("nobody panics with it");
        let (kind, manifest) = answers[&format!("/v2/{name}/manifests/1")].clone();
        let again: Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
        let again = serde_json::to_vec_pretty(&again).expect("what was read is written again");
        answers.insert(format!("/v2/{name}/manifests/{}", digest(&again)), (kind, again.clone()));
        answers.insert(format!("/v2/{name}/manifests/2"), (kind, again));
        format!("127.0.0.1:{}/{name}:2", self.port)
    }

    /// The digest that a tag means.
    ///
    /// # Panics
    /// If there is no such tag.
    pub fn digest(&self, name: &str, tag: &str) -> String {
        let answers = self.shared.answers.lock().expect("nobody panics with it");
        digest(&answers[&format!("/v2/{name}/manifests/{tag}")].1)
    }

    /// From now on.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().expect("nobody panics with it") = mood;
        self.shared.changed.notify_all();
    }

    /// Answers only who says that he is this one: `USER:PASSWORD` in base64.
    pub fn admit_only(&self, auth: &str) {
        *self.shared.only.lock().expect("nobody panics with it") = Some(auth.to_string());
    }

    /// As a file with credentials names it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many layers were handed out by half so far.
    pub fn halves(&self) -> u64 {
        self.shared.halves.load(Ordering::Relaxed)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.set(Mood::Dead);
    }
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        if *self.mood.lock().expect("nobody panics with it") == Mood::Dead {
            return Ok(());
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if let Some(auth) = self.only.lock().expect("nobody panics with it").clone()
            && !headers.iter().any(|line| *line == format!("Authorization: Basic {auth}"))
        {
            let challenge = "Www-Authenticate: Basic realm=\"test\"\r\n";
            let refused = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            return answer(&mut stream, "401 Unauthorized", "application/json", challenge, refused);
        }
        if path == "/v2/" {
            return answer(&mut stream, "200 OK", "application/json", "", b"{}");
        }
        let found = self.answers.lock().expect("nobody panics with it").get(path).cloned();
        let Some((kind, bytes)) = found else {
            let unknown = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return answer(&mut stream, "404 Not Found", "application/json", "", unknown);
        };
        let digest = format!("Docker-Content-Digest: {}\r\n", digest(&bytes));
        if method == "HEAD" {
            return head(&mut stream, "200 OK", kind, &digest, bytes.len());
        }
        // An engine goes on where it was interrupted.
        let range = headers.iter().find_map(|line| {
            line.to_lowercase().strip_prefix("range: bytes=")?.split('-').next()?.parse::<usize>().ok()
        });
        let from = range.unwrap_or(0).min(bytes.len());
        let (status, range) = match range {
            Some(_) => {
                ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()))
            }
            None => ("200 OK", String::new()),
        };
        head(&mut stream, status, kind, &format!("{digest}{range}"), bytes.len() - from)?;
        let rest = &bytes[from..];
        if rest.len() < LAYER_BYTES / 4 || *self.mood.lock().expect("nobody panics with it") == Mood::Well {
            return stream.write_all(rest);
        }
        let half = rest.len() / 2;
        stream.write_all(&rest[..half])?;
        self.halves.fetch_add(1, Ordering::Relaxed);
        let slow = |mood: &mut Mood| *mood == Mood::Slow;
        let mood = self.changed.wait_while(self.mood.lock().expect("nobody panics with it"), slow);
        match *mood.expect("nobody panics with it") {
            Mood::Well => stream.write_all(&rest[half..]),
            Mood::Slow | Mood::Dead => Ok(()),
        }
    }
}

fn head(stream: &mut TcpStream, status: &str, kind: &str, more: &str, length: usize) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\
         Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n"
    )
}

fn answer(stream: &mut TcpStream, status: &str, kind: &str, more: &str, body: &[u8]) -> std::io::Result<()> {
    head(stream, status, kind, more, body.len())?;
    stream.write_all(body)
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// One file that no other layer has.
fn layer(content: &str) -> Vec<u8> {
    let mut file: Vec<u8> = content.bytes().cycle().take(LAYER_BYTES).collect();
    // Another one in each run: an engine keeps what an earlier run has pulled.
    let salt = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    file[..16].copy_from_slice(&salt.to_le_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_size(file.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "layer", &file[..]).expect("it is in memory");
    archive.into_inner().expect("it is in memory")
}
