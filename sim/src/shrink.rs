//! Cuts a failing run down to what matters.
//!
//! The key is the invariant's name: a smaller run that breaks the same invariant is as good as the
//! larger one. First the inputs are cut by delta debugging (Zeller and Hildebrandt, "Simplifying and
//! isolating failure-inducing input", 2002), then the world is made smaller and quicker, then the
//! inputs once more.

use crate::{
    input::{Script, Step},
    options::Options,
    world::{Failure, Plan, run},
};

/// The smallest script found that breaks the same invariant, with its failure. `runs` bounds how
/// many worlds are lived through.
pub fn shrink(failure: Failure, runs: usize) -> Box<Failure> {
    let mut shrinking = Shrinking { invariant: failure.invariant, best: Box::new(failure), runs };
    // The script alone has to fail as the seed did: nothing is drawn any more.
    if !shrinking.fails(shrinking.best.script.clone()) {
        return shrinking.best;
    }
    shrinking.cut_steps();
    shrinking.simplify_options();
    shrinking.cut_steps();
    shrinking.best
}

struct Shrinking {
    invariant: &'static str,
    best: Box<Failure>,
    runs: usize,
}

impl Shrinking {
    /// Lives through a script; one that breaks the same invariant is the best from now on.
    fn fails(&mut self, script: Script) -> bool {
        if self.runs == 0 {
            return false;
        }
        self.runs -= 1;
        match run(&Plan::script(&script)) {
            Err(failure) if failure.invariant == self.invariant => {
                self.best = failure;
                true
            }
            _ => false,
        }
    }

    fn with_steps(&self, steps: Vec<Step>) -> Script {
        Script { steps, ..self.best.script.clone() }
    }

    /// Leaves out ever smaller parts of the inputs.
    fn cut_steps(&mut self) {
        let mut size = self.best.script.steps.len().div_ceil(2);
        while size > 0 && self.runs > 0 {
            let mut from = 0;
            while from < self.best.script.steps.len() && self.runs > 0 {
                let steps = &self.best.script.steps;
                let to = (from + size).min(steps.len());
                let less = [&steps[..from], &steps[to..]].concat();
                if !self.fails(self.with_steps(less)) {
                    from = to;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Fewer workers, shorter chaos, quicker engines and disks: whatever still fails.
    fn simplify_options(&mut self) {
        let end = self.best.at_ms;
        let simpler: [&dyn Fn(&mut Options); 7] = [
            &|o| o.workers = 1,
            &|o| o.workers = 2,
            &|o| o.chaos_ms = o.chaos_ms.min(end + 1).max(5000),
            &|o| o.delay_ms_max = 1,
            &|o| o.engine_ms_max = 1,
            &|o| o.sync_ms_max = 1,
            &|o| o.drift_ppm_max = 0,
        ];
        for simplify in simpler {
            let mut script = self.best.script.clone();
            simplify(&mut script.options);
            if script.options.workers <= self.best.script.options.workers && script != self.best.script {
                self.fails(script);
            }
        }
    }
}
