//! The routes, and the document that describes them. A route exists only with its description.

mod audit;
mod authority;
mod backup;
mod console;
pub(crate) mod enrol;
mod events;
mod health;
mod idempotency;
mod images;
mod machines;
mod networks;
mod nodes;
mod plugins;
mod projects;
mod services;
mod sessions;
mod slots;
mod store;
mod tokens;
mod volumes;
mod watch;

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use serde::Serialize;
use utoipa::openapi::InfoBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::failure::Answer;
use crate::finish::finish;
use crate::forward::to_leader;
use crate::gate::guard;
use crate::input::IfMatch;
use crate::principal::Principal;

/// What the document says of the API as a whole.
const ABOUT: &str = "A private cloud whose decisions are made by sandboxed components. Every error is a `Problem`; \
    objects have an `ETag`, and their changes take `If-Match`; lists come in pages by key.";

/// Routes that need a token.
fn guarded() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(volumes::list, volumes::create))
        .routes(routes!(volumes::show, volumes::patch, volumes::delete))
        .routes(routes!(volumes::explanation))
        .routes(routes!(machines::list, machines::create))
        .routes(routes!(machines::show, machines::patch, machines::delete))
        .routes(routes!(machines::explanation))
        .routes(routes!(machines::orders::start))
        .routes(routes!(machines::orders::stop))
        .routes(routes!(machines::orders::reboot))
        .routes(routes!(machines::volumes::attach))
        .routes(routes!(machines::volumes::detach))
        .routes(routes!(machines::ports::connect))
        .routes(routes!(machines::ports::disconnect))
        .routes(routes!(networks::list, networks::create))
        .routes(routes!(networks::show, networks::delete))
        .routes(routes!(images::list, images::create))
        .routes(routes!(images::show, images::delete))
        .routes(routes!(console::console))
        .routes(routes!(console::console_log))
        .routes(routes!(console::screen))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show, nodes::patch))
        .routes(routes!(nodes::fence))
        .routes(routes!(nodes::power))
        .routes(routes!(nodes::drain))
        .routes(routes!(plugins::list, plugins::push))
        .routes(routes!(plugins::show))
        .routes(routes!(slots::list))
        .routes(routes!(slots::show))
        .routes(routes!(slots::activate))
        .routes(routes!(slots::rollback))
        .routes(routes!(services::list))
        .routes(routes!(services::remove))
        .routes(routes!(store::health))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::show, projects::patch, projects::delete))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(authority::show))
        .routes(routes!(authority::rotate))
        .routes(routes!(authority::retire))
        .routes(routes!(backup::take))
        .routes(routes!(events::list))
        .routes(routes!(watch::watch))
        .routes(routes!(health::metrics))
        .routes(routes!(health::document))
        .routes(routes!(sessions::open))
        .routes(routes!(enrol::enrol))
        .routes(routes!(enrol::renew))
}

fn open() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
}

/// The `OpenAPI` document of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = guarded().into_openapi();
    document.info = InfoBuilder::new()
        .title("symphony")
        .version("1")
        .description(Some(ABOUT))
        .build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `symphony token create`, or that of `client.toml`"))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    let mut health = open().into_openapi();
    for item in health.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.security = Some(vec![SecurityRequirement::default()]);
        }
    }
    document.merge(health);
    // A function's name is unique among those of its kind only.
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
            operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}"));
        }
    }
    document
}

/// All routes, behind the gate.
pub(crate) fn api(app: &App) -> Router {
    let (router, _) = guarded().merge(open()).split_for_parts();
    let router = router.fallback(nothing_here).method_not_allowed_fallback(wrong_method);
    router
        .route_layer(from_fn_with_state(app.clone(), to_leader))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(from_fn_with_state(app.clone(), finish))
        .with_state(app.clone())
}

/// What the control socket serves, without a token: the socket's own rights say who may.
pub(crate) fn control_socket(app: &App) -> Router {
    let routes = open()
        .routes(routes!(services::list))
        .routes(routes!(services::remove))
        .routes(routes!(store::health))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::show, projects::patch, projects::delete))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(authority::show))
        .routes(routes!(authority::rotate))
        .routes(routes!(authority::retire))
        .routes(routes!(backup::take));
    let (router, _) = routes.split_for_parts();
    let router = router.fallback(nothing_here).method_not_allowed_fallback(wrong_method);
    router
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(Extension(Arc::new(Principal::admin("control socket"))))
        .route("/v1/manager/init", axum::routing::post(already_a_member))
        .layer(from_fn_with_state(app.clone(), finish))
        .with_state(app.clone())
}

async fn already_a_member(axum::extract::State(app): axum::extract::State<App>) -> crate::failure::Failure {
    let detail = format!("manager {} is a member of its cluster already", app.manager);
    crate::failure::Failure::new(symphony_api::Code::Conflict, detail)
}

/// What the control socket serves to somebody else: nothing, with the reason.
pub(crate) fn closed_socket(app: &App) -> Router {
    let refuse = || async {
        let detail = "the control socket serves root and the manager's own user alone; use the API with a token";
        crate::failure::Failure::new(symphony_api::Code::Forbidden, detail)
    };
    Router::new()
        .fallback(refuse)
        .layer(from_fn_with_state(app.clone(), finish))
        .with_state(app.clone())
}

async fn nothing_here() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn wrong_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// An object as an answer, with its `ETag`.
fn object<T: Serialize>(status: StatusCode, object: &T, revision: u64) -> Response {
    let mut response = (status, axum::Json(object)).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// How often a change is tried when something else changes at the same time.
const TRIES: u32 = 20;

/// Whether a change that met another one may be made again on what is there now.
fn again(precondition: IfMatch) -> Answer<()> {
    use symphony_api::Code;
    if precondition.is_given() {
        let detail = "it was changed at the same time: look at it again";
        return Err(crate::failure::Failure::new(Code::PreconditionFailed, detail));
    }
    Ok(())
}

/// So many things change it at once that the change never got its turn.
fn crowded() -> crate::failure::Failure {
    crate::failure::Failure::new(
        symphony_api::Code::Conflict,
        "it is changed by others all the time; try again",
    )
}
