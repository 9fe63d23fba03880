//! The hosts' listener from outside: a real server, real sockets, no name or port that is fixed.

mod api;
mod curl;
mod direct;
mod http;
mod limits;
mod site;
mod tls;
