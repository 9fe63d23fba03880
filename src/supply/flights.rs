//! All flights of a node: one for each file, however many ask.
//!
//! Flights belong to the daemon and go on when those who asked have left. So many fly at one time; the
//! others wait for their turn.

use super::{
    blocks::LargeBlocks,
    flight::{Client, Flight},
    queue::Queue,
    quota::{Quota, QuotaLimits},
    sight::{Ending, Phase},
    spring::{Outlook, Spring},
};
use crate::{
    base::clock::SharedClock,
    domain::name::{FileName, FolderName},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A daemon that stops lets nobody wait for files.
const STOPPING: Duration = Duration::from_secs(30);
/// How long a name that nobody knows is not asked for again outside.
const UNKNOWN_FOR: u64 = 30;
/// Names that nobody knows, at most.
const MAX_UNKNOWN: usize = 10_000;
/// Files that may wait for their turn; beyond, askers are told to come back.
const MAX_QUEUED: usize = 10_000;
/// When to come back where too many wait.
const FULL: Duration = Duration::from_secs(30);

/// What is never exceeded.
#[derive(Debug, Clone, Copy)]
pub struct FlightLimits {
    /// Files that are fetched at one time.
    pub max_flights: usize,
    /// What clients may cause to be fetched.
    pub quota: QuotaLimits,
}

/// What became of an asking.
pub enum Joined {
    /// It flies, or waits for its turn.
    Flight(Arc<Flight>),
    /// Nobody knows such a file.
    Unknown,
    /// It can't be had before this time is over.
    Later(Duration),
    /// The client, or all together, have had their share of the last day.
    OverQuota(Duration),
}

type Place = (FolderName, FileName);

/// The flights of a node.
pub struct Flights {
    spring: Arc<dyn Spring>,
    clock: SharedClock,
    limits: FlightLimits,
    air: Mutex<Air>,
    large: LargeBlocks,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

struct Air {
    flights: BTreeMap<Place, Arc<Flight>>,
    queue: Queue<Place>,
    flying: usize,
    quota: Quota,
    /// Names that nobody knows, and until when that is believed, in seconds since 1970 UTC.
    unknown: BTreeMap<Place, u64>,
}

impl Flights {
    /// Nothing flies yet. Until `cancel`, what is asked for flies on the runtime that asks.
    pub fn new(
        spring: Arc<dyn Spring>,
        clock: SharedClock,
        limits: FlightLimits,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let air = Air {
            flights: BTreeMap::new(),
            queue: Queue::default(),
            flying: 0,
            quota: Quota::new(limits.quota),
            unknown: BTreeMap::new(),
        };
        let (air, large, tasks) = (Mutex::new(air), LargeBlocks::default(), TaskTracker::new());
        Arc::new(Self { spring, clock, limits, air, large, tasks, cancel })
    }

    /// `client` asks for a file that is not here: it joins the flight that there is, or begins one.
    pub async fn join(self: &Arc<Self>, folder: &FolderName, name: &FileName, client: &Client) -> Joined {
        let place = (folder.clone(), name.clone());
        let now = self.clock.unix_seconds();
        if let Some(joined) = self.air().joined(&place, client, now) {
            return joined;
        }
        match self.spring.outlook(folder, name, client).await {
            Outlook::Good => {}
            Outlook::Unknown => return Joined::Unknown,
            Outlook::Later(wait) => return Joined::Later(wait),
        }
        let mut air = self.air();
        // Somebody else may have begun it meanwhile.
        if let Some(joined) = air.joined(&place, client, now) {
            return joined;
        }
        if self.cancel.is_cancelled() || air.queue.len() >= MAX_QUEUED {
            return Joined::Later(FULL);
        }
        if let Err(wait) = air.quota.admit(client, now) {
            tracing::warn!(?client, %folder, %name, "a client has had its share of the last day");
            return Joined::OverQuota(wait);
        }
        let flight = Arc::new(Flight::new(folder.clone(), name.clone(), client.clone(), now, self.large.clone()));
        flight.on_asked(client);
        air.flights.insert(place.clone(), flight.clone());
        air.queue.push(client.clone(), place);
        self.begin(&mut air);
        Joined::Flight(flight)
    }

    /// The flight of a file, if there is one.
    pub fn of(&self, folder: &FolderName, name: &FileName) -> Option<Arc<Flight>> {
        self.air().flights.get(&(folder.clone(), name.clone())).cloned()
    }

    /// All flights, by folder and name.
    pub fn list(&self) -> Vec<Arc<Flight>> {
        self.air().flights.values().cloned().collect()
    }

    /// Where the bytes come from.
    pub fn spring(&self) -> &Arc<dyn Spring> {
        &self.spring
    }

    /// Waits until every flight has let go, after the cancellation.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn begin(self: &Arc<Self>, air: &mut Air) {
        while air.flying < self.limits.max_flights {
            let Some(flight) = air.queue.pop().and_then(|place| air.flights.get(&place).cloned()) else { break };
            if let Some(wait) = air.over_quota(&flight, self.clock.unix_seconds()) {
                air.flights.remove(&(flight.folder.clone(), flight.name.clone()));
                let why = "whoever asked for it has had its share of the last day".to_owned();
                flight.on_ended(Ending::Later { retry_after: wait, why });
                continue;
            }
            air.flying += 1;
            flight.on_phase(Phase::Flying);
            self.tasks.spawn(self.clone().fly(flight));
        }
    }

    async fn fly(self: Arc<Self>, flight: Arc<Flight>) {
        // Also where the spring panics.
        let mut landing = Landing { flights: self.clone(), flight: flight.clone(), ending: None };
        let mut charge = std::pin::pin!(self.charge(&flight));
        let mut fly = self.spring.fly(&flight);
        landing.ending = Some(tokio::select! {
            biased;
            () = &mut charge => fly.await,
            ending = &mut fly => {
                // What arrives at once is paid for too.
                if flight.progress().sight.is_some() {
                    charge.await;
                }
                ending
            }
        });
    }

    /// The one who made the flight begin pays for it, once its length is known.
    async fn charge(&self, flight: &Flight) {
        let mut progress = flight.watch();
        let size = match progress.wait_for(|progress| progress.sight.is_some()).await {
            Ok(progress) => progress.sight.as_ref().map_or(0, |sight| sight.size),
            Err(_) => return,
        };
        self.air().quota.charge(&flight.first, size, self.clock.unix_seconds());
    }

    fn land(self: &Arc<Self>, flight: &Flight, ending: Ending) {
        let place = (flight.folder.clone(), flight.name.clone());
        let mut air = self.air();
        air.flights.remove(&place);
        air.flying -= 1;
        if ending == Ending::Unknown {
            air.note_unknown(place, self.clock.unix_seconds());
        }
        // Told only when it can't be joined any more.
        flight.on_ended(ending);
        if !self.cancel.is_cancelled() {
            return self.begin(&mut air);
        }
        while let Some(place) = air.queue.pop() {
            if let Some(flight) = air.flights.remove(&place) {
                flight.on_ended(stopped());
            }
        }
    }

    fn air(&self) -> MutexGuard<'_, Air> {
        self.air.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Air {
    fn joined(&mut self, place: &Place, client: &Client, now: u64) -> Option<Joined> {
        if let Some(flight) = self.flights.get(place) {
            flight.on_asked(client);
            return Some(Joined::Flight(flight.clone()));
        }
        let until = self.unknown.get(place)?;
        // A clock that was set back since makes nobody wait.
        if (now..now + UNKNOWN_FOR).contains(until) {
            return Some(Joined::Unknown);
        }
        self.unknown.remove(place);
        None
    }

    /// When to ask again, where nobody who waits for the flight may make it begin: all of them may have been
    /// admitted before anything that they asked for was counted.
    fn over_quota(&mut self, flight: &Flight, now: u64) -> Option<Duration> {
        let refused = self.quota.admit(&flight.first, now).err()?;
        let may_any = flight.askers().iter().any(|client| self.quota.admit(client, now).is_ok());
        (!may_any).then_some(refused)
    }

    fn note_unknown(&mut self, place: Place, now: u64) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.retain(|_, until| *until >= now);
        }
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.insert(place, now + UNKNOWN_FOR - 1);
        }
    }
}

/// A flight lands once, whatever happens to it.
struct Landing {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    ending: Option<Ending>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let ending = self.ending.take().unwrap_or_else(stopped);
        self.flights.land(&self.flight, ending);
    }
}

fn stopped() -> Ending {
    Ending::Later { retry_after: STOPPING, why: "this repository is stopping".to_owned() }
}

#[cfg(test)]
mod tests;
