//! Looks at the manager and at the engines all the time.

use crate::{record::Violation, world::World};
use orbit_core::manager::Manager;
use orbit_sim::{
    Random,
    checks::{self, EngineWatch, acknowledged},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

pub(crate) async fn watch(world: Arc<World>, mut random: Random) {
    let mut engines = EngineWatch::default();
    loop {
        sleep(Duration::from_millis(random.between(100, 2000))).await;
        if let Err(violation) = look(&world, &mut engines).await {
            return world.violated(violation);
        }
    }
}

async fn look(world: &World, engines: &mut EngineWatch) -> Result<(), Violation> {
    for (home, worker) in world.workers.iter().enumerate() {
        worker.runtime.with(|engine| engines.look(home, engine))?;
    }
    let Some(handle) = world.manager.handle() else { return Ok(()) };
    // Whoever holds the client knows of everything that was asked for and has no answer.
    let client = world.client.try_lock().ok();
    let known = client.as_ref().map(|client| client.known.clone());
    let look = move |manager: &Manager, _| {
        let cluster = manager.cluster();
        checks::sessions(manager)?;
        checks::snapshot(cluster)?;
        known.map_or(Ok(()), |known| acknowledged(cluster, &known))?;
        Ok(manager.snapshot())
    };
    // A manager that is down, or stands still, shows nothing.
    let Ok(Ok(snapshot)) = timeout(Duration::from_secs(2), handle.inspect(look)).await else { return Ok(()) };
    let snapshot = snapshot?;
    drop(client);
    let mut shown = world.shown();
    if let Some(before) = shown.as_ref().filter(|before| before.index > snapshot.index) {
        return Err(("I10", format!("entry {} was shown, then {}", before.index, snapshot.index)));
    }
    *shown = Some(snapshot);
    Ok(())
}
