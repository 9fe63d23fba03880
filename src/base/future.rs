//! The boxed future that object-safe async traits answer with.

use std::{future::Future, pin::Pin};

/// A future behind a pointer, for traits that are used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
