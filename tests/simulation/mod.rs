//! A simulated network of nodes.

mod disk;
pub mod draw;
pub mod log;
mod node;
mod rules;
mod story;
mod tree;
pub mod wire;
pub mod world;
