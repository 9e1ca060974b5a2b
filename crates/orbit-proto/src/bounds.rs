//! How much of a message is taken from the other side, whoever that is.
//!
//! A transport's limit counts the bytes of one message before it is decoded. Decoded it may take some seventy times
//! as much: an empty report is two bytes on the wire. So the limit of what anybody may send who reaches the
//! manager's port is small, and what is longer than it by nature, an inventory, comes in [pieces](crate::to_manager).

/// The largest message that a manager takes from a worker, in bytes.
pub const FROM_WORKER_BYTES_MAX: usize = 256 << 10;
/// The largest message that a worker takes from its manager, in bytes: everything that a node shall run comes in one.
pub const TO_WORKER_BYTES_MAX: usize = 256 << 20;
/// The most reports in one message.
pub const REPORTS_MAX: usize = 4096;
/// The most reports in an inventory, over all of its pieces. An engine is far from having so many containers.
pub const INVENTORY_MAX: usize = 1 << 16;
/// The most bytes in an inventory, over all of its pieces, as they were on the wire.
pub const INVENTORY_BYTES_MAX: usize = 16 << 20;
/// The longest piece of a log or of a process's output.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;
/// The longest digest of an image, in bytes.
pub(crate) const DIGEST_BYTES_MAX: usize = 256;
/// So many bytes of reports are put into one message: with the largest report on top it is well below the limit.
pub(crate) const PIECE_BYTES: usize = 96 << 10;
