//! What is said to the supervisor that started the process, where there is one that listens: systemd
//! with `Type=notify`, or whoever else sets `NOTIFY_SOCKET`. Without one, and to one that does not
//! listen, nothing is said; nor in a simulated build.

/// The daemon does its work from now on.
pub fn ready(status: &str) {
    say(Some("READY=1"), status);
}

/// One line on what it does.
pub fn status(status: &str) {
    say(None, status);
}

/// It was asked to end, and does.
pub fn stopping() {
    say(Some("STOPPING=1"), "stops");
}

#[cfg(all(feature = "program", not(madsim)))]
fn say(state: Option<&str>, status: &str) {
    use sd_notify::NotifyState;
    let state = state.map(NotifyState::Custom);
    let what: Vec<_> = state.into_iter().chain([NotifyState::Status(status)]).collect();
    if let Err(error) = sd_notify::notify(&what) {
        tracing::debug!("the supervisor is not reached: {error}");
    }
}

#[cfg(not(all(feature = "program", not(madsim))))]
fn say(_: Option<&str>, _: &str) {}
