//! The wire between manager and worker: any bytes are a message or are refused.

use crate::bytes::message;
use orbit_core::model::{ToManager, ToWorker};
use orbit_proto::v1;

/// Any bytes as a message in either direction. That it comes back at all is what is tested, and
/// that what is accepted is read back as it was written.
pub fn wire(data: &[u8]) {
    message::<ToManager, v1::ToManager>(data);
    message::<ToWorker, v1::ToWorker>(data);
}
