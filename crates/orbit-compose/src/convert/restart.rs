//! What follows when a container ends: `restart`, or what a swarm has in its place.

use super::{Findings, fields::Fields, units::span};
use crate::yaml::Place;
use orbit_api::manifest::{ManifestBackoff, ManifestPolicy, ManifestRestart};

/// What a service says of it, in either way.
pub struct Restart {
    at: Place,
    path: String,
    /// In the words of `restart`, perhaps with how often; nothing where it does not say.
    said: Option<String>,
    backoff: Option<ManifestBackoff>,
    /// How often it is tried, and within which time: where that stands, and its path.
    bounds: Vec<(Place, String)>,
}

impl Restart {
    /// Takes what a service says, and what it says below `deploy`.
    pub fn of(fields: &mut Fields, deploy: Option<&mut Fields>, findings: &mut Findings) -> Restart {
        let at = fields.take("restart").map_or(fields.at, |node| node.at);
        let said = fields.text("restart", findings);
        let mut policy = deploy.and_then(|deploy| deploy.below("restart_policy", findings));
        let condition = policy.as_mut().and_then(|policy| policy.text("condition", findings));
        let delay = policy.as_mut().and_then(|policy| policy.parsed("delay", findings, span));
        let mut bounds = Vec::new();
        if let Some(policy) = &mut policy {
            for key in ["max_attempts", "window"] {
                bounds.extend(policy.take(key).map(|node| (node.at, policy.path(key))));
            }
            policy.refuse_others(findings);
        }
        // Of the two, Compose takes that of `deploy`.
        let condition = condition.map(|condition| match &*condition {
            "none" => "no".to_string(),
            "any" => "always".to_string(),
            _ => condition,
        });
        let backoff = delay.map(|initial| ManifestBackoff { initial: Some(initial), ..ManifestBackoff::default() });
        Restart { at, path: fields.path("restart"), said: condition.or(said), backoff, bounds }
    }

    /// Whether it says that nothing follows.
    pub fn is_no(&self) -> bool {
        matches!(self.said.as_deref(), Some("no" | "none"))
    }

    /// The policy, without how often.
    fn policy(&self) -> Option<&str> {
        self.said.as_deref().map(|said| said.split_once(':').map_or(said, |(policy, _)| policy))
    }

    /// Of a service, which is kept running.
    pub fn of_service(self, findings: &mut Findings) -> Option<ManifestRestart> {
        // How long it has to run to have been started well, and how often it is tried: a backoff that grows does both.
        for (at, path) in &self.bounds {
            findings.note(*at, path, "it is tried again and again, later each time");
        }
        match self.policy() {
            Some("always" | "unless-stopped") => {}
            None => {
                let message =
                    "without it, Compose starts a container once; here it is kept running (`kind: Task` is one run)";
                findings.note(self.at, &self.path, message);
            }
            Some("on-failure") => {
                let message = "a service is started again however it ended, and as often as it takes; `kind: Task` with \
                               `on_failure` is one run";
                findings.note(self.at, &self.path, message);
            }
            Some(other) => findings.refuse(self.at, &self.path, format!("`{other:.64}` is no policy")),
        }
        self.backoff.map(|backoff| ManifestRestart { policy: None, backoff: Some(backoff) })
    }

    /// Of one run, which is tried again where it says so.
    pub fn of_run(self, findings: &mut Findings) -> Option<ManifestRestart> {
        let counted = self.said.as_ref().filter(|said| said.contains(':')).map(|_| self.at);
        if let Some(at) = self.bounds.last().map(|(at, _)| *at).or(counted) {
            findings.note(at, &self.path, "after a failure it is tried again and again, later each time");
        }
        match self.policy() {
            None | Some("no" | "none") => return None,
            Some("on-failure") => {}
            Some(_) => {
                let message = "others wait for its good end: it runs once, and again only after a failure";
                findings.note(self.at, &self.path, message);
            }
        }
        Some(ManifestRestart { policy: Some(ManifestPolicy::OnFailure), backoff: self.backoff })
    }
}
