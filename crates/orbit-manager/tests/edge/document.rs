//! The OpenAPI document says what a client needs to know.

use crate::manager::Manager;
use orbit_api::problem::HttpCode;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_route_says_its_name_its_parameters_and_its_problems() {
    let manager = Manager::new().await;
    let document = manager.get("/v1/openapi.json").await.json();
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let at = format!("{method} {path}");
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at} has no name"));
            assert!(names.insert(name.to_string()), "{at}: {name} is another's");
            let parameters: Vec<(&str, &str)> = operation["parameters"]
                .as_array()
                .map(|all| all.iter().map(|it| (it["in"].as_str().unwrap(), it["name"].as_str().unwrap())).collect())
                .unwrap_or_default();
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                assert!(parameters.contains(&("path", part)), "{at}: {part}");
            }
            let responses = operation["responses"].as_object().unwrap();
            for status in
                [HttpCode::Malformed, HttpCode::CrossOrigin, HttpCode::UnknownHost, HttpCode::UnsupportedMediaType]
            {
                assert!(responses.contains_key(&status.status().to_string()), "{at}: {status:?}");
            }
            for (status, response) in responses {
                assert!(!response["description"].as_str().unwrap().is_empty(), "{at}: {status}");
                let is_problem = response["content"].get("application/problem+json").is_some();
                assert_eq!(is_problem, status.as_str() >= "400", "{at}: {status} is a problem document");
            }
        }
    }
    assert!(names.len() > 20, "{names:?}");
}

#[tokio::test]
async fn what_is_asked_for_or_not_is_a_boolean() {
    let manager = Manager::new().await;
    let document = manager.get("/v1/openapi.json").await.json();
    let operations = document["paths"].as_object().unwrap().values().flat_map(|methods| methods.as_object().unwrap());
    let parameters = operations.flat_map(|(_, operation)| operation["parameters"].as_array().into_iter().flatten());
    let mut seen = BTreeSet::new();
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        if ["dry_run", "follow", "stdin", "tty", "watch"].contains(&name) {
            assert!(parameter["schema"].to_string().contains("\"boolean\""), "{parameter}");
            seen.insert(name);
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    let web = serde_json::json!({ "kind": "Service", "name": "new", "image": "web:1" });
    for (asked, status) in [("true", 200), ("1", 200), ("yes", 400), ("false", 201)] {
        let answer = manager.send("PUT", &format!("/v1/services/new?dry_run={asked}"), &web).await;
        assert_eq!(answer.status, status, "{asked}: {:?}", answer.json());
    }
}
