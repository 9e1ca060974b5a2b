//! A page for each stable error code: what it means, an example, and what to do. `orbit help errors` shows them.
//!
//! Both enums are matched exhaustively here, so a code without a page does not compile.

use crate::problem::{HttpCode, status};
use orbit_core::model::Code;

/// What there is to say of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The stable text.
    pub code: &'static str,
    /// The HTTP status that comes with it.
    pub status: u16,
    /// What it means: a sentence, and more where it helps.
    pub means: &'static str,
    /// A command or a request that gets it, and what is said then.
    pub example: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// All pages, by code.
pub fn pages() -> Vec<Page> {
    let core = Code::ALL.iter().map(|code| page(code.as_str(), status(*code), of(*code)));
    // A request that cannot be read is as invalid as an object that cannot be: one code, one page.
    let http = HttpCode::ALL.iter().filter(|code| **code != HttpCode::Malformed);
    let http = http.map(|code| page(code.as_str(), code.status(), of_http(*code)));
    let mut pages: Vec<Page> = core.chain(http).collect();
    pages.sort_by_key(|page| page.code);
    pages
}

fn page(code: &'static str, status: u16, [means, example, remedy]: [&'static str; 3]) -> Page {
    Page { code, status, means, example, remedy }
}

fn of(code: Code) -> [&'static str; 3] {
    match code {
        Code::Invalid => [
            "The request or the object in it cannot be read, or a value is outside its limits. Nothing was changed.",
            "orbit apply -f web.yaml\n  web.yaml: replicas: 200000 is more than 100000",
            "Correct the field that is named. /v1/manifest.schema.json describes manifests, /v1/openapi.json every route.",
        ],
        Code::NotFound => [
            "No object of that kind has that name or ID. Ended tasks are forgotten after a while.",
            "orbit describe service wbe\n  there is no service `wbe` (did you mean `web`?)",
            "Look with `orbit get all`, which shows services, tasks and nodes.",
        ],
        Code::NameInUse => [
            "Another living object has the name. A task definition runs once: another spec needs another name.",
            "orbit apply -f import.yaml\n  name: another task named `import` exists: delete it or choose another name",
            "Choose another name, or delete the older object first: orbit delete task import",
        ],
        Code::RevisionConflict => [
            "The object was changed since it was read: it is not at the revision that the request names.",
            "orbit apply -f web.yaml --if-revision 57\n  service `web` is at revision 61, not 57: read it again",
            "Read it again, look at what changed, and apply your change to that.",
        ],
        Code::KeyReused => [
            "The header Idempotency-Key names an earlier request, and that one asked for something else.",
            "POST /v1/tasks with the key of another task",
            "Use a new key for each new request; repeat a key only with exactly the same request.",
        ],
        Code::Conflict => [
            "The object is in a state in which this cannot be done.",
            "orbit rollout promote web\n  the rollout of service `web` has no canaries to promote",
            "The text says which state it is in. `orbit describe` shows it, and what happened before.",
        ],
        Code::LimitReached => [
            "A limit of the whole cluster is reached: the number of slots (all replicas and task definitions), or the bytes \
             of all specs with their kept versions.",
            "orbit apply -f many.yaml\n  the cluster would have more than 4000000 slots",
            "Delete what is not needed any more, then try again.",
        ],
        Code::Internal => [
            "A bug of Orbit ended the request, and nothing else. Nothing was changed.",
            "orbit get services\n  this could not be answered, which is a bug of Orbit: see the manager's log",
            "Look at the manager's log at that time, and report what it says with the request.",
        ],
        Code::NodeUnreachable => [
            "The node that has to answer is not connected to the manager now.",
            "orbit logs web\n  node `worker-2`, where task 1.57.0 is, is not connected",
            "Look with `orbit node ls`. Start the worker again, or ask about a task on another node.",
        ],
        Code::StorageFull => [
            "The disk of the manager is full. Nothing was tried, and what runs goes on.",
            "orbit scale web=5\n  the manager's disk is full: nothing was written; free some space",
            "Free space where the manager keeps its state. It goes on by itself.",
        ],
        Code::Unavailable => [
            "The manager does not lead yet, is shutting down, or its disk does not answer.",
            "orbit get services\n  the manager is shutting down: ask again",
            "Ask again. Of a change, look first whether it was made: the text says when that is not known.",
        ],
    }
}

fn of_http(code: HttpCode) -> [&'static str; 3] {
    match code {
        HttpCode::Malformed => ["The request cannot be read.", "GET /v1/tasks?limit=-1", "Correct it."],
        HttpCode::CrossOrigin => [
            "A web page of another origin made a browser send the request. Orbit answers its own origin only, so that \
             no page can drive a manager that its reader can reach.",
            "fetch(\"http://localhost:7070/v1/tasks\") in a page of http://elsewhere",
            "Call the API from a program, not from a page; or have the page's own server call it.",
        ],
        HttpCode::NoSuchRoute => [
            "The API has no such path.",
            "GET /v1/pods",
            "Look at /v1/openapi.json. A newer command line may know routes that an older manager does not have.",
        ],
        HttpCode::MethodNotAllowed => [
            "The path exists and does not take that method.",
            "PATCH /v1/services/web",
            "Look at /v1/openapi.json. A service is changed as a whole, by PUT.",
        ],
        HttpCode::BodyTimeout => [
            "The body of the request did not come in time. Nothing was changed.",
            "POST /v1/tasks with a Content-Length, and fewer bytes than it says",
            "Look at the network between the client and the manager, then send it again.",
        ],
        HttpCode::Compacted => [
            "A watch wants to go on from a revision after which not every change is kept any more.",
            "GET /v1/services?watch=1&since=3",
            "List again, and watch from the revision of that list.",
        ],
        HttpCode::BodyTooLarge => [
            "The body of the request is larger than the manager reads, 2 MiB. Nothing was changed.",
            "orbit apply -f everything.yaml",
            "Apply fewer objects at a time. Keep data in volumes or images, not in a manifest.",
        ],
        HttpCode::UnsupportedMediaType => [
            "The request has a body that is not named as JSON. A page can make a browser send other bodies anywhere.",
            "curl -d @web.json http://localhost:7070/v1/tasks",
            "Send JSON, and the header: curl -H 'Content-Type: application/json' -d @web.json ...",
        ],
        HttpCode::UnknownHost => [
            "The manager listens on a loopback address, and the request's header Host is no loopback name. A page \
             could point a name of its own at this machine.",
            "curl -H 'Host: orbit.example' http://127.0.0.1:7070/v1/services",
            "Use localhost or 127.0.0.1. Behind a reverse proxy, start the manager with --name orbit.example",
        ],
        HttpCode::WebsocketRequired => [
            "The route speaks WebSocket, and the request does not ask for one.",
            "GET /v1/tasks/web/exec?command=sh",
            "Use `orbit exec`, or a WebSocket client.",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_page_of_its_own() {
        let pages = pages();
        let codes: BTreeSet<&str> = pages.iter().map(|page| page.code).collect();
        let all = Code::ALL.iter().map(|code| code.as_str()).chain(HttpCode::ALL.iter().map(|code| code.as_str()));
        assert_eq!(codes, all.collect());
        assert_eq!(codes.len(), pages.len(), "no code has two pages");
        for page in pages {
            assert!((400..600).contains(&page.status), "{page:?}");
            for text in [page.means, page.example, page.remedy] {
                assert!(!text.is_empty() && text.lines().all(|line| line.len() < 250), "{}: {text}", page.code);
            }
            assert!(page.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", page.code);
        }
    }
}
