//! `orbit run`: one task, now.

use super::logs;
use crate::{
    client::path,
    error::{Error, Kind},
    format::{has_ended, has_run, reason},
    session::Session,
    wait::state,
};
use clap::Args;
use hyper::{Method, header::HeaderName};
use orbit_api::{
    Manifest,
    manifest::{ManifestKind, ManifestLimits, ManifestPull, ManifestResources},
    quantity::{Cpu, Memory},
    view::{Submitted, Task},
};
use orbit_core::model::limits;
use tokio::time::Instant;

/// Run one task, now
#[derive(Args)]
#[command(after_help = "\
Follows the task's log and ends with the container's exit code, or with 125 if there is none.

Examples:
  orbit run alpine:3.20 -- echo hello
  orbit run --name import --env DAY=monday --cpu 500m --memory 256Mi importer:4
  orbit logs $(orbit run --detach busybox:1 -- date)")]
pub struct Run {
    /// The image
    pub image: String,
    /// The task's name [default: made from the image's]
    #[arg(long)]
    pub name: Option<String>,
    /// An environment variable
    #[arg(short, long, value_name = "K=V", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Processors that are set aside for it, and no more than it gets: 250m, 0.5 or 2, for example
    #[arg(long, value_parser = Cpu::parse)]
    pub cpu: Option<Cpu>,
    /// Memory that is set aside for it, and no more than it gets: 64Mi, for example
    #[arg(long, value_parser = Memory::parse)]
    pub memory: Option<Memory>,
    /// When the image is pulled: missing, always or never [default: missing]
    #[arg(long, value_name = "WHEN", value_parser = pull)]
    pub pull: Option<ManifestPull>,
    /// Print the task's ID and do not wait for it
    #[arg(short, long)]
    pub detach: bool,
    /// The arguments of the image's entrypoint
    #[arg(last = true, value_name = "CMD")]
    pub args: Vec<String>,
}

pub async fn run(session: &mut Session<'_>, args: Run) -> Result<u8, Error> {
    let detach = args.detach;
    let manifest = manifest(args, session.seed);
    // What is found here is the line's mistake; what follows is Orbit's or the container's.
    manifest.definition().map_err(|rejection| Error::usage(rejection.to_string()))?;
    match submit_and_follow(session, &manifest, detach).await {
        Err(error) if !matches!(error.kind, Kind::Output(_) | Kind::Interrupted) => {
            Err(Error::new(Kind::Run(error.text().unwrap_or_default())))
        }
        other => other,
    }
}

fn manifest(args: Run, seed: u64) -> Manifest {
    // As with `docker run`, what is said here is a limit.
    let limits = ManifestLimits { cpu: args.cpu, memory: args.memory };
    let limits = (limits != ManifestLimits::default()).then_some(limits);
    let resources = ManifestResources { cpu: args.cpu, memory: args.memory, limits, ..ManifestResources::default() };
    let name = args.name.unwrap_or_else(|| name_for(&args.image, seed));
    Manifest {
        pull: args.pull,
        args: args.args,
        env: args.env.into_iter().collect(),
        resources: (resources != ManifestResources::default()).then_some(resources),
        ..Manifest::new(ManifestKind::Task, name, args.image)
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err("write NAME=VALUE".to_string()),
    }
}

fn pull(text: &str) -> Result<ManifestPull, String> {
    serde_json::from_value(text.into()).map_err(|_| "write missing, always or never".to_string())
}

/// `library/nginx:1.27` becomes `nginx-k3x9q`.
fn name_for(image: &str, mut seed: u64) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const SUFFIX_CHARS: usize = 6;
    let path = image.split('@').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let base = last.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let base: String = base.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let base = base.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let base: String = base.chars().take(limits::NAME_BYTES_MAX - SUFFIX_CHARS - 1).collect();
    let base = if base.is_empty() { "task" } else { base.trim_end_matches('-') };
    let mut name = format!("{base}-");
    for _ in 0..SUFFIX_CHARS {
        name.push(LETTERS[(seed % LETTERS.len() as u64) as usize] as char);
        seed /= LETTERS.len() as u64;
    }
    name
}

async fn submit_and_follow(session: &mut Session<'_>, manifest: &Manifest, detach: bool) -> Result<u8, Error> {
    let id = submit(session, manifest).await?;
    if detach {
        session.print(&format!("{id}\n"))?;
        return Ok(0);
    }
    *session.farewell.borrow_mut() =
        format!("task/{} goes on; stop it with `orbit delete task {}`", manifest.name, manifest.name);
    let task = until(session, &id, |task| has_run(task) || has_ended(&task.actual)).await?;
    if has_run(&task)
        && let Err(error) = logs::stream_one(session, &id, true, &logs::Part::default()).await
    {
        if matches!(error.kind, Kind::Output(_)) {
            return Err(error);
        }
        session.say(&format!("orbit: the log is not complete: {}", error.text().unwrap_or_default()));
    }
    let task = until(session, &id, |task| has_ended(&task.actual)).await?;
    let code = task.exit_code.and_then(|code| u8::try_from(code).ok());
    match code {
        Some(code) => {
            if task.reason.as_deref().is_some_and(|reason| reason != "exited") {
                session.say(&format!("orbit: task/{} {}: {}", manifest.name, task.actual, reason(&task, true)));
            }
            Ok(code)
        }
        None => Err(Error::usage(format!("task/{} {}", manifest.name, state(&task)))),
    }
}

/// Submits the task; the key makes it safe to ask once more where the answer was lost.
async fn submit(session: &Session<'_>, manifest: &Manifest) -> Result<String, Error> {
    let key = [(HeaderName::from_static("idempotency-key"), format!("run-{:016x}", session.seed))];
    let to = path(&["tasks"], &[]);
    let ask = || session.client.ask::<Submitted>(Method::POST, &to, &key, Some(manifest));
    let submitted = match ask().await {
        Err(Error { kind: Kind::Unanswered(_), .. }) => ask().await?,
        other => other?,
    };
    Ok(submitted.task)
}

/// Running is what is expected, and its log speaks for it, while somebody can fetch that.
fn speaks_by_its_log(task: &Task) -> bool {
    has_run(task) && !task.unreachable
}

/// Looks at the task until it is as asked for, and tells every change on the way. A manager that is
/// away for a while does not end the task, so it does not end this either.
async fn until(session: &mut Session<'_>, id: &str, reached: fn(&Task) -> bool) -> Result<Task, Error> {
    let mut told = String::new();
    let mut silent_since = None;
    loop {
        match session.client.get::<Task>(&path(&["tasks", id], &[])).await {
            Ok(task) if reached(&task) => return Ok(task),
            Ok(task) => {
                silent_since = None;
                let now = state(&task);
                if now != told && !(told.is_empty() && speaks_by_its_log(&task)) {
                    session.say(&format!("task/{}: {now}", task.name));
                    told = now;
                }
            }
            Err(error) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                if !error.may_pass() || since.elapsed() >= session.timing.patience {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(session.timing.poll).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::model::check_name;

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert!(variable("=b").is_err() && variable("A").is_err());
    }

    #[test]
    fn a_name_is_made_of_any_image() {
        assert!(name_for("registry:5000/library/nginx:1.27", 1).starts_with("nginx-"));
        assert_ne!(name_for("nginx", 1), name_for("nginx", 2));
        let long = "x".repeat(300);
        for image in ["", "nginx", "a/B_c.d:1@sha256:00", "123", "-", "ü", "x-:1", &long] {
            for seed in [0, 7, u64::MAX] {
                let name = name_for(image, seed);
                assert!(check_name("name", &name).is_ok(), "{image}: {name}");
            }
        }
    }
}
