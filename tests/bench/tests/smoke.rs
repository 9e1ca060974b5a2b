//! Each figure of `make bench` works: it is tried a fiftieth as large, and its numbers are not looked at. (A figure
//! that panicked took half of the bench with it, and nobody saw that for weeks.)

use std::process::Command;

/// The program says its figures, or that there is no engine to measure on.
fn smoke(figure: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_orbit-bench")).args(["--smoke", figure]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{figure}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().count() > 1, "{figure} says nothing: {said}");
}

macro_rules! smoke {
    ($($figure:ident)*) => {
        $(#[test]
        fn $figure() {
            smoke(stringify!($figure));
        })*

        #[test]
        fn no_figure_is_left_out() {
            let output = Command::new(env!("CARGO_BIN_EXE_orbit-bench")).arg("--names").output().expect("it runs");
            let names = String::from_utf8(output.stdout).expect("names are text");
            assert_eq!(names.lines().collect::<Vec<_>>(), [$(stringify!($figure)),*]);
        }
    };
}

smoke! { core fleet spread submit list watch flood workers idle logs replace restart rollout cut start }
