//! What compose files say becomes manifests; what cannot be said is refused by its line. Each file of `testdata` holds one
//! form, or one that is refused; its golden is what comes of it.

use super::*;
use std::{fs, path::Path};

/// Variables, and files beside a compose file.
fn known(name: &str) -> Option<String> {
    match name {
        "TAG" => Some("17".into()),
        "EMPTY" => Some(String::new()),
        "TOKEN" => Some("t0ken".into()),
        _ => None,
    }
}

fn read(file: &str) -> Result<String, String> {
    match file {
        "app.env" | "./app.env" => {
            Ok("# of the app\nMODE=production\nexport URL=\"http://h/$TAG\" # where\nserver.port=80\n".into())
        }
        "more.env" => Ok("MODE=test\nEXTRA='$TAG'\n".into()),
        "bad.env" => Ok("A=1\nno name\n".into()),
        "sub/.env" => Ok("OF_SUB=from-sub\nTAG=never\n".into()),
        "sub/with-env.yaml" => Ok("services:\n  a: {image: \"a:$OF_SUB-$TAG\", restart: always}\n".into()),
        "sub/app.env" => Ok("WHERE=sub\n".into()),
        "sub/compose.yaml" => Ok("services:\n  cache: {image: cache:$TAG, restart: always, env_file: app.env}\n  db: {image: db, restart: always}\n".into()),
        "sub/bind.yaml" => Ok("services:\n  cache: {image: cache, restart: always, volumes: ['./data:/data', {type: bind, source: ../up, target: /up}]}\n".into()),
        "common.yaml" => Ok("services:\n  base: {image: base, restart: always, environment: {A: 1, B: 2}, extends: root}\n  root: {image: root, cap_drop: [ALL], init: true}\n".into()),
        "circle.yaml" => Ok("include: [circle.yaml]\nservices: {}\n".into()),
        _ => Err("No such file or directory".into()),
    }
}

/// What stands before such a line is one file, and what follows goes over it.
const NEXT: &str = "\n#--- next file\n";
const NAMES: [&str; 2] = ["compose.yaml", "override.yaml"];

fn converted(text: &str, profiles: &[&str]) -> String {
    let profiles = profiles.iter().map(ToString::to_string).collect();
    let files: Vec<_> = NAMES.map(String::from).into_iter().zip(text.split(NEXT).map(String::from)).collect();
    let (files, folder) = (files.as_slice(), "shop");
    // `# project directory: /srv/app` on its first line.
    let first = text.lines().next().unwrap_or_default();
    let source = Source {
        files,
        project: None,
        folder,
        project_directory: first.strip_prefix("# project directory: "),
        profiles: &profiles,
        variables: &known,
        read: &read,
    };
    // The first file's name goes without saying.
    let short = |text: String| text.strip_prefix("compose.yaml:").map(str::to_string).unwrap_or(text);
    match convert(&source) {
        Err(error) => format!("error {}\n", short(error.to_string())),
        Ok(Converted { manifests, findings, .. }) => {
            let mut out = String::new();
            for finding in &findings {
                let word = if finding.is_refused { "refused" } else { "note" };
                out += &format!("{word} {}\n", short(finding.to_string()));
            }
            for manifest in &manifests {
                out += &format!("---\n{}", serde_yaml_ng::to_string(manifest).expect("it is data"));
            }
            out
        }
    }
}

#[test]
fn each_form_is_carried_over_or_refused_by_its_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("it is there").map(|file| file.expect("it is there").path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "yaml"));
    files.sort();
    assert!(files.len() >= 60, "{} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        // `# profiles: a b` on its first line.
        let first = text.lines().next().unwrap_or_default();
        let profiles: Vec<&str> = first.strip_prefix("# profiles:").unwrap_or_default().split_whitespace().collect();
        let found = converted(&text, &profiles);
        let golden = file.with_extension("golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("it can be written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "other than their goldens:\n{}", wrong.join("\n"));
}
