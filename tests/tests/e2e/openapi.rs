//! The OpenAPI document: what it promises is there.

use crate::{task, web};
use orbit_tests::Cluster;
use serde_json::Value;

#[test]
fn every_documented_operation_answers_as_documented() {
    let cluster = Cluster::without_engine();
    let document = cluster.ask("GET", "/v1/openapi.json", "").expect("an answer");
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.json();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().expect("it has paths") {
        for (method, operation) in operations.as_object().expect("a path has operations") {
            // Deleting takes away what the next is about.
            cluster.apply(&web("there", 0));
            cluster.apply(&task("there", &["exit", "0"]));
            let url = path.replace("{name}", "there").replace("{id}", "there").replace("{order}", "pause");
            assert!(!url.contains('{'), "{url}: a parameter that this test does not know");
            let answer = cluster.ask(&method.to_uppercase(), &url, "").expect("an answer");
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let here = format!("{method} {path}: {} {}", answer.status, answer.text());
            assert!(operation["responses"].get(answer.status.to_string()).is_some(), "not documented: {here}");
            // Only nodes cannot be had here, nor volumes, which are on one.
            let is_of_node = path.starts_with("/v1/nodes/") || path.starts_with("/v1/volumes/");
            let missing = answer.status == 404 && is_of_node && body["code"] == "not_found";
            assert!(missing || ![404, 405].contains(&answer.status), "{here}");
            asked += 1;
        }
    }
    assert!(asked >= 22, "only {asked} operations are documented");
}
