//! The limits on what a user may submit. A request outside of them is refused and changes nothing.

use std::collections::BTreeMap;

/// Bytes of the name of an object, a node or a port. Each may become a label in DNS, and those have at most 63 bytes
/// (RFC 1035, which also says which letters they have).
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a word of a command line, or of a variable with its name and the `=` between. Linux takes 128 KiB for one
/// string, the byte at its end included.
pub const WORD_BYTES_MAX: usize = (128 << 10) - 1;
/// Bytes of a label's key: as many as the longest one of Kubernetes has, a domain, a slash and a name.
pub const LABEL_KEY_BYTES_MAX: usize = 253 + 1 + 63;
/// Bytes of all labels of an object or a node together, keys and values: every list repeats them, and the hello of a node
/// has to fit into one message.
pub const LABELS_BYTES_MAX: usize = 64 << 10;
/// Bytes of any other string in a manifest.
pub const STRING_BYTES_MAX: usize = 4096;
/// Entries of a list or a map whose bytes are not what bounds it: labels, ports, constraints.
pub const ITEMS_MAX: usize = 256;
/// Replicas of one service.
pub const REPLICAS_MAX: u32 = 100_000;
/// Slots of the whole cluster, over all objects.
pub const SLOTS_MAX: u64 = 4_000_000;
/// Volumes of the whole cluster.
pub const VOLUMES_MAX: usize = 100_000;
/// Bytes of one spec, about as it is stored, with the labels and the commands of the probes. Linux takes twice as much for
/// the command line and the variables of a process.
pub const SPEC_BYTES_MAX: usize = 1 << 20;
/// Bytes of the versions of one object that are kept though no task is of them.
pub const VERSIONS_BYTES_MAX: usize = 4 << 20;
/// Bytes of all specs of the cluster, every kept version included.
pub const SPECS_BYTES_MAX: u64 = 256 << 20;
/// The smallest memory limit that Docker accepts.
pub const MEMORY_BYTES_MIN: u64 = 6 << 20;
/// Far beyond any machine.
pub const MEMORY_BYTES_MAX: u64 = 1 << 50;
/// The smallest share of a processor that Docker accepts.
pub const CPU_MILLIS_MIN: u64 = 10;
/// Far beyond any machine.
pub const CPU_MILLIS_MAX: u64 = 1_000_000;
/// The longest time that a manifest may name: a day.
pub const SPAN_MS_MAX: u64 = 86_400_000;
/// The signals that can ask a process to end. `SIGRTMIN+3` is systemd's own.
pub const STOP_SIGNALS: [&str; 10] =
    ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGABRT", "SIGKILL", "SIGRTMIN+3"];
/// No container starts much faster than that.
pub const DEADLINE_MS_MIN: u64 = 1000;
/// A node that asked more often would do little else.
pub const PROBE_SPAN_MS_MIN: u64 = 100;
/// Whoever wants to wait longer has a longer interval.
pub const PROBE_RETRIES_MAX: u32 = 100;
/// The most processes of one container (Linux's own limit).
pub const PIDS_MAX: u32 = 4_194_304;

/// About how many bytes a list of words takes in a message.
pub(super) fn words_bytes(words: &[String]) -> usize {
    words.iter().map(|word| word.len() + 4).sum()
}

/// About how many bytes a map of texts takes in a message.
pub(super) fn map_bytes(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len() + 8).sum()
}
