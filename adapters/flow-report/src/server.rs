//! The routes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Path, Request, State, WebSocketUpgrade};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::access::{self, Access};
use crate::board::Board;
use crate::socket;

/// Browsers served at once; each costs a task and a copy of what it is sent.
const MAX_SOCKETS: usize = 1024;

/// What a page may do: load what this server sends and talk to it, nothing else.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why the page cannot be served.
#[derive(Debug)]
pub enum ServerError {
    /// The address cannot be listened on.
    Bind(SocketAddr, std::io::Error),
    /// The server failed while it ran.
    Serve(std::io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "http address {address} is in use: stop the other program or choose another with --http"
                )
            }
            Self::Bind(address, error) => write!(f, "http address {address}: {error}"),
            Self::Serve(error) => write!(f, "http server: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}

type Metrics = dyn Fn() -> String + Send + Sync;

/// Serves the page, the API and the metrics.
pub struct Server {
    listener: TcpListener,
    app: App,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct App {
    board: Board,
    access: Arc<Access>,
    metrics: Arc<Metrics>,
    local: SocketAddr,
    sockets: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on `address`; `metrics` gives the text of `/metrics`.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        board: Board,
        access: Access,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| ServerError::Bind(address, error))?;
        let local = listener.local_addr().map_err(ServerError::Serve)?;
        let app = App {
            board,
            access: Arc::new(access),
            metrics: Arc::new(metrics),
            local,
            sockets: Arc::default(),
        };
        Ok(Self { listener, app })
    }

    /// The address listened on, with the port that the system chose if 0 was asked for.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.app.local
    }

    /// Serves until `stop` is ready.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServerError> {
        let routes = Router::new()
            .route(
                "/",
                get(|| asset("text/html; charset=utf-8", include_str!("../page/index.html"))),
            )
            .route(
                "/style.css",
                get(|| asset("text/css; charset=utf-8", include_str!("../page/style.css"))),
            )
            .route(
                "/page.js",
                get(|| asset("text/javascript; charset=utf-8", include_str!("../page/page.js"))),
            )
            .route(
                "/icon.svg",
                get(|| asset("image/svg+xml", include_str!("../page/icon.svg"))),
            )
            .route(
                "/api/statements",
                get(|State(app): State<App>| async move { Json(app.board.statements()) }),
            )
            .route("/api/statements/{name}", get(statement))
            .route("/api/statements/{name}/history", get(history))
            .route(
                "/api/probes",
                get(|State(app): State<App>| async move { Json(app.board.probes()) }),
            )
            .route("/metrics", get(metrics))
            .route("/ws", get(web_socket))
            .fallback(|| async { (StatusCode::NOT_FOUND, "no such page\n") })
            .layer(middleware::from_fn_with_state(self.app.clone(), guard))
            .with_state(self.app);
        // Open sockets must not hold the end back, so this does not wait for them.
        tokio::select! {
            served = axum::serve(self.listener, routes) => served.map_err(ServerError::Serve),
            () = stop => Ok(()),
        }
    }
}

/// Checks who asks, and says on every answer what a page may do.
async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match app.access.check(request.headers(), request.uri(), app.local) {
        Ok(()) => {
            let token = access::query_token(request.uri())
                .filter(|_| app.access.token.is_some())
                .and_then(|token| {
                    let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/", access::COOKIE_NAME);
                    HeaderValue::from_str(&cookie).ok()
                });
            let mut response = next.run(request).await;
            if let Some(cookie) = token {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => {
            let status = match refusal {
                access::Refusal::Token => StatusCode::UNAUTHORIZED,
                access::Refusal::Host | access::Refusal::Origin => StatusCode::FORBIDDEN,
            };
            (status, refusal.message()).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_POLICY),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response()
}

async fn statement(State(app): State<App>, Path(name): Path<String>) -> Response {
    match app.board.statement(&name) {
        Some(view) => Json(view).into_response(),
        None => unknown_statement(&name),
    }
}

async fn history(State(app): State<App>, Path(name): Path<String>) -> Response {
    match app.board.history(&name) {
        Some(past) => Json(past).into_response(),
        None => unknown_statement(&name),
    }
}

fn unknown_statement(name: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        format!("no statement {name:?}; /api/statements lists them\n"),
    )
        .into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        (app.metrics)(),
    )
        .into_response()
}

async fn web_socket(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    if app.sockets.fetch_add(1, Ordering::Relaxed) >= MAX_SOCKETS {
        app.sockets.fetch_sub(1, Ordering::Relaxed);
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n").into_response();
    }
    upgrade.max_message_size(1 << 12).on_upgrade(move |stream| async move {
        socket::push(stream, app.board).await;
        app.sockets.fetch_sub(1, Ordering::Relaxed);
    })
}
