//! Lets `make bugs` see which planted bugs these tests find.

/// Puts the bug in force that `ORBIT_PLANTED` names, for the whole process. Every door to the machines
/// calls it; without the feature it does nothing.
pub fn from_environment() {
    #[cfg(feature = "planted")]
    if let Some(name) = std::env::var_os("ORBIT_PLANTED").and_then(|name| name.into_string().ok()) {
        let bug = orbit_core::planted::Bug::named(&name).unwrap_or_else(|| panic!("there is no bug {name}"));
        orbit_core::planted::plant(Some(bug));
    }
}
