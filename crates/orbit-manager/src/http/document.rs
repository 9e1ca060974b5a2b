//! What holds for every route is said once, and stands in the document at every route: the parameters that are in its
//! path, the problems that any request can meet, and that a problem is a problem document.

use utoipa::openapi::{
    Content, ContentBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr, Required, Response, ResponseBuilder,
    path::{HttpMethod, Operation, Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
};

const PROBLEM: &str = "application/problem+json";

/// Problems that every request can meet: status and why.
const OF_ALL: &[(u16, &str)] = &[
    (400, "the request cannot be read: its path, its query, a header or its body"),
    (403, "a web page of another origin sent it"),
    (415, "the body is not said to be JSON"),
    (421, "the header Host names a machine that this manager is not"),
];
/// And those with a body.
const OF_BODIES: &[(u16, &str)] = &[(408, "the body did not come in time"), (413, "the body is larger than is read")];
/// And those that ask the manager for something.
const OF_READS: &[(u16, &str)] = &[(503, "the manager does not lead, ends, or does not answer in time")];
/// And those that change something.
const OF_WRITES: &[(u16, &str)] = &[
    (409, "the object, or the cluster, is in a state in which this cannot be done"),
    (429, "a limit of the whole cluster is reached"),
    (507, "the manager's disk is full: nothing was tried"),
];
/// And those that a header brings with it.
const OF_HEADERS: &[(&str, (u16, &str))] = &[
    ("If-Match", (412, "the object is at another revision")),
    ("If-None-Match", (412, "the object exists")),
    ("Idempotency-Key", (422, "the key was used before, with another request")),
];

/// Completes what the handlers say of themselves.
pub(super) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            path_parameters(path, operation);
            problems(path, &method, operation);
            streams(operation);
        }
    }
}

/// What a route answers to.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// `{name}` in the path is a parameter.
fn path_parameters(path: &str, operation: &mut Operation) {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let parameters = operation.parameters.get_or_insert_default();
    for name in names {
        let is_it = |known: &Parameter| known.name == name && known.parameter_in == ParameterIn::Path;
        if !parameters.iter().any(is_it) {
            let text = ObjectBuilder::new().schema_type(Type::String);
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
            parameters.push(parameter.required(Required::True).schema(Some(text)).build());
        }
    }
}

fn problems(path: &str, method: &HttpMethod, operation: &mut Operation) {
    // A problem is a problem document wherever a handler speaks of one.
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && let Some(content) =
                response.content.get("application/json").filter(|content| is_problem(content)).cloned()
        {
            response.content.shift_remove("application/json");
            response.content.insert(PROBLEM.to_string(), content);
        }
    }
    let asks = !matches!(path, "/healthz" | "/v1/openapi.json" | "/v1/manifest.schema.json");
    let writes = !matches!(method, HttpMethod::Get);
    let has_body = operation.request_body.is_some();
    let of = |holds: bool, problems: &'static [(u16, &'static str)]| problems.iter().filter(move |_| holds);
    let takes = |name: &str| operation.parameters.iter().flatten().any(|parameter| parameter.name == name);
    let of_headers: Vec<_> = OF_HEADERS.iter().filter(|(name, _)| takes(name)).map(|(_, problem)| problem).collect();
    let all =
        of(true, OF_ALL).chain(of(has_body, OF_BODIES)).chain(of(asks, OF_READS)).chain(of(asks && writes, OF_WRITES));
    for (status, why) in all.chain(of_headers) {
        let response = operation.responses.responses.entry(status.to_string());
        let response = response.or_insert_with(|| RefOr::T(ResponseBuilder::new().description(*why).build()));
        let RefOr::T(response) = response else { continue };
        if !response.content.contains_key(PROBLEM) {
            let schema = Ref::from_schema_name("Problem");
            response.content.insert(PROBLEM.to_string(), ContentBuilder::new().schema(Some(schema)).build());
        }
        if response.description.is_empty() {
            response.description = why.to_string();
        }
    }
    operation.responses.responses.values_mut().for_each(described);
}

/// The standard wants a description, and generated clients show it.
fn described(response: &mut RefOr<Response>) {
    if let RefOr::T(response) = response
        && response.description.is_empty()
    {
        let problem = response.content.contains_key(PROBLEM);
        response.description = if problem { "refused: `code` says why" } else { "done" }.to_string();
    }
}

fn is_problem(content: &Content) -> bool {
    matches!(&content.schema, Some(RefOr::Ref(it)) if it.ref_location.ends_with("/Problem"))
}

/// A list that goes on is a stream of events.
fn streams(operation: &mut Operation) {
    let watches = operation.parameters.iter().flatten().any(|parameter| parameter.name == "watch");
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200").filter(|_| watches) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let content = ContentBuilder::new().schema(Some(text)).build();
        response.content.insert("text/event-stream".to_string(), content);
    }
}
