//! The users come in through the manager's handle, several at once; some do not wait for the answer.

use crate::world::{World, node_name};
use futures_util::future::join_all;
use orbit_core::model::{Code, Rejection};
use orbit_manager::ANSWER_MAX;
use orbit_sim::{
    Random,
    client::{IMAGES_BAD, IMAGES_GOOD},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// By then everybody has been answered.
const ANSWERED_MS: u64 = ANSWER_MAX.as_millis() as u64 + 1000;

pub(crate) async fn ask(world: Arc<World>, mut random: Random) {
    let options = &world.options;
    let bad = options.bad_images.then_some(&IMAGES_BAD).into_iter().flatten();
    let images: Vec<&str> = IMAGES_GOOD.iter().chain(bad).copied().collect();
    while !world.is_calm() {
        sleep(Duration::from_millis(random.between(20, 3000))).await;
        let Some(handle) = world.manager.handle() else { continue };
        let tasks: Vec<_> = match &*world.shown() {
            Some(shown) => shown.tasks.iter().filter(|task| task.is_live()).map(|task| task.id).collect(),
            None => Vec::new(),
        };
        let mut client = world.client.lock().await;
        if world.is_calm() {
            return;
        }
        let several = random.between(1, 8);
        let mut ask = |_| {
            let ask = client.draw(&mut random, options.names, &images, options.workers)?;
            client.ask(&ask, &tasks, node_name)
        };
        let requests: Vec<_> = (0..several).filter_map(&mut ask).collect();
        let replies = join_all(requests.into_iter().map(|(id, request)| {
            let hangs_up = world.options.hang_ups && random.chance(200);
            let patience = if hangs_up { random.between(0, 50) } else { ANSWERED_MS };
            let (world, handle) = (world.clone(), handle.clone());
            async move {
                world.record.note("requests", &request);
                let replied = timeout(Duration::from_millis(patience), handle.request(request)).await;
                (id, hangs_up, replied.map(|replied| replied.result))
            }
        }));
        for (id, hangs_up, reply) in replies.await {
            if reply.is_err() && !hangs_up {
                let found = format!("a user was not answered within {ANSWERED_MS} ms");
                return world.violated(("I36", found));
            }
            world.record.note(if reply.is_ok() { "replies" } else { "hang-ups" }, (id, &reply));
            // Nobody knows what came of it.
            let result = reply.unwrap_or_else(|_| Err(Rejection::new(Code::Unavailable, "nobody waited")));
            match client.answered(id, result) {
                Ok(news) => news.into_iter().for_each(|news| world.record.note("news", news)),
                Err(violation) => return world.violated(violation),
            }
        }
    }
}
