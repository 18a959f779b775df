//! The admin page: health for orchestrators, metrics for Prometheus, and a page for people. Off unless `admin-port` is
//! set; bound to loopback unless `admin-bind` says otherwise.
//!
//! It has a thread of its own and asks the shards by message like any other actor, so a page that nobody looks at costs
//! nothing and a slow reader holds nobody up.
//!
//! | path | what | token needed |
//! |---|---|---|
//! | `/healthz` | 200 while the process answers | no |
//! | `/readyz` | 200 once data is loaded and, in a cluster, the cluster is ok; else 503 and the reason | no |
//! | `/metrics` | Prometheus text | yes |
//! | `/api/state` | what the page shows, as JSON | yes |
//! | `/` | the page | no (it holds no data) |

mod metrics;
mod state;

use std::net::TcpListener;

use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use skuld::config::Config;

use crate::server::ServerRef;
use crate::server_commands::info::{self, View};

/// The page; everything it needs is in it.
const PAGE: &str = include_str!("page.html");
/// What the page may do: run its own script and style, and ask the server it came from.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                           frame-ancestors 'none'; base-uri 'none'";

/// Opens the sockets of the admin page; none if it is off.
///
/// # Errors
/// The line to log before the server ends.
pub fn bind(config: &Config) -> Result<Vec<TcpListener>, String> {
    if config.admin_port == 0 {
        return Ok(Vec::new());
    }
    let mut sockets = Vec::new();
    for address in &config.admin_bind {
        let address = address.to_str();
        let (optional, host) = match address.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, &*address),
        };
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        };
        match TcpListener::bind((host, config.admin_port)) {
            Ok(socket) => sockets.push(socket),
            Err(_) if optional => {}
            Err(e) => {
                let reason = crate::configure::os_text(&e);
                tracing::warn!(
                    "Could not create the admin page's socket {host}:{}: {reason}",
                    config.admin_port
                );
                return Err(format!("Failed listening on port {} (admin), aborting.", config.admin_port));
            }
        }
    }
    Ok(sockets)
}

/// Serves the admin page on a thread of its own for as long as the process lives.
pub fn start(server: &ServerRef, sockets: Vec<TcpListener>) {
    if sockets.is_empty() {
        return;
    }
    let server = server.clone();
    let serve = move || {
        crate::memory::register_thread();
        crate::process::name_thread("admin");
        crate::telemetry::name_thread("admin");
        let result = actix_web::rt::System::new().block_on(async move {
            let data = web::Data::new(server);
            let mut http = HttpServer::new(move || {
                App::new()
                    .app_data(data.clone())
                    .route("/", web::get().to(page))
                    .route("/healthz", web::get().to(healthz))
                    .route("/readyz", web::get().to(readyz))
                    .route("/metrics", web::get().to(prometheus))
                    .route("/api/state", web::get().to(api_state))
            })
            .workers(1)
            .max_connections(256)
            .disable_signals();
            for socket in sockets {
                http = http.listen(socket)?;
            }
            http.run().await
        });
        if let Err(e) = result {
            tracing::warn!("The admin page ended: {e}");
        }
    };
    if let Err(e) = std::thread::Builder::new().name("admin".into()).spawn(serve) {
        tracing::warn!("The admin page has no thread: {e}");
    }
}

/// Whether a request carries the configured token, as `Authorization: Bearer <token>` or `?token=<token>`.
fn is_allowed(server: &ServerRef, request: &HttpRequest) -> bool {
    let config = server.config.load();
    let token = config.admin_token.as_bytes();
    if token.is_empty() {
        return true;
    }
    let from_header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| same(given, token));
    from_header
        || web::Query::<std::collections::HashMap<String, String>>::from_query(request.query_string())
            .is_ok_and(|query| query.get("token").is_some_and(|given| same(given.as_bytes(), token)))
}

/// Compares without telling by the time taken how much is right.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn refused() -> HttpResponse {
    HttpResponse::Unauthorized()
        .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
        .content_type("text/plain; charset=utf-8")
        .body("This needs the token of the directive admin-token.\n")
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(PAGE)
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

/// All of INFO, which is what metrics and readiness are read from: one source for every way of looking.
async fn info_text(server: &ServerRef) -> String {
    let used = crate::memory::used();
    let shards = crate::server_commands::describe_shards(server).await;
    let replication = crate::server_commands::replication::facts(server).await;
    let view = View { server, config: server.config.load_full(), shards, replication, used };
    info::render(&view, &[b"everything".to_vec()])
}

/// The value of a field of INFO.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

async fn readyz(server: web::Data<ServerRef>) -> HttpResponse {
    let info = info_text(&server).await;
    let reason = if field(&info, "loading") == Some("1") {
        Some("loading the data set")
    } else if field(&info, "cluster_state").is_some_and(|state| state != "ok") {
        Some("the cluster is down")
    } else {
        None
    };
    match reason {
        None => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"),
        Some(reason) => HttpResponse::ServiceUnavailable()
            .content_type("text/plain; charset=utf-8")
            .body(format!("not ready: {reason}\n")),
    }
}

async fn prometheus(server: web::Data<ServerRef>, request: HttpRequest) -> HttpResponse {
    if !is_allowed(&server, &request) {
        return refused();
    }
    let shards = crate::server_commands::describe_shards(&server).await;
    let info = info_text(&server).await;
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics::render(&info, &shards))
}

async fn api_state(server: web::Data<ServerRef>, request: HttpRequest) -> HttpResponse {
    if !is_allowed(&server, &request) {
        return refused();
    }
    let shards = crate::server_commands::describe_shards(&server).await;
    let info = info_text(&server).await;
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(state::of(&server, &info, &shards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_must_be_equal() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secres", b"secret"));
        assert!(!same(b"secre", b"secret"));
        assert!(!same(b"", b"secret"));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let info = "# Persistence\r\nasync_loading:1\r\nloading:0\r\n";
        assert_eq!(field(info, "loading"), Some("0"));
        assert_eq!(field(info, "load"), None);
    }
}
