//! Where the simulator may let time pass.

/// A place at which nothing may depend on what comes next coming at once. In the simulator, time
/// passes here now and then, and a process that is killed may end here; elsewhere this is nothing.
pub async fn buggify() {
    #[cfg(madsim)]
    {
        use madsim::{buggify::buggify_with_prob, rand::Rng};
        if buggify_with_prob(0.05) {
            let micros = madsim::rand::thread_rng().gen_range(1..300_000);
            tokio::time::sleep(std::time::Duration::from_micros(micros)).await;
        }
    }
}
