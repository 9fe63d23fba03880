//! A file from wherever it is: what is held here, else a flight that everybody who asks shares.

use super::{
    flight::Flight,
    flights::{Flights, Joined},
    local::{Here, Local},
    sight::{Ending, Phase, Progress, Sight},
    source::{Answer, Ask, GrowingFile, Source},
    spring::Description,
};
use crate::{base::future::BoxFuture, domain::file::FileRecord};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// When a host should ask again for a file that is on its way.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long a host waits for the first word of a file that it wants to read: agents give up after a minute.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one waits that asks for length and date alone.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(5);
/// A file that was published while it was looked for is looked for again this often.
const LOOKS: usize = 3;

/// What this node can give.
pub struct Supply {
    local: Local,
    /// None where this node fetches nothing.
    flights: Option<Arc<Flights>>,
}

impl Supply {
    /// Gives what is held, and what `flights` bring.
    pub fn new(local: Local, flights: Option<Arc<Flights>>) -> Self {
        Self { local, flights }
    }

    async fn look(&self, ask: &Ask) -> Answer {
        for look in 0..LOOKS {
            let indexed = match self.local.look(&ask.folder, &ask.name).await {
                Here::Held(held) => return Answer::Held(held),
                // What has just arrived has its name before it has its row.
                Here::NotYet => match self.flight_of(ask) {
                    Some((flights, flight)) => match first_word(flights, flight, ask).await {
                        Some(answer) => return answer,
                        None => continue,
                    },
                    // It may have landed since.
                    None if look == 0 => continue,
                    None => return Answer::NotYet { retry_after: ASK_AGAIN },
                },
                Here::Missing(file) => Some(file),
                Here::Unknown => None,
            };
            let is_known = indexed.is_some();
            let Some(flights) = &self.flights else {
                return if is_known { Answer::NotYet { retry_after: ASK_AGAIN } } else { Answer::Unknown };
            };
            match flights.join(&ask.folder, &ask.name, &ask.client).await {
                Joined::Flight(_)
                    if ask.describe
                        && let Some(file) = indexed =>
                {
                    let FileRecord { root, size, modified } = file;
                    let (modified, root) = (Some(modified), Some(root));
                    return Answer::Growing(GrowingFile { size, modified, root, flight: None });
                }
                Joined::Flight(flight) => match first_word(flights, flight, ask).await {
                    Some(Answer::Unknown) if is_known => return Answer::NotYet { retry_after: ASK_AGAIN },
                    Some(answer) => return answer,
                    None => continue,
                },
                Joined::Unknown if !is_known => return Answer::Unknown,
                Joined::Unknown => return Answer::NotYet { retry_after: ASK_AGAIN },
                Joined::Later(retry_after) => return Answer::NotYet { retry_after },
                Joined::OverQuota(retry_after) => return Answer::OverQuota { retry_after },
            }
        }
        Answer::NotYet { retry_after: ASK_AGAIN }
    }

    /// Joins the flight of a file, if it has one.
    fn flight_of(&self, ask: &Ask) -> Option<(&Flights, Arc<Flight>)> {
        let flights = self.flights.as_deref()?;
        let flight = flights.of(&ask.folder, &ask.name)?;
        flight.on_asked(&ask.client);
        Some((flights, flight))
    }
}

impl Source for Supply {
    fn find<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Answer> {
        Box::pin(self.look(ask))
    }
}

/// What can be said of a flight, as soon as that is so; `None` where it has ended and the file is here.
async fn first_word(flights: &Flights, flight: Arc<Flight>, ask: &Ask) -> Option<Answer> {
    let mut watch = flight.watch();
    let told = watch.wait_for(|progress| is_telling(progress, ask.describe));
    let progress = if ask.describe {
        let described = async {
            let is_queued = flight.progress().phase == Phase::Queued;
            match is_queued {
                true => flights.spring().describe(&ask.folder, &ask.name).await,
                false => None,
            }
        };
        tokio::select! {
            told = timeout(DESCRIBED_WITHIN, told) => told,
            Some(Description { size, modified }) = described => {
                return Some(Answer::Growing(GrowingFile { size, modified, root: None, flight: None }));
            }
        }
    } else {
        timeout(PATIENCE, told).await
    };
    let progress = match progress {
        Ok(Ok(progress)) => progress.clone(),
        Ok(Err(_)) | Err(_) => return Some(Answer::NotYet { retry_after: ASK_AGAIN }),
    };
    match (progress.phase, progress.sight) {
        (Phase::Ended(Ending::Published), _) => None,
        (Phase::Ended(Ending::Unknown), _) => Some(Answer::Unknown),
        (Phase::Ended(Ending::Later { retry_after, .. }), _) => Some(Answer::NotYet { retry_after }),
        (_, Some(sight)) => {
            let Sight { size, modified, root, .. } = sight;
            Some(Answer::Growing(GrowingFile { size, modified, root, flight: Some((flight, sight)) }))
        }
        (_, None) => Some(Answer::NotYet { retry_after: ASK_AGAIN }),
    }
}

/// Whether there is an answer: for a reader, one whose body can begin.
fn is_telling(progress: &Progress, describe: bool) -> bool {
    let Some(sight) = &progress.sight else { return matches!(progress.phase, Phase::Ended(_)) };
    let may_begin = describe || sight.may_flow || sight.root.is_some();
    may_begin || matches!(progress.phase, Phase::Verified | Phase::Ended(_))
}

#[cfg(test)]
mod tests;
