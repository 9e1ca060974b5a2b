//! What has to be there first.

use crate::{task, web};
use orbit_tests::{Cluster, engine};
use serde_json::json;

#[test]
fn a_service_comes_after_a_run_that_completes_and_another_service_and_says_what_it_waits_for() {
    let Some(engine) = engine() else { return };
    let cluster = Cluster::start(&engine, 1);
    let mut app = web("app", 1);
    app["after"] = json!([{ "service": "db" }, { "task": "migrate" }]);
    cluster.apply(&app);
    let waits_for = |what: &str| {
        cluster.wait_for(&format!("it waits until {what}"), || {
            let tasks = cluster.tasks("service=app");
            let waits = |message: &str| message.contains(&format!("waits until {what}"));
            match tasks.first() {
                Some(task) if task.actual == "pending" && waits(&task.message) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    };
    waits_for("service `db` is healthy: there is none");
    let mut db = web("db", 1);
    db["ready"] = json!({ "http": { "port": "http" }, "interval": "200ms" });
    cluster.apply(&db);
    waits_for("task `migrate` is complete: there is none");
    let mut migrate = task("migrate", &["exit", "0"]);
    migrate["after"] = json!([{ "service": "db", "until": "healthy" }]);
    cluster.apply(&migrate);
    cluster.wait_running("app", 1);
    // What it waited for may go by now.
    let circle = {
        let mut db = db.clone();
        db["after"] = json!([{ "service": "app" }]);
        cluster.ask("PUT", "/v1/services/db", &db.to_string()).expect("it answers")
    };
    assert_eq!((circle.status, circle.json()["field"].as_str()), (400, Some("after[0]")), "{}", circle.text());
    cluster.scale("db", 0);
    let app = cluster.wait_running("app", 1);
    engine.kill(&app[0].id);
    cluster.wait_replaced("app", 1, &app[0]);
}
