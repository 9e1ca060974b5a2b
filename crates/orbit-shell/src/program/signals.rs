//! The signals that end a daemon.

use std::future::Future;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Ready when the process is asked to end, by Ctrl-C or SIGTERM, from this call on. Whoever asks a
/// second time does not want to wait: the process then ends at once, as the signal would have ended it.
///
/// # Panics
/// If the system does not let signals be waited for.
pub fn asked_to_end() -> impl Future<Output = ()> + Send + 'static {
    let listen = |kind| signal(kind).expect("signals can be waited for");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let (say, asked) = oneshot::channel();
    tokio::spawn(async move {
        next(&mut terminate, &mut interrupt).await;
        let _ = say.send(());
        let code = 128 + next(&mut terminate, &mut interrupt).await.as_raw_value();
        std::process::exit(code);
    });
    async {
        let _ = asked.await;
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> SignalKind {
    tokio::select! { biased;
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    }
}
