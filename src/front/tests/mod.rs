//! The hosts' listener from outside: a real server, real sockets, no name or port that is fixed.

mod curl;
mod http;
mod limits;
mod site;
mod tls;
