//! stub
use crate::{base::clock::SharedClock, domain::name::FileName};
pub enum Settled { Arrived(FileName), Gone(Vec<FileName>), Rescan }
pub struct Watch;
impl Watch { pub fn start(_: &std::path::Path, _: SharedClock, _: tokio::sync::mpsc::Sender<Settled>) -> Result<Self, std::io::Error> { Ok(Self) } }
