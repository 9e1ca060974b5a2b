//! Paths inside a container, and those of its machine.

use super::{
    Rejection,
    validate::{check_line, excerpt},
};

/// An absolute path.
pub(super) fn check_path(field: &str, path: &str) -> Result<(), Rejection> {
    check_line(field, path)?;
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(Rejection::invalid(field, format!("`{}` is not an absolute path", excerpt(path)))),
    }
}

/// A path of a machine that is given to a container. To what it leads, only its worker finds out.
pub(super) fn check_host_path(field: &str, path: &str) -> Result<(), Rejection> {
    check_path(field, path)?;
    if path.contains(':') {
        return Err(Rejection::invalid(field, format!("`{}` has a `:`, which no engine takes here", excerpt(path))));
    }
    match parts(path).any(|part| part == "." || part == "..") {
        true => Err(Rejection::invalid(field, format!("`{}` leads through `.` or `..`", excerpt(path)))),
        false => Ok(()),
    }
}

/// A path inside a container at which something is mounted.
pub(super) fn check_mount_path(field: &str, path: &str) -> Result<(), Rejection> {
    check_host_path(field, path)?;
    match parts(path).next() {
        None => Err(Rejection::invalid(field, "nothing can be mounted over the container's root")),
        Some(_) => Ok(()),
    }
}

/// Whether a path is another one or below it, as they are written: neither leads through `..`.
pub(super) fn is_within(path: &str, root: &str) -> bool {
    let mut path = parts(path);
    parts(root).all(|part| path.next() == Some(part))
}

/// Whether two paths are one, however many slashes they have.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    parts(a).eq(parts(b))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}
