//! A few seeds of the whole, and one of them twice.

use orbit_sim_daemons::run;

#[test]
fn seeds_hold_every_invariant() {
    for seed in 1..=5 {
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_goes_the_same_way_twice() {
    let report = |seed| run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report(7), report(7));
}
