//! What a task costs in memory: a cluster holds two million of them.

use orbit_core::model::{Slot, Task};

#[test]
fn a_task_stays_within_160_bytes() {
    assert!(size_of::<Task>() <= 160, "a task takes {} bytes", size_of::<Task>());
}

#[test]
fn a_slot_stays_within_24_bytes() {
    assert!(size_of::<Slot>() <= 24, "a slot takes {} bytes", size_of::<Slot>());
}
