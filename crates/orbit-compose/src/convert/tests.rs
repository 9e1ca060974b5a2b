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
        _ => Err("No such file or directory".into()),
    }
}

fn converted(text: &str, profiles: &[&str]) -> String {
    let profiles = profiles.iter().map(ToString::to_string).collect();
    let source = Source { text, project: None, folder: "shop", profiles: &profiles, variables: &known, read: &read };
    match convert(&source) {
        Err(error) => format!("error {error}\n"),
        Ok(Converted { manifests, findings }) => {
            let mut out = String::new();
            for finding in &findings {
                out += &format!("{} {finding}\n", if finding.is_refused { "refused" } else { "note" });
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
