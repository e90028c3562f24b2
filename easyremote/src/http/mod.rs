//! The gateway over HTTP: what runs, what waits and what failed, for browsers, scrapers and scripts.
//!
//! [`Gateway::serve_http`](crate::Gateway::serve_http) starts an [`HttpServer`] beside a gateway;
//! [`HttpOptions`] say where it listens and who may ask.
//!
//! ```text
//!   TCP --> connection --> TLS, unless on loopback --> HTTP/1.1 --> guard --> route
//!             limits         limit on its time          limits      Host, Origin, bearer
//! ```
//!
//! | request | returns | who may |
//! |---|---|---|
//! | `GET /` | the page: a document that shows the rest in a browser, with the bearer that it is told | anyone |
//! | `GET /health` | whether the gateway takes calls: 200, or 503 while it drains | anyone |
//! | `POST /call/{function}` | the function's result | who may call it |
//! | `GET` and `POST /stream/{function}` | the function's items as they are made | who may call it |
//! | `POST /jobs/{function}`, `GET /jobs`, .. | calls that run without their caller | who may call the function |
//! | `POST /ticket` | a stream for an `EventSource`, which sends no bearer | who may call the function |
//! | `POST /mcp` (feature `mcp`) | functions as [tools of agents](crate::mcp) | any bearer, for what it may call |
//! | `GET /functions` | the functions that the bearer's identity may call, with their schemas | any bearer |
//! | `/v1/*` | what an attached server answers that has the model, as the OpenAI API does; `GET /v1/models` lists all models | who may call `easyremote.http` |
//! | `/attach/{name}/*` | what the server attached as `name` answers | who may call `easyremote.http:name` |
//! | `GET /openapi.json` | the same as an OpenAPI 3.1 document | any bearer |
//! | `GET /metrics` (feature `metrics`) | the metrics of the gateway, as text for Prometheus | admins, and who may call `easyremote.stats` |
//! | `GET /feed` | what changes in all of this, once a second, as server-sent events | the same |
//! | `GET /nodes`, `/streams`, `/stats` | nodes, open streams, figures of the gateway and of functions | the same |

#[cfg(feature = "mcp")]
mod agents;
mod answer;
mod asked;
mod asker;
mod attached;
mod body;
mod callers;
mod calls;
mod events;
mod feed;
mod figures;
mod forwarded;
mod guard;
mod jobs;
mod named_model;
mod openai;
mod openai_error;
mod openapi;
mod options;
mod page;
mod problem;
mod query;
mod rates;
mod resumed;
mod routes;
mod server;
mod stream_ids;
mod stream_readers;
mod streams;
mod ticket_list;
mod tickets;

#[cfg(feature = "__bench")]
pub use crate::http::openapi::openapi_of;
pub use crate::http::options::HttpOptions;
pub use crate::http::server::HttpServer;
