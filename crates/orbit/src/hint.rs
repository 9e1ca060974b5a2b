//! Words that people bring along from other tools: what does the same here.

use std::ffi::OsString;

/// A line for somebody whose arguments were refused; none where they use no such word.
pub fn hint(args: &[OsString]) -> Option<String> {
    let words: Vec<_> =
        args.iter().skip(1).map(|arg| arg.to_string_lossy()).filter(|arg| !arg.starts_with('-')).collect();
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let instead = match words[..] {
        ["rollback" | "undo", ..] => "orbit rollout undo NAME",
        ["diff", ..] => "orbit apply -f FILE --dry-run",
        ["status", ..] => "orbit get all, or orbit rollout status NAME",
        ["wait", ..] => "orbit apply -f FILE --wait, or orbit rollout status NAME",
        ["ps" | "ls" | "list", ..] => "orbit get tasks",
        ["update" | "create", ..] => "orbit apply -f FILE",
        ["stop" | "rm" | "remove" | "down", ..] => "orbit delete KIND NAME, or orbit scale NAME=0",
        ["up", ..] => "orbit dev, or orbit apply -f FILE",
        ["top" | "stats", ..] => "orbit get nodes -o wide",
        ["drain" | "cordon" | "uncordon", ..] => "orbit node drain NAME (or cordon, uncordon)",
        ["get", "pods" | "pod" | "containers" | "replicas" | "allocs", ..] => "orbit get tasks",
        ["get", "deployments" | "deployment" | "deploy" | "stacks", ..] => "orbit get services",
        ["get", "endpoints", ..] => "orbit endpoints NAME",
        _ => return None,
    };
    Some(format!("the same here: {instead}"))
}
