//! Images that cannot be had, or not yet.

use crate::task;
use orbit_tests::{Cluster, Mood, Registry, engine, repository};
use serde_json::json;

#[test]
fn an_image_that_cannot_be_had_is_an_end_that_says_why() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let registry = Registry::new();
    let cases = [
        ("untagged", registry.reference("nothing"), "unknown"),
        ("nowhere", "nowhere.invalid/web:1".to_string(), "nowhere.invalid"),
    ];
    for (name, image, said) in cases {
        let mut task = task(name, &[]);
        task["image"] = json!(image);
        let id = cluster.apply(&task)["task"].as_str().expect("an answer has an attempt").to_string();
        let ended = cluster.wait_ended(&id);
        assert_eq!((ended.actual.as_str(), ended.reason.as_deref()), ("failed", Some("pull_failed")), "{ended:?}");
        assert!(ended.message.contains(said), "{ended:?}");
    }
}

#[test]
fn an_image_is_pulled_when_it_is_missing_always_or_never_as_its_spec_says() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let registry = Registry::new();
    let image = registry.add_image("policies");
    let run = |name: &str, pull: &str| {
        let mut task = task(name, &["exit", "0"]);
        task["image"] = json!(image);
        task["pull"] = json!(pull);
        let id = cluster.apply(&task)["task"].as_str().expect("an answer has an attempt").to_string();
        cluster.wait_ended(&id)
    };
    let absent = run("too-early", "never");
    assert_eq!((absent.actual.as_str(), absent.reason.as_deref()), ("failed", Some("pull_failed")), "{absent:?}");
    assert!(absent.message.contains("is not to be pulled"), "{absent:?}");
    assert_eq!(run("first", "missing").actual, "complete");
    // It is here now, so nobody asks a registry that does not answer; unless it is to be asked.
    registry.set(Mood::Dead);
    for pull in ["missing", "never"] {
        assert_eq!(run(&format!("{pull}-again"), pull).actual, "complete");
    }
    let refused = run("always-asked", "always");
    assert_eq!(refused.reason.as_deref(), Some("pull_failed"), "{refused:?}");
    engine.remove_image(&image);
}

#[test]
fn a_local_image_that_was_built_again_under_its_tag_is_warned_of() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let image = engine.commit("LABEL build=1");
    let mut web = crate::web("web", 1);
    web["image"] = json!(image);
    cluster.apply(&web);
    cluster.wait_running("web", 1);
    assert_eq!(engine.commit("LABEL build=2"), image);
    cluster.scale("web", 2);
    cluster.wait_running("web", 2);
    let said = cluster.wait_for("somebody is told", || {
        let events = cluster.orbit(&["events"], "");
        let events = String::from_utf8_lossy(&events.stdout).into_owned();
        let line = events.lines().find(|line| line.contains("image_differs")).map(str::to_string);
        line.ok_or(events)
    });
    assert!(said.contains(&format!("version 1 runs two builds of {image}")), "{said}");
    cluster.delete("/v1/services/web");
    cluster.wait_running("web", 0);
    engine.remove_image(&image);
}

#[test]
fn with_little_room_images_go_that_were_pulled_and_that_nothing_needs_and_no_others() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 0);
    // Whatever is free on the disk is little.
    cluster.add_worker(&["--collect-images-below-mib=1000000000", "--collect-images-after=1"]);
    cluster.wait_ready(1);
    let registry = Registry::new();
    let [used, kept, foreign] = ["used", "kept", "foreign"].map(|name| registry.add_image(name));
    engine.pull(&foreign);
    // Pulled by Orbit, and the image was here: whoever had it may rely on it.
    let again = registry.tag_again("foreign");
    let run = |name: &str, image: &str| {
        let mut task = task(name, &["exit", "0"]);
        task["image"] = json!(image);
        cluster.wait_ended(cluster.apply(&task)["task"].as_str().expect("an answer has an attempt"))
    };
    for (name, image) in [("used", &used), ("kept", &kept), ("foreign", &foreign), ("again", &again)] {
        assert_eq!(run(name, image).actual, "complete");
    }
    cluster.delete("/v1/tasks/used");
    cluster.delete("/v1/tasks/foreign");
    cluster.delete("/v1/tasks/again");
    let is_gone = |image: &str| if engine.has_image(image) { Err(format!("{image} is here")) } else { Ok(()) };
    cluster.wait_for("what was pulled and nothing needs is gone", || is_gone(&used));
    // The container of the one is kept for its log, and the other was here before.
    assert!(engine.has_image(&kept) && engine.has_image(&foreign) && engine.has_image("orbit-web:1"));
    cluster.delete("/v1/tasks/kept");
    cluster.wait_for("it goes after its last task", || is_gone(&kept));
    assert!(engine.has_image(&foreign) && engine.has_image(&again));
    engine.remove_image(&again);
    engine.remove_image(&foreign);
}

#[test]
fn a_worker_that_is_killed_during_a_pull_pulls_again() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 1);
    let registry = Registry::new();
    let image = registry.add_image("slow");
    registry.set(Mood::Slow);
    let mut web = crate::web("web", 2);
    web["image"] = json!(image);
    cluster.apply(&web);
    cluster.wait_for("the pull is under way", || if registry.halves() > 0 { Ok(()) } else { Err("no".to_string()) });
    cluster.workers[0].daemon.kill();
    registry.set(Mood::Well);
    cluster.workers[0].daemon.start();
    cluster.wait_running("web", 2);
    assert_eq!(cluster.tasks("service=web").len(), 2, "nothing was created before, so nothing has failed");
    cluster.delete("/v1/services/web");
    cluster.wait_running("web", 0);
    engine.remove_image(&image);
}

#[test]
fn a_registry_that_dies_during_a_pull_is_tried_again_when_it_lives() {
    let Some(engine) = engine() else { return };
    let mut cluster = Cluster::start(&engine, 0);
    // The engine itself tries for a minute.
    cluster.add_worker(&["--pull-deadline=3"]);
    cluster.wait_ready(1);
    let registry = Registry::new();
    let image = registry.add_image("dying");
    registry.set(Mood::Slow);
    let mut web = crate::web("web", 2);
    web["image"] = json!(image);
    cluster.apply(&web);
    cluster.wait_for("the pull is under way", || if registry.halves() > 0 { Ok(()) } else { Err("no".to_string()) });
    registry.set(Mood::Dead);
    cluster.wait_for("the pull has failed", || {
        let tasks = cluster.tasks("service=web");
        let failed = tasks.iter().find(|task| matches!(task.reason.as_deref(), Some("pull_failed" | "pull_timeout")));
        failed.map(|_| ()).ok_or_else(|| format!("{tasks:?}"))
    });
    registry.set(Mood::Well);
    cluster.wait_within("it runs", std::time::Duration::from_secs(90), || {
        let running = cluster.running("web").len();
        if running == 2 { Ok(()) } else { Err(format!("{running}: {:?}", cluster.tasks("service=web"))) }
    });
    cluster.delete("/v1/services/web");
    cluster.wait_running("web", 0);
    engine.remove_image(&image);
}

#[test]
fn a_private_registry_is_asked_with_the_worker_s_credentials_which_nobody_else_sees() {
    let Some(engine) = engine() else { return };
    let registry = Registry::new();
    let image = registry.add_image("private");
    // `shop:tell-nobody-4711`
    let (secret, auth) = ("tell-nobody-4711", "c2hvcDp0ZWxsLW5vYm9keS00NzEx");
    registry.admit_only(auth);
    let mut cluster = Cluster::start(&engine, 0);
    let file = cluster.file("registries.json", "{}");
    let worker = &mut cluster.add_worker(&[&format!("--registry-auth={file}")]).daemon;
    worker.terminate();
    let helpers = repository().join("crates/orbit-runtime/testdata");
    let path = std::env::var("PATH").expect("programs are found by it");
    worker.env("PATH", &format!("{}:{path}", helpers.display()));
    worker.start();
    cluster.wait_ready(1);
    let run = |cluster: &Cluster, name: &str| {
        let mut task = task(name, &["exit", "0"]);
        task["image"] = json!(image);
        let id = cluster.apply(&task)["task"].as_str().expect("an answer has an attempt").to_string();
        cluster.wait_ended(&id)
    };
    let refused = run(&cluster, "stranger");
    assert_eq!(refused.reason.as_deref(), Some("pull_failed"), "{refused:?}");
    // The file is read for every pull: what is added counts at once.
    cluster.file("registries.json", &json!({ "auths": { registry.host(): { "auth": auth } } }).to_string());
    assert_eq!(run(&cluster, "friend").actual, "complete");
    // As does that they are a helper's affair now.
    engine.remove_image(&image);
    let elsewhere = json!({ "auths": { registry.host(): {} }, "credHelpers": { registry.host(): "fixture" } });
    cluster.file("registries.json", &elsewhere.to_string());
    assert_eq!(run(&cluster, "helped").actual, "complete");
    cluster.file("registries.json", &format!("{{ \"auths\": {{ \"x\": \"{secret}\" }} }}"));
    engine.remove_image(&image);
    let wrong = run(&cluster, "wrong");
    assert!(wrong.message.contains("registries.json: line 1 is not as"), "{wrong:?}");
    // Not in a log, not in the store, not in an answer.
    let answers: String = ["/v1/tasks", "/v1/events", "/v1/nodes", "/metrics"]
        .map(|path| cluster.ask("GET", path, "").map(|answer| answer.text()).unwrap_or_default())
        .concat();
    let mut seen = vec![("an answer".to_string(), answers.into_bytes())];
    let mut folders = vec![cluster.scratch().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it is there").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.ends_with("registries.json") => {}
                path => seen.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default())),
            }
        }
    }
    assert!(seen.len() > 3, "logs and stores are there to be read: {seen:?}", seen = seen.len());
    for (place, bytes) in seen {
        for word in [secret, auth] {
            assert!(!bytes.windows(word.len()).any(|it| it == word.as_bytes()), "{word} is in {place}");
        }
    }
}

#[test]
fn all_replicas_of_a_version_run_the_same_bytes_whatever_becomes_of_the_tag() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let registry = Registry::new();
    let image = registry.add_image("moving");
    let mut web = crate::web("web", 1);
    (web["image"], web["pull"]) = (json!(image), json!("always"));
    cluster.apply(&web);
    let first = cluster.wait_running("web", 1).remove(0);
    // Somebody pushes something else under the same tag, and the service grows.
    assert_eq!(registry.add_image("moving"), image);
    cluster.scale("web", 3);
    let all = cluster.wait_running("web", 3);
    assert!(all.iter().all(|container| container.image_id == first.image_id), "{all:?}");
    let history = String::from_utf8_lossy(&cluster.orbit(&["rollout", "history", "web"], "").stdout).into_owned();
    let digest = history.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).unwrap_or_default().to_string();
    assert!(digest.len() == 12 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{history}");
    // A new version asks anew.
    let restarted = cluster.orbit(&["restart", "web"], "");
    assert!(restarted.status.success(), "{restarted:?}");
    assert!(cluster.orbit(&["rollout", "status", "web"], "").status.success());
    let after = cluster.wait_running("web", 3);
    assert!(after.iter().all(|container| container.image_id != first.image_id), "{after:?}");
    assert!(after.iter().all(|container| container.image_id == after[0].image_id), "{after:?}");
    cluster.delete("/v1/services/web");
    cluster.wait_running("web", 0);
    engine.remove_image(&image);
}

#[test]
fn a_tag_means_what_its_registry_says_also_where_another_tag_is_the_same_image() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let registry = Registry::new();
    let images = [registry.add_image("twice"), registry.tag_again("twice")];
    // Which digest was resolved, as the history of the service tells it.
    let resolved = |name: &str, image: &str, pull: &str| {
        let mut web = crate::web(name, 1);
        (web["image"], web["pull"]) = (json!(image), json!(pull));
        cluster.apply(&web);
        cluster.wait_running(name, 1);
        let events = cluster.ask("GET", &format!("/v1/events?name={name}"), "").expect("the manager answers").json();
        let events = events["items"].as_array().expect("a list has items").clone();
        let message =
            events.iter().find(|event| event["reason"] == "resolved").map(|event| event["message"].to_string());
        cluster.delete(&format!("/v1/services/{name}"));
        message
    };
    for (n, pull) in [(1, "always"), (2, "always"), (1, "missing"), (2, "missing")] {
        let (image, digest) = (&images[n - 1], registry.digest("twice", &n.to_string()));
        let said = resolved(&format!("{pull}-{n}"), image, pull).expect("a registry knows it");
        assert!(said.contains(&digest), "{pull} {n}: {said}, and not {digest}");
    }
    // Nobody can say which of the two is meant: none is pinned, and the image runs as it is here.
    registry.set(Mood::Dead);
    assert_eq!(resolved("unsaid", &images[0], "missing"), None);
    images.iter().for_each(|image| engine.remove_image(image));
}
