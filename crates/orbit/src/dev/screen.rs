//! What `orbit dev` shows: where everything is, then one line for each thing that happens.

use super::{
    facts::{Engine, Facts},
    words::{banner, engine_line, farewell, line},
};
use crate::{
    client::{Client, path},
    error::Error,
};
use jiff::tz::TimeZone;
use orbit_api::view::{Event, List, Node, Task};
use std::{io::Write, time::Duration};
use tokio::sync::oneshot;

/// Between two looks at the engine.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// So long the first look at the engine may keep the banner.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(2);
/// So long the last look at the cluster may keep the end.
const LAST_LOOK_MAX: Duration = Duration::from_millis(300);

/// Standard output, and how it is written to.
pub struct Screen<'a> {
    /// Where to.
    pub out: &'a mut dyn Write,
    /// Whether there may be colours.
    pub colours: bool,
    /// Whose hours.
    pub zone: TimeZone,
}

impl Screen<'_> {
    /// Shows the banner once the manager leads, says so, and then what happens. Ends only by failing.
    pub async fn show(&mut self, client: &Client, facts: &Facts, led: oneshot::Sender<()>) -> Result<(), Error> {
        let mut seen = loop {
            match client.get::<List<Event>>(&path(&["events"], &[("limit", "1")])).await {
                Ok(list) => break list.revision,
                Err(error) if error.may_pass() => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => return Err(error),
            }
        };
        let _ = led.send(());
        let late = || Err("it does not answer in time".to_string());
        let mut engine = tokio::time::timeout(FIRST_LOOK_MAX, facts.look()).await.unwrap_or_else(|_| late());
        let banner = banner(facts, &engine);
        self.write(&banner.text(self.colours))?;
        loop {
            let since = seen.to_string();
            let at = path(&["events"], &[("watch", "1"), ("since", &since)]);
            let mut events = match client.events(&at, None).await {
                Ok(events) => events,
                Err(error) if error.may_pass() => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            loop {
                tokio::select! { biased;
                    data = events.next() => {
                        let Some(data) = data else { break };
                        let event: Event = serde_json::from_str(&data).map_err(|e| Error::usage(e.to_string()))?;
                        self.write(&line(&event, &self.zone).text(self.colours))?;
                    }
                    found = changed(facts, engine.is_ok()) => {
                        self.write(&engine_line(&found, &self.zone).text(self.colours))?;
                        engine = found;
                    }
                }
                seen = events.seen.as_deref().and_then(|id| id.parse().ok()).unwrap_or(seen);
            }
        }
    }

    /// Says what goes on without Orbit.
    pub async fn farewell(&mut self, client: &Client, facts: &Facts) -> Result<(), Error> {
        let look = async {
            let tasks: List<Task> = client.list("tasks", &[("node", &facts.node), ("state", "running")]).await?;
            let node: Node = client.get(&path(&["nodes", &facts.node], &[])).await?;
            Ok::<_, Error>((tasks.items.len(), node.uid))
        };
        let seen = tokio::time::timeout(LAST_LOOK_MAX, look).await.ok().and_then(Result::ok);
        self.write(&farewell(seen).text(self.colours))
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }
}

/// Waits until the engine answers where it did not, or the other way about.
async fn changed(facts: &Facts, answered: bool) -> Engine {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let found = facts.look().await;
        if found.is_ok() != answered {
            return found;
        }
    }
}
